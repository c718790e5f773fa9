//! From a request to what is left to read: the snapshot, the catalog, what is proved, what is carried.

use std::collections::VecDeque;
use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;

use crate::domain::check::Check;
use crate::domain::clock::Timestamp;

use super::super::assemble::Assembly;
use super::super::digest::digest;
use super::super::plan::Trust;
use super::super::plan::carry::{Surroundings, mentioned};
use super::super::plan::prepare::{Assumptions, Prepared, prepare, roles, tables};
use super::super::plan::relation::{Relation, Relations};
use super::super::plan::sql::Dialect;
use super::super::run::{Job, wants_digests};
use super::super::{ScanRequest, TargetError, TargetOptions};
use super::session::{self, Session, Snapshot};
use super::{catalog, errors, fingerprint};

/// An open snapshot, and every check of the request sorted into what is answered and what must be read.
pub struct Opened {
    pub connect: PgConnectOptions,
    pub session: Session,
    /// The snapshot's name for more connections, where more are wanted.
    pub shared: Option<String>,
    /// Every name that some check mentions.
    pub names: Vec<String>,
    pub surroundings: Surroundings,
    pub relations: Relations,
    pub as_of: Timestamp,
    /// For each check what identifies all that its value depends on; `None` where it is never carried.
    pub prints: Vec<Option<String>>,
    pub assembly: Assembly,
}

pub async fn open(options: &TargetOptions, request: &ScanRequest) -> Result<Opened, TargetError> {
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
    let acting = catalog::acting_as(&mut session, &roles(&request.checks))
        .await
        .map_err(|error| errors::statement(&error, None, &Relations::default(), &session.facts.role))?;
    let relations = relations.acting_as(acting);

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
    // Digests under another key say nothing about each other.
    let key = digest(&options.digest_key, "carry", "");
    let print = |check: &Arc<Check>| {
        let print = surroundings.fingerprint(check, &request.params)?;
        Some(if wants_digests(check) { format!("{print}|{key}") } else { print })
    };
    let prints: Vec<Option<String>> = request.checks.iter().map(print).collect();
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
    let mut assembly = Assembly::new(prepared, request, Dialect::Postgres, options.fusion);
    let mut jobs = std::mem::take(&mut assembly.together);
    heaviest_first(&mut jobs, &assembly, &relations);
    assembly.together = jobs;
    Ok(Opened { connect, session, shared, names, surroundings, relations, as_of, prints, assembly })
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
