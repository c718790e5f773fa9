//! R7: a database that cannot be measured, in every way that happens, is one CANNOT CHECK and no word about its
//! checks; the gate says inconclusive, and the end tells the gap.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deploywatch::domain::check::Stage;
use deploywatch::domain::clock::SignedDuration;
use deploywatch::domain::gate::{FailOn, GateAnswer, GatePolicy};
use deploywatch::email::Mailer;
use deploywatch::services::gate::{Question, ask};
use deploywatch::services::targets::Targets;
use deploywatch::services::{alerting, outbox};
use deploywatch::settings::ArmedPolicy;
use sqlx::Connection;

use crate::support::pg::database_of;
use crate::support::pooler::Bouncer;
use crate::support::smtp::{Behaviour, SmtpServer};
use crate::support::watch::{ENVIRONMENT, World};
use crate::support::{AgentZero, Engine, PgCluster, TestStore, temp_dir};

/// What depends on the time is read with every scan, however quiet its table is.
const SUITE: &str = "suite: outage\nqueries:\n  - key: users\n    value: SELECT count(*) FROM users WHERE now() > '2020-01-01'\n    \
                     fail: { below: 1 }\n  - key: agents\n    value: SELECT count(*) FROM agents WHERE now() > '2020-01-01'\n    \
                     fail: { below: 1 }\n";

struct Watch {
    world: World,
    mails: SmtpServer,
    _store: TestStore,
    _folder: tempfile::TempDir,
}

impl Watch {
    /// A deploy in its window, over a real database.
    async fn over(database_url: &str) -> Self {
        let (store, folder) = (TestStore::new(Engine::Sqlite).await, temp_dir());
        let suite = folder.path().join("outage.yaml");
        std::fs::write(&suite, SUITE).unwrap();
        let mails = SmtpServer::start(Behaviour::Accept).await;
        let mut world = World::new(&store, Vec::new()).await;
        let mut settings = (*world.ctx.settings).clone();
        let environment = settings.environments.get_mut(ENVIRONMENT).unwrap();
        environment.database_url = database_url.to_owned().into();
        environment.suites = vec![Path::new(&suite).to_owned()];
        mails.lead_here(&mut settings);
        settings.alerts.armed = ArmedPolicy::Never;
        settings.scan.statement_timeout_seconds = 1;
        settings.scan.budget_seconds = 2;
        settings.verification.smoke_every_seconds = 120;
        let settings = Arc::new(settings);
        world.ctx.prober = Arc::new(Targets::new(settings.clone(), [7; 32]));
        world.ctx.mailer = Mailer::of(&settings.email);
        world.ctx.settings = settings;
        world.release("v1").await;
        let watch = Self { world, mails, _store: store, _folder: folder };
        watch.passes(2).await;
        watch
    }

    async fn passes(&self, minutes: i64) {
        for _ in 0..minutes {
            self.world.pass(SignedDuration::from_mins(1)).await;
            alerting::catch_up(&self.world.ctx).await.unwrap();
            outbox::send_due(&self.world.ctx).await.unwrap();
        }
    }

    /// It has broken: one mail, and CI is told that nobody knows.
    async fn is_in_the_dark(&self, how: &str) {
        // Three scans by the cadence: what trying again cannot mend, such as missing rights, is not tried sooner.
        self.passes(6).await;
        assert_eq!(self.mails.statuses(), ["CANNOT CHECK"], "{how}");
        // Until smoke is over.
        self.passes(5).await;
        let policy = GatePolicy { stage: Stage::Smoke, fail_on: FailOn::Failure };
        let question = Question::Newest { environment: ENVIRONMENT.into() };
        let answered = ask(&self.world.ctx, &question, policy).await.unwrap();
        assert_eq!(answered.decision.answer, GateAnswer::Inconclusive, "{how}: {:?}", answered.decision);
        assert_eq!(self.mails.statuses(), ["CANNOT CHECK"], "{how}");
    }

    /// It is mended: one mail with the gap.
    async fn sees_again(&self, how: &str) {
        self.passes(7).await;
        assert_eq!(self.mails.statuses(), ["CANNOT CHECK", "RESOLVED"], "{how}");
        let mails = self.mails.letters();
        let first = &mails[0].text;
        assert!(first.contains("The database of acme-production cannot be measured since"), "{how}: {first}");
        let text = &mails[1].text;
        assert!(text.contains("the gap: nothing is known of the"), "{how}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_in_any_form_is_one_mail_and_never_a_failure() {
    let cluster = PgCluster::private();
    let product = AgentZero::on(&cluster, 20).await;
    let superuser = cluster.url("postgres", "postgres");
    let execute = async |sql: &str| cluster.execute(&superuser, sql).await;

    let watch = Watch::over(&product.scanner).await;
    cluster.stop();
    watch.is_in_the_dark("stopped, so that it refuses connections").await;
    cluster.start();
    watch.sees_again("stopped").await;

    let watch = Watch::over(&product.scanner).await;
    execute("ALTER ROLE scanner PASSWORD 'changed'").await;
    watch.is_in_the_dark("the password was changed").await;
    execute("ALTER ROLE scanner PASSWORD 'scanner'").await;
    watch.sees_again("the password was changed").await;

    let watch = Watch::over(&product.scanner).await;
    execute("ALTER ROLE scanner CONNECTION LIMIT 0").await;
    watch.is_in_the_dark("no connection is left").await;
    execute("ALTER ROLE scanner CONNECTION LIMIT -1").await;
    watch.sees_again("no connection is left").await;

    let watch = Watch::over(&product.scanner).await;
    // It reads as a member of `authenticated` too.
    execute("REVOKE pg_read_all_data, authenticated FROM scanner").await;
    watch.is_in_the_dark("its rights were revoked").await;
    execute("GRANT pg_read_all_data, authenticated TO scanner").await;
    watch.sees_again("its rights were revoked").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_is_one_mail_and_never_a_failure() {
    let cluster = PgCluster::private();
    let product = AgentZero::on(&cluster, 20).await;
    let watch = Watch::over(&product.scanner).await;
    cluster.pause();
    watch.is_in_the_dark("paused").await;
    cluster.resume();
    watch.sees_again("paused").await;

    // Every statement runs into its time: somebody holds the tables for long.
    let watch = Watch::over(&product.scanner).await;
    let mut holder = sqlx::postgres::PgConnection::connect(&product.admin).await.unwrap();
    let lock = "BEGIN; LOCK TABLE users, agents IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    watch.is_in_the_dark("locked away").await;
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    watch.sees_again("locked away").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_is_down_is_one_mail_and_never_a_failure() {
    let az = AgentZero::with_users(20).await;
    let bouncer = Bouncer::before(PgCluster::shared()).await;
    let url = format!("postgres://scanner:scanner@127.0.0.1:{}/{}", bouncer.port, database_of(&az.scanner));
    let watch = Watch::over(&url).await;
    let _bouncer = bouncer.restart_after(async || watch.is_in_the_dark("the pooler is down").await).await;
    tokio::time::timeout(Duration::from_secs(60), watch.sees_again("the pooler is down")).await.unwrap();
}
