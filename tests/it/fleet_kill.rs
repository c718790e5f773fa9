//! Two processes share one store and are killed again and again at any moment, and one of them sleeps for longer
//! than its claims last: every slot is answered once, and every verdict is what its observations add up to.
//!
//! What is asserted is the accounting, never how much was measured: on a busy machine more slots are missed, and
//! each of them is on record as missed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use deploywatch::domain::clock::{Clock, SignedDuration, Timestamp};
use deploywatch::domain::deploy::{DeployKind, DeployState};
use deploywatch::domain::ids::Entropy;
use deploywatch::domain::observation::Outcome;
use deploywatch::domain::verdict::VerdictState;
use deploywatch::services::Context;
use deploywatch::services::context::Keys;
use deploywatch::services::verification::{self, Announcement, Attempt};
use deploywatch::settings::{ArmedPolicy, Settings};
use deploywatch::store::{Db, deploys, migrate, observations};
use deploywatch::system::{SystemClock, SystemEntropy, environment};
use futures_util::{StreamExt, stream};
use nix::sys::signal::Signal;
use sqlx::{Connection, SqliteConnection};

use crate::support::process::Invocation;
use crate::support::trail::{Step, Trail, assert_claims_are_kept, taken_over};
use crate::support::watch::{assert_every_slot_answered, policies, replayed};
use crate::support::{Deploywatch, PgCluster, TestEntropy, temp_dir};

/// One in so many watches a database that is broken.
const BROKEN: usize = 10;
/// Longer than a claim lasts.
const SLEEP: Duration = Duration::from_secs(22);
/// How long a claim lasts without being renewed.
const LEASE: SignedDuration = SignedDuration::from_secs(20);
/// Somebody takes a step at least this often, on a machine that does many other things.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long each window is, and how long processes are killed at least.
#[derive(Debug, Clone, Copy)]
struct Run {
    seconds: u32,
    deploys: usize,
}

impl Run {
    /// `DEPLOYWATCH_TEST_KILL_SECONDS=120` is the long run; in the suite it is short and has fewer deploys.
    fn asked() -> Self {
        let asked = environment().get("DEPLOYWATCH_TEST_KILL_SECONDS").map(|text| text.parse());
        match asked.map(|asked| asked.expect("DEPLOYWATCH_TEST_KILL_SECONDS is a number")) {
            Some(seconds) => Self { seconds, deploys: 1_000 },
            None => Self { seconds: 20, deploys: 200 },
        }
    }

    fn cadence(self) -> u32 {
        (self.seconds / 10).max(4)
    }
}

fn name(n: usize) -> String {
    format!("environment-{n:04}")
}

/// Two watched databases, the checks, and settings with an environment for each deploy.
async fn folder(path: &Path, run: Run) {
    for (database, email) in [("good", "'a@example.com'"), ("broken", "NULL")] {
        let url = format!("sqlite:{}?mode=rwc", path.join(format!("{database}.db")).display());
        let mut c = SqliteConnection::connect(&url).await.expect("a database can be made");
        let sql =
            format!("CREATE TABLE users (email TEXT, name TEXT); INSERT INTO users VALUES ({email}, 'a')");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut c).await.expect("it can be filled");
        c.close().await.expect("it can be closed");
    }
    std::fs::write(
        path.join("checks.yaml"),
        "suite: shop\ntables:\n  users:\n    - not_null: [email]\n    - not_null: [name]\n",
    )
    .unwrap();
    let mut text = String::new();
    for n in 0..run.deploys {
        let (url, suite) = watched(path, n);
        write!(text, "[environments.{}]\ndatabase_url = {url:?}\nsuites = [{suite:?}]\n", name(n)).unwrap();
    }
    std::fs::write(path.join("deploywatch.toml"), text).unwrap();
}

fn watched(path: &Path, n: usize) -> (String, String) {
    let database = if n.is_multiple_of(BROKEN) { "broken.db" } else { "good.db" };
    (format!("sqlite:{}", path.join(database).display()), path.join("checks.yaml").display().to_string())
}

/// The library on the store, with the settings of the processes.
async fn library(store: &str, path: &Path, run: Run) -> Context {
    let db = Db::connect(store).await.expect("the store can be opened");
    migrate::run(&db).await.expect("its schema can be made");
    let mut settings = Settings::defaults();
    settings.alerts.armed = ArmedPolicy::Never;
    let verification = &mut settings.verification;
    (verification.smoke_every_seconds, verification.soak_every_seconds) = (run.cadence(), run.cadence());
    verification.confirm_after_seconds = 2;
    for n in 0..run.deploys {
        let (url, suite) = watched(path, n);
        let found = serde_json::json!({ "database_url": url, "suites": [suite] });
        let found = serde_json::from_value(found).expect("the environment's settings are complete");
        settings.environments.insert(name(n), found);
    }
    Context::new(db, Arc::new(SystemClock), Arc::new(SystemEntropy), Arc::new(settings), Keys::new([7; 32]))
}

async fn open(ctx: &Context, n: usize, seconds: u32) {
    let announcement = Announcement {
        environment: Some(name(n)),
        version: "v1".into(),
        commit: None,
        kind: DeployKind::Normal,
        actor: None,
        link: None,
        attempt: Attempt::Same,
        smoke_seconds: Some(seconds / 4),
        window_seconds: Some(seconds),
    };
    verification::finish_version(ctx, &announcement).await.expect("the window opens");
}

/// The two processes. Each that is started has a name of its own, which the store sees.
struct Fleet<'a> {
    store: &'a str,
    folder: &'a Path,
    chance: TestEntropy,
    started: usize,
    running: [(String, Deploywatch); 2],
    killed: Vec<(String, Timestamp)>,
    asleep: Option<(usize, Instant)>,
}

impl<'a> Fleet<'a> {
    fn start(store: &'a str, folder: &'a Path) -> Self {
        let running = [process(store, folder, 0), process(store, folder, 1)];
        let chance = TestEntropy::default();
        Self { store, folder, chance, started: 2, running, killed: Vec::new(), asleep: None }
    }

    fn below(&self, end: u16) -> u16 {
        let mut bytes = [0; 2];
        self.chance.fill(&mut bytes);
        u16::from_le_bytes(bytes) % end
    }

    fn kill(&mut self, which: usize) {
        let (name, process) = &mut self.running[which];
        process.assert_running();
        process.kill9();
        self.killed.push((name.clone(), SystemClock.now()));
    }

    fn restart(&mut self, which: usize) {
        self.running[which] = process(self.store, self.folder, self.started);
        self.started += 1;
    }

    /// One death, or both at once; one that sleeps is not killed.
    fn strike(&mut self) {
        let which = usize::from(self.below(2));
        let dead = match self.asleep {
            Some((asleep, _)) => vec![1 - asleep],
            None if self.below(8) == 0 => vec![0, 1],
            None => vec![which],
        };
        dead.iter().for_each(|which| self.kill(*which));
        dead.iter().for_each(|which| self.restart(*which));
    }

    fn sleep(&mut self) {
        let which = usize::from(self.below(2));
        self.running[which].1.signal(Signal::SIGSTOP);
        self.asleep = Some((which, Instant::now()));
    }

    fn wake(&mut self) {
        if let Some((which, _)) = self.asleep.take_if(|(_, since)| since.elapsed() >= SLEEP) {
            self.running[which].1.signal(Signal::SIGCONT);
        }
    }
}

fn process(store: &str, folder: &Path, number: usize) -> (String, Deploywatch) {
    let name = format!("process-{number}");
    let process = Invocation::new()
        .folder(folder)
        .env("DEPLOYWATCH__STORE__URL", format!("{store}?application_name={name}"))
        .env("DEPLOYWATCH__SECRETS__MASTER_KEY", "07".repeat(32))
        .env("DEPLOYWATCH__HTTP__LISTEN", "127.0.0.1:0")
        .env("DEPLOYWATCH__EMAIL__TRANSPORT", "memory")
        .env("DEPLOYWATCH__EMAIL__RECIPIENTS", "oncall@example.com")
        .args(["serve"]);
    (name, process.spawn())
}

/// Opens the windows, while processes are killed already.
async fn open_all(ctx: &Context, run: Run, opened: &AtomicBool) {
    stream::iter(0..run.deploys).map(|n| open(ctx, n, run.seconds)).buffer_unordered(4).count().await;
    opened.store(true, Ordering::SeqCst);
}

/// Kills at moments that work sets the pace of: after a random number of steps, at the latest after five seconds.
/// It goes on for a whole window after the last one was opened.
async fn kill(run: Run, fleet: &mut Fleet<'_>, trail: &mut Trail, opened: &AtomicBool) {
    let began = Instant::now();
    let window = Duration::from_secs(run.seconds.into());
    let mut until = began + window;
    // A sleep for each minute, the first one early, so that a short run has one too.
    let mut next_sleep = Duration::from_secs(u64::from(fleet.below(5)));
    while Instant::now() < until || fleet.asleep.is_some() {
        if !opened.load(Ordering::SeqCst) {
            until = Instant::now() + window;
        }
        let (wanted, since) = (trail.steps().await + i64::from(fleet.below(120)), Instant::now());
        while trail.steps().await < wanted && since.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        fleet.wake();
        if began.elapsed() >= next_sleep && Instant::now() < until && fleet.asleep.is_none() {
            fleet.sleep();
            next_sleep += Duration::from_secs(60);
        } else {
            fleet.strike();
        }
    }
}

/// Waits for as long as something is done still, however slowly.
async fn until_all_is_over(fleet: &mut Fleet<'_>, trail: &mut Trail) {
    let (mut last, mut since) = (0, Instant::now());
    while trail.open().await > 0 {
        fleet.running.iter_mut().for_each(|(_, process)| process.assert_running());
        let steps = trail.steps().await;
        if steps != last {
            (last, since) = (steps, Instant::now());
        }
        assert!(since.elapsed() < PATIENCE, "nobody does what is due");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What a dead process held is free within its lease, and then the next claim takes it before anything that has waited
/// shorter: a fleet that keeps up takes over in less than 30 s, and a machine that is too busy to keep up fails no
/// test. Counted, with those below 30 s and the longest time that it took.
fn assert_taken_over(
    trail: &BTreeMap<String, Vec<Step>>,
    killed: &[(String, Timestamp)],
) -> (usize, usize, SignedDuration) {
    let (mut count, mut soon, mut longest) = (0, 0, SignedDuration::ZERO);
    for (who, at) in killed {
        for held in taken_over(trail, who, *at) {
            let bound = held.free_at.duration_since(held.killed_at);
            assert!(bound <= LEASE, "the claim of the dead lasted for {bound:#}: {held:?}");
            let passed_over = trail.values().flatten().find(|step| held.is_passed_over_by(step, LEASE));
            assert!(passed_over.is_none(), "{held:?} was left lying by {passed_over:?}");
            soon += usize::from(held.dark() < SignedDuration::from_secs(30));
            (count, longest) = (count + 1, longest.max(held.dark()));
        }
    }
    (count, soon, longest)
}

#[expect(clippy::print_stdout, reason = "the long run is for its numbers")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_slot_is_answered_once_whichever_process_is_killed_or_sleeps() {
    let (run, cluster, folder_of_test) = (Run::asked(), PgCluster::private(), temp_dir());
    let path = folder_of_test.path();
    folder(path, run).await;
    let store = cluster.create_database("store").await;
    let ctx = library(&store, path, run).await;
    let mut trail = Trail::start(&store).await;
    let mut fleet = Fleet::start(&store, path);
    for (_, process) in &mut fleet.running {
        process.address().await;
    }
    let (began, opened) = (Instant::now(), AtomicBool::new(false));
    tokio::join!(open_all(&ctx, run, &opened), kill(run, &mut fleet, &mut trail, &opened));
    let killing = began.elapsed();
    until_all_is_over(&mut fleet, &mut trail).await;
    let over = began.elapsed();
    let Fleet { running, killed, .. } = fleet;
    for (_, process) in running {
        assert!(process.terminate().await.success(), "the survivors end by themselves");
    }

    let steps = trail.read().await;
    steps.iter().for_each(|(deploy, steps)| assert_claims_are_kept(deploy, steps));
    let (taken_over, soon, longest) = assert_taken_over(&steps, &killed);
    assert!(taken_over > 0, "some deaths hit a scan that was under way");

    let mut c = ctx.db.reader().await.unwrap();
    let rows = deploys::list_deploys(&mut c, None, i64::try_from(run.deploys).unwrap()).await.unwrap();
    assert_eq!(rows.len(), run.deploys);
    let (mut outcomes, mut verdicts): (BTreeMap<&str, usize>, BTreeMap<&str, usize>) = Default::default();
    for row in &rows {
        assert!(matches!(row.deploy.state, DeployState::Closed { .. }), "{:?}", row.deploy.state);
        let made = observations::list_observations(&mut c, &row.deploy.id).await.unwrap();
        assert_every_slot_answered(row, &policies(&mut c, row).await, &made);
        let at = row.scanned_at.expect("a closed window was looked at");
        assert_eq!(replayed(&mut c, row, at).await, row.verdict, "the replay of {}", row.deploy.id);
        let broken = row.deploy.environment.trim_start_matches("environment-").parse::<usize>().unwrap();
        if broken.is_multiple_of(BROKEN) {
            assert!(row.verdict.state != VerdictState::Passed, "{}", row.deploy.environment);
        } else {
            assert!(row.verdict.state != VerdictState::Failed, "{}", row.deploy.environment);
        }
        *verdicts.entry(row.verdict.state.as_str()).or_default() += 1;
        made.iter().for_each(|m| *outcomes.entry(m.observation.outcome.as_str()).or_default() += 1);
    }
    assert!(outcomes.contains_key(Outcome::Pass.as_str()), "something was measured: {outcomes:?}");
    println!(
        "{} deploys, {} kills in {:.0} s; {taken_over} claims of the dead were taken over, {soon} of them within 30 s and \
         the last after {longest:#}; observations {outcomes:?}, verdicts {verdicts:?}; all over after {:.0} s",
        run.deploys,
        killed.len(),
        killing.as_secs_f64(),
        over.as_secs_f64()
    );
}
