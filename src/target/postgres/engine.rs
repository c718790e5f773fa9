//! One scan of a PostgreSQL target.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use crate::domain::clock::{SignedDuration, humane};
use crate::domain::measurement::MeasureError;

use super::super::assemble::Assembly;
use super::super::plan::Trust;
use super::super::plan::carry::mentioned;
use super::super::plan::prepare::{Assumptions, Prepared, prepare, tables};
use super::super::plan::relation::{Relation, Relations};
use super::super::plan::sql::Dialect;
use super::super::run::{Answer, Job, Work};
use super::super::{Progress, Scan, ScanRequest, TargetError, TargetOptions};
use super::reader::PgReader;
use super::session::{self, Session, Snapshot};
use super::{catalog, errors, fingerprint};

/// Measures every check of the request over one snapshot. A table that was truncated or rewritten meanwhile
/// looks empty in an older snapshot, so then it is all read once more.
pub async fn scan(
    options: &TargetOptions,
    request: &ScanRequest,
    progress: &Progress,
) -> Result<Scan, TargetError> {
    let (scan, rewritten) = attempt(options, request, progress).await?;
    if rewritten.is_empty() {
        return Ok(scan);
    }
    let (mut scan, rewritten) = attempt(options, request, progress).await?;
    for (index, table) in rewritten {
        scan.measurements[index].result = Err(errors::rewritten(&table));
    }
    Ok(scan)
}

/// One try, with the checks whose table was rewritten under it.
async fn attempt(
    options: &TargetOptions,
    request: &ScanRequest,
    progress: &Progress,
) -> Result<(Scan, Vec<(usize, String)>), TargetError> {
    let begun = Instant::now();
    let deadline = begun + options.budget;
    let connect = session::connect_options(options)?;
    let mut conn = session::connect(&connect, options.budget).await?;
    // Before the snapshot, so that a write between the two is read now and seen again next time.
    let names = mentioned(request.checks.iter().map(AsRef::as_ref));
    let surroundings = fingerprint::read(&mut conn, &names)
        .await
        .map_err(|error| errors::statement(&error, None, &Relations::default(), connect.get_username()))?;
    let mut session = Session::begin(conn, connect.clone(), options, Snapshot::Own).await?;
    // Only before any savepoint.
    let shared = if options.connections > 1 { session.export().await.ok() } else { None };
    session.ready().await?;
    let as_of = request.params.now.unwrap_or(session.facts.now);
    let relations = catalog::load(&mut session, &tables(&request.checks))
        .await
        .map_err(|error| errors::statement(&error, None, &Relations::default(), &session.facts.role))?;

    let assume = Assumptions {
        dialect: Dialect::Postgres,
        proofs: options.proofs.then_some(if options.trust_foreign_keys {
            Trust::ForeignKeysToo
        } else {
            Trust::Constraints
        }),
        policies: !options.row_security_off,
    };
    let role = session.facts.role.clone();
    let prints: Vec<Option<String>> =
        request.checks.iter().map(|check| surroundings.fingerprint(check, &request.params)).collect();
    let prepared: Vec<Prepared> = request
        .checks
        .iter()
        .zip(&prints)
        .map(|(check, print)| {
            let hidden = |relation: &Relation| errors::hidden(&role, &relation.display());
            let recall = || request.carry.as_ref()?.recall(check, print.as_deref(), as_of);
            match prepare(check, &relations, assume, hidden) {
                read @ (Prepared::Rows(_) | Prepared::Other) => recall().map_or(read, Prepared::Carried),
                answered => answered,
            }
        })
        .collect();
    let mut assembly = Assembly::new(prepared, request, Dialect::Postgres);
    let apart = std::mem::take(&mut assembly.apart);
    let mut answers = std::mem::take(&mut assembly.answers);
    let mut jobs = std::mem::take(&mut assembly.together);
    heaviest_first(&mut jobs, &assembly, &relations);
    let helpers = match &shared {
        Some(snapshot) => {
            let wanted = (options.connections as usize).min(jobs.len()).saturating_sub(1);
            helpers(wanted, &connect, options, snapshot).await
        }
        None => Vec::new(),
    };
    let work = Work {
        request,
        options,
        dialect: Dialect::Postgres,
        as_of,
        deadline,
        rows: &assembly.rows,
        queue: Mutex::new(jobs),
        over_budget: errors::budget,
        progress: progress.begin(answers.len()),
    };
    let reader = |session| PgReader { session, relations: &relations, options, request, as_of };
    let mut readers: Vec<PgReader<'_>> = std::iter::once(session).chain(helpers).map(reader).collect();
    let reading = readers.iter_mut().map(|reader| work.run(reader));
    answers.extend(futures_util::future::join_all(reading).await.into_iter().flatten());
    let mut statements = readers.iter().map(|reader| reader.session.statements).sum();
    let reader = readers.remove(0);
    for helper in readers {
        if let Some(conn) = helper.session.end().await {
            close(conn).await;
        }
    }
    let facts = reader.session.facts.clone();
    let mut rest = reader.session.lost.clone();
    let mut conn = reader.session.end().await;

    // Each isolated check has a short transaction of its own, so that a long one holds up no vacuum.
    for job in apart {
        let index = match &job {
            Job::Fused(unit) => unit.members[0].check,
            Job::Other(index) => *index,
        };
        let opened = match conn.take() {
            Some(conn) => Session::begin(conn, connect.clone(), options, Snapshot::Own).await,
            None => Err(rest.clone().unwrap_or_else(|| errors::lost("it could not be ended"))),
        };
        match opened {
            Ok(mut session) => {
                session.ready().await?;
                work.queue.lock().expect("no worker panics while it holds the queue").push_back(job);
                let mut reader = PgReader { session, relations: &relations, options, request, as_of };
                answers.extend(work.run(&mut reader).await);
                statements += reader.session.statements;
                rest = reader.session.lost.clone();
                conn = reader.session.end().await;
            }
            Err(error) => {
                answers.push(Answer { check: index, result: Err(error), duration: Duration::ZERO });
            }
        }
    }
    let mut rewritten = Vec::new();
    if let Some(mut conn) = conn {
        if let Ok(after) = fingerprint::read(&mut conn, &names).await {
            let read = answers.iter().filter(|answer| assembly.was_read(answer.check));
            rewritten.extend(read.filter_map(|answer| {
                let table = surroundings.rewritten(&after, &request.checks[answer.check])?;
                Some((answer.check, table))
            }));
        }
        close(conn).await;
    }

    let mut measurements = assembly.measurements(&work, answers);
    let mut carry = request.carry.clone().unwrap_or_default();
    for (measurement, print) in measurements.iter_mut().zip(prints) {
        if let Ok(measured) = &mut measurement.result
            && let Some(seconds) = carry.eta(&measurement.key, measured, as_of)
            && let Some(detail) = &mut measured.detail
            && detail.ends_with("rows left")
        {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a backfill of centuries is still one of centuries"
            )]
            let left = SignedDuration::from_secs(seconds as i64);
            detail.push_str(&format!(", about {} at this speed", humane(left)));
        }
        carry.keep(measurement, print, as_of);
    }
    let scan =
        Scan { as_of, measurements, carry, statements, duration: begun.elapsed(), server: facts.server };
    Ok((scan, rewritten))
}

/// More sessions on the same snapshot; fewer where the server has no room for them.
async fn helpers(
    wanted: usize,
    connect: &PgConnectOptions,
    options: &TargetOptions,
    snapshot: &str,
) -> Vec<Session> {
    let open = || async {
        let conn = session::connect(connect, options.budget).await?;
        let mut helper = Session::begin(conn, connect.clone(), options, Snapshot::Shared(snapshot)).await?;
        helper.ready().await?;
        Ok::<_, MeasureError>(helper)
    };
    let opened = futures_util::future::join_all((0..wanted).map(|_| open())).await;
    opened.into_iter().filter_map(Result::ok).collect()
}

/// The longest statements begin first, so that no connection is left with a long one at the end.
fn heaviest_first(jobs: &mut VecDeque<Job>, assembly: &Assembly, relations: &Relations) {
    let pages = |job: &Job| match job {
        Job::Fused(unit) => unit.members.first().and_then(|member| {
            let row = assembly.rows[member.check].as_deref()?;
            relations.iter().find(|relation| relation.sql() == row.table).map(|relation| relation.pages)
        }),
        Job::Other(_) => None,
    };
    let weigh = |job: &Job| pages(job).unwrap_or(-1.0);
    jobs.make_contiguous().sort_by(|a, b| weigh(b).total_cmp(&weigh(a)));
}

pub async fn close(conn: PgConnection) {
    let _ = tokio::time::timeout(Duration::from_secs(1), conn.close()).await;
}

impl From<MeasureError> for TargetError {
    fn from(error: MeasureError) -> Self {
        Self { error }
    }
}
