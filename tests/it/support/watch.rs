//! A world in which a window of 24 hours runs in seconds: a clock moved by hand, and a target whose
//! measurements a test scripts as a function of time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deploywatch::domain::check::{Check, CheckPolicy};
use deploywatch::domain::clock::{Clock, ManualClock, SignedDuration, Timestamp};
use deploywatch::domain::deploy::DeployKind;
use deploywatch::domain::ids::DeployId;
use deploywatch::domain::measure::{Measure, RowAggregate, TableName, What};
use deploywatch::domain::measurement::{MeasureError, MeasureErrorCode, Measured, Measurement};
use deploywatch::domain::threshold::{Bound, Threshold};
use deploywatch::domain::verdict::{Verdict, replay_verdict};
use deploywatch::services::Context;
use deploywatch::services::context::Keys;
use deploywatch::services::targets::{Probe, Prober, TargetsError};
use deploywatch::services::verification::{self, Announcement, Attempt};
use deploywatch::settings::{Environment, Settings};
use deploywatch::store::deploys::DeployRow;
use deploywatch::store::observations::Recorded;
use deploywatch::store::{deploys, observations};
use deploywatch::target::{Carry, Scan, TargetError};
use futures_util::future::BoxFuture;
use sqlx::AnyConnection;

use super::{TestEntropy, TestStore, manual_clock};

/// What a scripted check brings back.
pub type Script = dyn Fn(&str, Timestamp) -> Result<f64, MeasureErrorCode> + Send + Sync;

/// A prober that measures nothing and answers what the test says.
pub struct Scripted {
    clock: Arc<ManualClock>,
    checks: Mutex<Vec<Check>>,
    script: Mutex<Box<Script>>,
    down: Mutex<bool>,
    pub scans: AtomicU64,
}

impl Scripted {
    pub fn script(
        &self,
        script: impl Fn(&str, Timestamp) -> Result<f64, MeasureErrorCode> + Send + Sync + 'static,
    ) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// Every scan fails to connect while it is down.
    pub fn set_down(&self, down: bool) {
        *self.down.lock().unwrap() = down;
    }

    pub fn set_checks(&self, checks: Vec<Check>) {
        *self.checks.lock().unwrap() = checks;
    }
}

impl Prober for Scripted {
    fn checks<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<Check>, TargetsError>> {
        let checks = self.checks.lock().unwrap().clone();
        Box::pin(async move { Ok(checks) })
    }

    fn scan(&self, probe: Probe) -> BoxFuture<'_, Result<Scan, TargetError>> {
        self.scans.fetch_add(1, Ordering::SeqCst);
        let now = self.clock.now();
        if *self.down.lock().unwrap() {
            let error = MeasureError {
                code: MeasureErrorCode::Connect,
                message: "the database refuses connections".into(),
                hint: None,
            };
            return Box::pin(async { Err(TargetError { error }) });
        }
        let script = self.script.lock().unwrap();
        let measurements =
            probe.checks.iter().map(|c| measurement(c, script(c.key().as_str(), now))).collect();
        let scan = Scan {
            as_of: now,
            measurements,
            carry: Carry::default(),
            statements: 1,
            duration: Duration::from_millis(5),
            server: "scripted".into(),
        };
        Box::pin(async move { Ok(scan) })
    }
}

fn measurement(check: &Check, value: Result<f64, MeasureErrorCode>) -> Measurement {
    let result = value
        .map(|value| Measured { value: Some(value), tested: Some(1_000.0), ..Measured::default() })
        .map_err(|code| MeasureError { code, message: format!("scripted {}", code.as_str()), hint: None });
    Measurement {
        key: check.key().clone(),
        definition_hash: check.policy.definition_hash.clone(),
        result,
        duration_ms: 1,
        carried: false,
        proved: None,
        isolated: false,
        statement: Some("SELECT 1".into()),
    }
}

/// A critical check that fails above 0 violations.
pub fn violations(key: &str) -> Check {
    let mut policy = CheckPolicy::new(key, "not_null");
    policy.fail = Some(Threshold { above: Some(Bound::Number(0.0)), ..Threshold::default() });
    policy.definition_hash = "d".into();
    let table = TableName { schema: None, name: "users".into() };
    let aggregate = RowAggregate::NotNull { column: "email".into() };
    Check {
        policy,
        measure: Measure {
            what: What::Rows { table, filter: None, aggregate },
            when: None,
            isolated: false,
            samples: None,
            timeout: None,
            trust_foreign_keys: Default::default(),
        },
    }
}

/// The environment of these tests.
pub const ENVIRONMENT: &str = "acme-production";

/// A context over a scripted target, and what a test does with it.
pub struct World {
    pub ctx: Context,
    pub clock: Arc<ManualClock>,
    pub target: Arc<Scripted>,
}

impl World {
    pub async fn new(store: &TestStore, checks: Vec<Check>) -> Self {
        let clock = manual_clock();
        let target = Arc::new(Scripted {
            clock: clock.clone(),
            checks: Mutex::new(checks),
            script: Mutex::new(Box::new(|_, _| Ok(0.0))),
            down: Mutex::new(false),
            scans: AtomicU64::new(0),
        });
        let mut settings = Settings::defaults();
        settings.environments.insert(ENVIRONMENT.into(), environment());
        let keys = Keys::new([7; 32]);
        let entropy = Arc::new(TestEntropy::default());
        let mut ctx = Context::new(store.db().await, clock.clone(), entropy, Arc::new(settings), keys);
        ctx.prober = target.clone();
        Self { ctx, clock, target }
    }

    /// Another process on the same store: its own connections, the same clock and target.
    pub async fn another(&self, store: &TestStore) -> Context {
        let mut ctx = self.ctx.clone();
        ctx.db = store.db().await;
        ctx
    }

    pub async fn start(&self, version: &str) -> DeployId {
        let started =
            verification::start(&self.ctx, &announcement(version)).await.expect("the deploy starts");
        started.row.deploy.id
    }

    /// Starts and finishes half a minute later.
    pub async fn release(&self, version: &str) -> DeployId {
        let id = self.start(version).await;
        self.clock.advance(SignedDuration::from_secs(30));
        verification::finish(&self.ctx, &id).await.expect("the deploy finishes");
        id
    }

    /// Lets `length` pass: whenever something is due it is done at that very instant.
    pub async fn pass(&self, length: SignedDuration) {
        let end = self.clock.now() + length;
        loop {
            verification::run_due(&self.ctx).await.expect("what is due is done");
            match self.next_due().await {
                Some(due) if due <= end => self.clock.set(due.max(self.clock.now())),
                _ => break,
            }
        }
        self.clock.set(end);
        verification::run_due(&self.ctx).await.expect("what is due is done");
    }

    pub fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    pub async fn next_due(&self) -> Option<Timestamp> {
        let mut c = self.ctx.db.reader().await.unwrap();
        let rows = deploys::list_deploys(&mut c, None, 100).await.unwrap();
        rows.iter().filter_map(|row| row.next_due_at).min()
    }

    pub async fn row(&self, id: &DeployId) -> DeployRow {
        verification::get(&self.ctx, id).await.expect("the deploy is there")
    }

    pub async fn observations(&self, id: &DeployId) -> Vec<Recorded> {
        observations::list_observations(&mut self.ctx.db.reader().await.unwrap(), id).await.unwrap()
    }

    /// The verdict that the stored observations alone add up to.
    pub async fn replayed(&self, id: &DeployId, at: Timestamp) -> Verdict {
        let row = self.row(id).await;
        replayed(&mut self.ctx.db.reader().await.unwrap(), &row, at).await
    }

    /// Every planned slot of every check has exactly one observation, and nothing else has.
    pub async fn assert_every_slot_answered(&self, id: &DeployId) {
        let row = self.row(id).await;
        let made = self.observations(id).await;
        let checks = policies(&mut self.ctx.db.reader().await.unwrap(), &row).await;
        assert_every_slot_answered(&row, &checks, &made);
    }
}

pub async fn policies(c: &mut AnyConnection, row: &DeployRow) -> Vec<CheckPolicy> {
    let checks = deploys::get_check_set(c, &row.check_set).await.unwrap();
    checks.into_iter().map(|check| check.policy).collect()
}

/// The verdict that the stored observations of a deploy alone add up to.
pub async fn replayed(c: &mut AnyConnection, row: &DeployRow, at: Timestamp) -> Verdict {
    let policies = policies(c, row).await;
    let mut scans: BTreeMap<i64, Vec<_>> = BTreeMap::new();
    for made in observations::list_observations(c, &row.deploy.id).await.unwrap() {
        scans.entry(made.scan).or_default().push(made.observation);
    }
    let scans: Vec<_> = scans.into_values().map(|seen| (seen[0].observed_at, seen)).collect();
    replay_verdict(&row.deploy, &policies, &scans, at)
}

/// Every planned slot of every check has exactly one observation, and nothing else has.
pub fn assert_every_slot_answered(row: &DeployRow, checks: &[CheckPolicy], made: &[Recorded]) {
    for check in checks {
        let slots: Vec<Timestamp> = row.deploy.plan.slots(check).map(|slot| slot.at).collect();
        let mut answered: Vec<Timestamp> = made
            .iter()
            .filter(|m| m.sample == 0 && m.observation.key == check.key)
            .map(|m| m.observation.slot_at)
            .collect();
        answered.sort();
        assert_eq!(answered, slots, "the slots of {} of {}", check.key, row.deploy.id);
    }
}

pub fn announcement(version: &str) -> Announcement {
    Announcement {
        environment: None,
        version: version.into(),
        commit: Some("7f3c2a1".into()),
        kind: DeployKind::Normal,
        actor: Some("dana".into()),
        link: None,
        attempt: Attempt::Same,
        smoke_seconds: None,
        window_seconds: None,
    }
}

fn environment() -> Environment {
    serde_json::from_value(serde_json::json!({ "database_url": "postgres://nowhere.invalid/acme" }))
        .expect("the environment's settings are complete")
}
