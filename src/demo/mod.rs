//! The whole product in one command: a sample database, a healthy deploy, a rotation that somebody forgot to
//! finish, a deploy that loses rows, the gate's answers and the mails. A day passes in seconds, then the
//! server stays up on real time.

mod clock;
mod narrator;
mod product;
mod provider;
mod story;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use crate::app::{App, Parts, Role, Ticking};
use crate::cli::Output;
use crate::settings::{EmailTransport, Environment, RowSecurity, Settings, WebhookSource};
use crate::shutdown;
use crate::system::SystemEntropy;
use crate::telemetry::Metrics;

use clock::LeapingClock;
use narrator::Narrator;
use product::Product;

/// The one environment of the demo.
const ENVIRONMENT: &str = "agentzero-production";
const CHECKS: &str = include_str!("checks.yaml");

/// How the demo is asked for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// A PostgreSQL server on which the demo makes, and removes, a database of its own.
    pub database_url: Option<String>,
    pub listen: SocketAddr,
    pub then: Then,
}

/// What comes after the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The server stays up until Ctrl-C.
    Stay,
    Leave,
}

/// Plays the story. Everything it makes is gone when it returns.
pub async fn run(wish: Wish, out: &mut Output) -> anyhow::Result<()> {
    let stop = shutdown::on_signals()?;
    let folder = Folder::make()?;
    let product = match &wish.database_url {
        None => Product::sqlite(&folder.0).await?,
        Some(url) => Product::postgres(url, &format!("deploywatch_demo_{}", std::process::id())).await?,
    };
    let played = tokio::select! {
        played = play(&wish, &folder.0, &product, &stop, out) => played,
        () = stop.now.cancelled() => Ok(()),
    };
    if let Some(problem) = product.remove().await {
        out.note(&problem);
    }
    played
}

async fn play(
    wish: &Wish,
    folder: &Path,
    product: &Product,
    stop: &shutdown::Stop,
    out: &mut Output,
) -> anyhow::Result<()> {
    let clock = Arc::new(LeapingClock::behind(story::LENGTH));
    let parts = Parts {
        settings: settings(wish, folder, product)?,
        clock: clock.clone(),
        entropy: Arc::new(SystemEntropy),
        metrics: Metrics::default(),
        role: Role::All,
        ticking: Ticking::ByHand,
    };
    let app = App::start(parts).await?;
    let address = app.address.context("the demo listens")?;
    let mut narrator = Narrator::new(out, address);
    let told = tokio::select! {
        told = story::tell(&app, &clock, product, &mut narrator) => told,
        () = stop.graceful.cancelled() => { app.stop().await; return Ok(()); }
    };
    told?;
    narrator.the_end(wish.then);
    if wish.then == Then::Stay {
        let mut scheduler = app.ticker.start().await.context("the scheduler could not start")?;
        stop.graceful.cancelled().await;
        let _ = scheduler.shutdown().await;
    }
    app.stop().await;
    Ok(())
}

fn settings(wish: &Wish, folder: &Path, product: &Product) -> anyhow::Result<Settings> {
    let checks = folder.join("checks.yaml");
    std::fs::write(&checks, CHECKS).context("the demo's checks cannot be written")?;
    let mut settings = Settings::defaults();
    settings.http.listen = wish.listen;
    // The links in the mails lead here, where the port is known beforehand.
    if wish.listen.port() != 0 {
        settings.http.public_url = format!("http://{}", wish.listen).parse().ok();
    }
    settings.store.url = format!("sqlite:{}", folder.join("deploywatch.db").display()).into();
    settings.email.transport = EmailTransport::Memory;
    settings.email.from = "deploywatch <deploywatch@demo.example>".into();
    settings.environments.insert(
        ENVIRONMENT.to_owned(),
        Environment {
            database_url: product.url().into(),
            suites: vec![checks],
            recipients: vec!["oncall@agentzero.example".to_owned()],
            row_security: RowSecurity::Off,
            ca_file: None,
            oncall: Default::default(),
        },
    );
    settings.webhooks.sources.insert(
        "lemonsqueezy".to_owned(),
        WebhookSource {
            environment: Some(ENVIRONMENT.to_owned()),
            secret: Some(provider::NEW_SECRET.into()),
            secret_previous: Some(provider::OLD_SECRET.into()),
            ..WebhookSource::default()
        },
    );
    Ok(settings)
}

/// A folder that is removed with the value.
struct Folder(PathBuf);

impl Folder {
    fn make() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("deploywatch-demo-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
