//! One scan of a PostgreSQL target.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use crate::domain::clock::{SignedDuration, humane};
use crate::domain::measurement::MeasureError;

use super::super::plan::sql::Dialect;
use super::super::run::{Answer, Job, Work};
use super::super::{Progress, Scan, ScanRequest, TargetError, TargetOptions};
use super::open::{Opened, open};
use super::reader::PgReader;
use super::session::{self, Session, Snapshot};
use super::{errors, fingerprint};

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
    let Opened { connect, session, shared, names, surroundings, relations, as_of, prints, mut assembly } =
        open(options, request).await?;
    let apart = std::mem::take(&mut assembly.apart);
    let mut answers = std::mem::take(&mut assembly.answers);
    let jobs = std::mem::take(&mut assembly.together);
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

pub async fn close(conn: PgConnection) {
    let _ = tokio::time::timeout(Duration::from_secs(1), conn.close()).await;
}

impl From<MeasureError> for TargetError {
    fn from(error: MeasureError) -> Self {
        Self { error }
    }
}
