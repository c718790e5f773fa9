//! The heart: claim the deploys whose slots are due, scan each target once, decide, and record all of it in
//! one transaction that holds only while the claim does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::judge::{Baselines, Seen};
use super::known::known;
use super::measure::look;
use super::{VerificationError, Watched, finish};
use crate::domain::announce::{End, at_end, signals};
use crate::domain::cadence::{Slot, extension};
use crate::domain::check::Stage;
use crate::domain::check_state::{MISSED_BUDGET, MISSED_DOWN};
use crate::domain::clock::{SignedDuration, Timestamp, truncate};
use crate::domain::deploy::DeployState;
use crate::domain::evaluate::SlotFacts;
use crate::domain::ids::ScanId;
use crate::domain::measurement::{MeasureError, MeasureErrorCode, Measurement, Unit};
use crate::domain::observation::{Observation, Outcome};
use crate::domain::signal::is_beside;
use crate::domain::verdict::{Provisional, VerdictState, fold, short_for_downtime, stage_over};
use crate::services::targets::Reading;
use crate::services::{Context, alerting, answers};
use crate::store::deploys::{DeployRow, TickRecord};
use crate::store::observations::Recorded;
use crate::store::scans::ScanRow;
use crate::store::{StoreError, baselines, deploys, observations, scans};
use crate::target::{Params, Scan, TargetError};

/// A claim ends this long after its last renewal, so that another process takes over within half a minute.
const LEASE: SignedDuration = SignedDuration::from_secs(20);
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// While scans are under way, others that have come due meanwhile are looked for this often: one target that
/// is slow holds up nobody but itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// One activation claims no more after this long, so that its report is not years old.
const CLAIM_FOR: Duration = Duration::from_secs(300);
/// Everything is read at least this often, whatever the write counters say.
const READ_FULLY_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// Answers every slot that is due, of every deploy. The number of deploys served; a deploy whose store or
/// target misbehaves does not hold up the others, and its claim simply runs out.
pub async fn run_due(ctx: &Context) -> Result<u64, StoreError> {
    let parallel = usize::try_from(ctx.settings.scan.parallel).unwrap_or(1).max(1);
    let began = tokio::time::Instant::now();
    let (mut served, mut problem) = (0, None);
    let mut under_way = FuturesUnordered::new();
    loop {
        let free = parallel - under_way.len();
        // Half of them at once, so that a busy fleet is not claimed one by one.
        if (under_way.is_empty() || free * 2 >= parallel)
            && problem.is_none()
            && began.elapsed() < CLAIM_FOR
            && !ctx.stopping.is_cancelled()
        {
            let claiming = claim(ctx, free);
            tokio::pin!(claiming);
            // Those under way go on meanwhile: one of them may hold the only connection that writes, and the
            // claim would wait for it in vain.
            let claimed = loop {
                tokio::select! {
                    claimed = &mut claiming => break claimed,
                    Some(done) = under_way.next() => settle(ctx, done, &mut served, &mut problem),
                }
            };
            match claimed {
                Ok(claimed) => under_way.extend(claimed.into_iter().map(|row| serve(ctx, row))),
                Err(error) => problem = Some(error),
            }
        }
        tokio::select! {
            done = under_way.next() => match done {
                None => break,
                Some(done) => settle(ctx, done, &mut served, &mut problem),
            },
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    problem.map_or(Ok(served), Err)
}

/// Counts one deploy that was served, or keeps what was wrong with the store.
fn settle(
    ctx: &Context,
    done: Result<(), VerificationError>,
    served: &mut u64,
    problem: &mut Option<StoreError>,
) {
    match done {
        Ok(()) => {
            *served += 1;
            // A busy activation is long; the heartbeat hears that it gets on.
            ctx.progress.ended("verification", 1, false);
        }
        Err(VerificationError::Store(error)) => *problem = Some(error),
        Err(error) => tracing::warn!(%error, "a due deploy could not be served"),
    }
}

async fn claim(ctx: &Context, limit: usize) -> Result<Vec<DeployRow>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(1);
    let mut tx = ctx.db.begin().await?;
    let claimed = deploys::claim_due(&mut tx, ctx.db.engine(), ctx.now(), LEASE, limit).await?;
    tx.commit().await?;
    Ok(claimed)
}

async fn serve(ctx: &Context, row: DeployRow) -> Result<(), VerificationError> {
    match row.deploy.state {
        DeployState::Deploying => abandon(ctx, row).await,
        DeployState::Verifying => {
            let (id, token) = (row.deploy.id.clone(), row.lease_token);
            let work = tick(ctx, row);
            tokio::select! {
                done = work => done,
                () = lost(ctx, &id, token) => {
                    tracing::warn!(deploy = %id, "the claim was taken over; the scan is dropped");
                    Ok(())
                }
            }
        }
        _ => Ok(()),
    }
}

/// Renews the claim for as long as it is ours.
async fn lost(ctx: &Context, id: &crate::domain::ids::DeployId, token: i64) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        let renewed = async {
            let mut tx = ctx.db.begin().await?;
            let ours = deploys::renew_claim(&mut tx, id, token, ctx.now() + LEASE).await?;
            tx.commit().await?;
            Ok::<_, StoreError>(ours)
        };
        // A store that does not answer now may answer the next renewal; the record's own comparison decides.
        if matches!(renewed.await, Ok(false)) {
            return;
        }
    }
}

/// A start that never finished: the migration did not happen, or nobody told us.
async fn abandon(ctx: &Context, row: DeployRow) -> Result<(), VerificationError> {
    let mut tx = ctx.db.begin().await?;
    deploys::take_turn(&mut tx, &row.deploy.environment).await?;
    finish::cancel_in(ctx, &mut tx, row, "abandoned: started and not finished in time").await?;
    Ok(tx.commit().await.map_err(StoreError::from)?)
}

/// A sample to take for one check: its slot, or an extra sample of it.
struct Sample {
    index: usize,
    slot: Slot,
    confirm: bool,
}

/// One tick of one deploy under way.
struct Tick {
    row: DeployRow,
    watched: Watched,
    now: Timestamp,
    scan: i64,
    made: Vec<Recorded>,
}

async fn tick(ctx: &Context, row: DeployRow) -> Result<(), VerificationError> {
    let now = truncate(ctx.now());
    let mut c = ctx.db.reader().await?;
    let watched = Watched::load(ctx, &mut c, &row).await?;
    let deploying = deploys::is_newer_deploying(&mut c, &row.deploy).await?;
    drop(c);
    let scan = row.scans + 1;
    let mut tick = Tick { row, watched, now, scan, made: Vec::new() };
    let due = tick.due(deploying);
    let scanned = if due.is_empty() { None } else { Some(tick.measure(ctx, &due).await?) };
    tick.record(ctx, scanned).await
}

/// What a scan brought for the record.
struct Scanned {
    row: ScanRow,
    /// Whether the whole target was read.
    full: bool,
    measurements: Vec<Measurement>,
}

impl Tick {
    /// Lists the samples to take, and answers the slots that no scan can answer any more.
    fn due(&mut self, deploying: bool) -> Vec<Sample> {
        let mut samples = Vec::new();
        for index in 0..self.watched.checks.len() {
            let state = &self.watched.states[index];
            let policy = &self.watched.checks[index].policy;
            let due = self.row.deploy.plan.due(policy, state.next_slot, self.now);
            let pending = state.pending.filter(|extra| extra.due <= self.now).map(|extra| extra.slot);
            let extra = pending.filter(|_| due.current.is_none() && due.elapsed.is_empty());
            for slot in due.elapsed {
                let (outcome, reason) = if deploying {
                    (Outcome::Skipped, "skipped.deploying")
                } else if self.row.scanned_at.is_some_and(|at| at >= slot.at) {
                    (Outcome::Missed, MISSED_BUDGET)
                } else {
                    (Outcome::Missed, MISSED_DOWN)
                };
                self.take(index, unmeasured(self.key(index), slot, slot.at, outcome, reason));
            }
            let sample = due.current.map(|slot| (slot, false)).or(extra.map(|slot| (slot, true)));
            let Some((slot, confirm)) = sample else { continue };
            if deploying {
                let at = if confirm { self.now } else { slot.at };
                let mut skipped =
                    unmeasured(self.key(index), slot, at, Outcome::Skipped, "skipped.deploying");
                skipped.confirm = confirm;
                self.take(index, skipped);
            } else {
                samples.push(Sample { index, slot, confirm });
            }
        }
        samples
    }

    fn key(&self, index: usize) -> crate::domain::check::CheckKey {
        self.watched.checks[index].policy.key.clone()
    }

    /// Takes in an observation: the state moves, the row is kept.
    fn take(&mut self, index: usize, mut observation: Observation) {
        if observation.outcome == Outcome::Pass {
            observation.statement = None;
        }
        let policy = &self.watched.checks[index].policy;
        let state = &mut self.watched.states[index];
        state.observe(policy, &self.row.deploy.plan, &observation);
        let sample = if observation.confirm { state.extras } else { 0 };
        self.made.push(Recorded { scan: self.scan, sample, observation });
    }

    /// A scan reads everything where something hangs on it: an extra sample, a check that is failing, the
    /// last slot; and once an hour.
    fn reading(&self, due: &[Sample]) -> Reading {
        let hangs = due.iter().any(|sample| {
            let check = &self.watched.checks[sample.index].policy;
            let last = self.row.deploy.plan.slot_after(check, sample.slot.at).is_none();
            sample.confirm || last || self.watched.states[sample.index].at_risk()
        });
        let read = self.row.read_fully_at;
        let long_ago = read.is_none_or(|at| self.now.duration_since(at) >= READ_FULLY_EVERY || at > self.now);
        if hangs || long_ago { Reading::Full } else { Reading::Carry }
    }

    async fn measure(&mut self, ctx: &Context, due: &[Sample]) -> Result<Scanned, VerificationError> {
        let deploy = &self.row.deploy;
        let baselines = self.baselines(ctx).await?;
        let reading = self.reading(due);
        let checks = due.iter().map(|s| Arc::clone(&self.watched.checks[s.index])).collect();
        let params = Params {
            environment: deploy.environment.clone(),
            deployed_at: deploy.deployed_at(),
            baseline_at: deploy.baseline_at,
            now: None,
        };
        let began = std::time::Instant::now();
        let seen = look(ctx, checks, params, reading, self.now).await;
        if let Some(result) = &seen.target {
            let outcome = result.as_ref().err().map_or("ok", |e| e.error.code.as_str());
            ctx.metrics.scan(&deploy.environment, outcome, began.elapsed());
        }
        let finished_at = deploy.deployed_at();
        let row = self.scan_row(ctx, due, seen.target.as_ref());
        let full = reading == Reading::Full && matches!(seen.target, Some(Ok(_)));
        let mut measured: BTreeMap<_, _> = match seen.target {
            Some(Ok(scan)) => scan.measurements.into_iter().map(|m| (m.key.clone(), Ok(m))).collect(),
            Some(Err(target)) => due.iter().map(|s| (self.key(s.index), Err(target.error.clone()))).collect(),
            None => BTreeMap::new(),
        };
        measured.extend(seen.beside.into_iter().map(|m| (m.key.clone(), Ok(m))));
        let mut measurement = |sample: &Sample| {
            let policy = &self.watched.checks[sample.index].policy;
            match measured.remove(&policy.key) {
                Some(Ok(measurement)) => measurement,
                Some(Err(error)) => failed(&policy.key, &policy.definition_hash, error),
                None => failed(&policy.key, &policy.definition_hash, unanswered()),
            }
        };
        let measurements: Vec<Measurement> = due.iter().map(&mut measurement).collect();
        let seen = |(sample, measurement): (&Sample, _)| Seen {
            check: Arc::clone(&self.watched.checks[sample.index]),
            measurement,
            slot: SlotFacts {
                slot_at: sample.slot.at,
                observed_at: self.now,
                confirm: sample.confirm,
                finished_at,
            },
            state: &self.watched.states[sample.index],
        };
        let seen: Vec<Seen<'_>> = due.iter().zip(&measurements).map(seen).collect();
        // Those that are not due speak for what is still so.
        let not_due = (0..self.watched.checks.len()).filter(|index| due.iter().all(|s| s.index != *index));
        let aside: Vec<_> =
            not_due.map(|index| (&*self.watched.checks[index], &self.watched.states[index])).collect();
        let observations = baselines.judge_all(&seen, &aside);
        for (sample, observation) in due.iter().zip(observations) {
            self.take(sample.index, observation);
        }
        Ok(Scanned { row, full, measurements })
    }

    async fn baselines(&self, ctx: &Context) -> Result<Baselines, StoreError> {
        let mut c = ctx.db.reader().await?;
        let pre_deploy = match &self.row.deploy.baseline_id {
            Some(id) => baselines::get_baseline(&mut c, id).await?,
            None => None,
        };
        let last_clean = match &self.row.clean_baseline_id {
            Some(id) => baselines::get_baseline(&mut c, id).await?,
            None => None,
        };
        Ok(Baselines {
            pre_deploy,
            last_clean,
            force_both: self.row.both_baselines,
            deployed_at: self.row.deploy.deployed_at().unwrap_or(self.row.deploy.plan.opened_at),
            max_age_seconds: ctx.settings.verification.baseline_max_age_seconds,
        })
    }

    fn scan_row(&self, ctx: &Context, due: &[Sample], result: Option<&Result<Scan, TargetError>>) -> ScanRow {
        let planned = due.iter().map(|s| s.slot.at).min().unwrap_or(self.now);
        let scan = result.and_then(|result| result.as_ref().ok());
        let carried = scan.map_or(0, |s| s.measurements.iter().filter(|m| m.carried).count());
        ScanRow {
            id: ScanId::new(self.now, ctx.entropy.as_ref()),
            deploy_id: self.row.deploy.id.clone(),
            scan: self.scan,
            at: self.now,
            late_ms: i64::try_from(self.now.duration_since(planned).as_millis()).unwrap_or(i64::MAX),
            duration_ms: scan.map_or(0, |s| i64::try_from(s.duration.as_millis()).unwrap_or(i64::MAX)),
            checks: i64::try_from(due.len()).unwrap_or(i64::MAX),
            carried: i64::try_from(carried).unwrap_or(i64::MAX),
            statements: scan.map_or(0, |s| i64::from(s.statements)),
            server: scan.map(|s| s.server.clone()),
            error: result.and_then(|result| result.as_ref().err()).map(|e| e.error.message.clone()),
        }
    }

    /// Folds, and writes observations, states, verdict and signals in one transaction, or nothing.
    async fn record(mut self, ctx: &Context, scanned: Option<Scanned>) -> Result<(), VerificationError> {
        let now = truncate(ctx.now()).max(self.now);
        let seen: Vec<Observation> = self.made.iter().map(|made| made.observation.clone()).collect();
        let of_target = |made: &&Recorded| {
            let check = self.watched.checks.iter().find(|check| check.policy.key == made.observation.key);
            check.is_none_or(|check| !is_beside(&check.policy.kind))
        };
        let about_target = self.made.iter().filter(of_target).map(|made| &made.observation);
        self.row.target_health.observe(self.now, about_target);
        let before = self.row.verdict.clone();
        let mut verdict = fold(&self.row.deploy, &self.watched.assessed(), &self.row.target_health, now);
        let known = known(ctx, &self.row, &seen).await?;
        let (mut told, mut announced) =
            signals(&self.row.deploy, &verdict, &self.row.target_health, &known, now);
        if stage_over(&self.row.deploy, &self.watched.assessed(), Stage::Soak, now) {
            if self.extend(verdict.state, now) {
                verdict = fold(&self.row.deploy, &self.watched.assessed(), &self.row.target_health, now);
            } else {
                self.row.deploy.state = DeployState::Closed { at: now };
                let (last, after) = at_end(&self.row.deploy, &verdict, &announced, &End::WindowClosed, now);
                told.extend(last);
                announced = after;
            }
        }
        let open = self.row.deploy.state == DeployState::Verifying;
        let next_due_at = open.then(|| self.watched.next_due_at(&self.row.deploy, &verdict, now));
        let full = scanned.as_ref().is_some_and(|scanned| scanned.full);
        let changed = (before.state, before.provisional, before.smoke)
            != (verdict.state, verdict.provisional, verdict.smoke);
        let record = TickRecord {
            id: &self.row.deploy.id,
            lease_token: self.row.lease_token,
            plan: &self.row.deploy.plan,
            state: &self.row.deploy.state,
            verdict: &verdict,
            verdict_at: if changed { now } else { self.row.verdict_at },
            target_health: &self.row.target_health,
            announced: &announced,
            scans: self.scan,
            scanned_at: Some(now),
            read_fully_at: if full { Some(self.now) } else { self.row.read_fully_at },
            next_due_at,
        };
        let mut tx = ctx.db.begin().await?;
        if !deploys::record_tick(&mut tx, &record).await? {
            tracing::info!(deploy = %self.row.deploy.id, "the deploy ended or was taken over during the scan");
            return Ok(());
        }
        observations::insert_observations(&mut tx, &self.row.deploy.id, &self.made).await?;
        let touched: Vec<_> = self.touched();
        observations::put_states(&mut tx, &self.row.deploy.id, &touched).await?;
        if let Some(scanned) = &scanned {
            scans::insert_scan(&mut tx, &scanned.row).await?;
            let clean = verdict.state == VerdictState::Verifying || verdict.state == VerdictState::Passed;
            let clean = clean && matches!(verdict.provisional, Some(Provisional::Clean) | None);
            if full && clean && seen.iter().all(is_clean) {
                self.keep_clean_scan(&mut tx, &scanned.measurements).await?;
            }
        }
        alerting::record(ctx, &mut tx, &told).await?;
        if changed || before.reasons.first() != verdict.reasons.first() {
            answers::changed(ctx, &mut tx, &self.row.deploy).await?;
        }
        tx.commit().await.map_err(StoreError::from)?;
        seen.iter().for_each(|observation| ctx.metrics.observation(observation.outcome.as_str()));
        if before.state != verdict.state {
            ctx.metrics.verdict(verdict.state.as_str());
        }
        Ok(())
    }

    /// Goes on once, by at most a quarter, when coverage is short only because we were down.
    fn extend(&mut self, state: VerdictState, now: Timestamp) -> bool {
        if state != VerdictState::Inconclusive {
            return false;
        }
        let missed = short_for_downtime(&self.watched.assessed());
        let Some(granted) = missed.and_then(|seconds| extension(&self.row.deploy.plan, seconds, now)) else {
            return false;
        };
        self.row.deploy.plan.extension = Some(granted);
        for (check, state) in self.watched.checks.iter().zip(&mut self.watched.states) {
            let last = state.last.as_ref().map_or(granted.from, |last| last.slot_at);
            state.next_slot = self.row.deploy.plan.slot_after(&check.policy, last);
        }
        true
    }

    /// The states that this tick moved; after an extension all of them.
    fn touched(&self) -> Vec<&crate::domain::check_state::CheckState> {
        let moved: std::collections::BTreeSet<_> =
            self.made.iter().map(|made| made.observation.key.as_str()).collect();
        let all = self.row.deploy.plan.extension.is_some();
        self.watched.states.iter().filter(|s| all || moved.contains(s.key.as_str())).collect()
    }

    /// The newest clean measurements, over those of checks that were not due in this scan.
    async fn keep_clean_scan(
        &self,
        tx: &mut crate::store::Tx,
        measurements: &[Measurement],
    ) -> Result<(), StoreError> {
        let environment = &self.row.deploy.environment;
        let known = baselines::get_clean_scan(tx, environment).await?;
        let mut all = known.map(|(_, all)| all).unwrap_or_default();
        all.extend(measurements.iter().map(|m| (m.key.clone(), m.clone())));
        baselines::put_clean_scan(tx, environment, self.now, &all).await
    }
}

fn is_clean(seen: &Observation) -> bool {
    matches!(seen.outcome, Outcome::Pass | Outcome::Skipped | Outcome::Missed)
}

fn unmeasured(
    key: crate::domain::check::CheckKey,
    slot: Slot,
    at: Timestamp,
    outcome: Outcome,
    reason: &str,
) -> Observation {
    let message = match reason {
        MISSED_DOWN => "not measured: no deploywatch process was running",
        MISSED_BUDGET => "not measured: the scan before took too long",
        _ => "not measured: a newer deploy is between its start and its finish",
    };
    Observation {
        key,
        slot_at: slot.at,
        observed_at: at,
        outcome,
        reason: reason.to_owned(),
        message: message.to_owned(),
        told: None,
        value: None,
        unit: Unit::default(),
        tested: None,
        baseline: None,
        threshold: None,
        carried: false,
        proved: None,
        confirm: false,
        duration_ms: 0,
        samples: Vec::new(),
        statement: None,
    }
}

fn failed(key: &crate::domain::check::CheckKey, definition_hash: &str, error: MeasureError) -> Measurement {
    Measurement {
        key: key.clone(),
        definition_hash: definition_hash.to_owned(),
        result: Err(error),
        duration_ms: 0,
        carried: false,
        proved: None,
        isolated: false,
        statement: None,
    }
}

fn unanswered() -> MeasureError {
    MeasureError {
        code: MeasureErrorCode::Shape,
        message: "the scan brought no measurement for this check".into(),
        hint: None,
    }
}
