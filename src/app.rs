//! The composition root: settings → store → schema → keys → server and scheduler; run until stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use crate::domain::clock::Clock;
use crate::domain::ids::Entropy;
use crate::http;
use crate::http::server::Surface;
use crate::scheduler::Ticker;
use crate::services::context::Keys;
use crate::services::{Context, access, heartbeat, secrets};
use crate::settings::{Settings, address, decode_key};
use crate::shutdown::Stop;
use crate::store::{Db, StoreError, meta, migrate};
use crate::system::{SystemClock, SystemEntropy};
use crate::telemetry::Metrics;

/// Which parts of the program a process runs. Several processes share a PostgreSQL store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Role {
    #[default]
    All,
    /// The API, the webhooks and the pages.
    Web,
    /// The scheduled work. It answers for its own health and nothing else.
    Worker,
}

/// Who makes the ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticking {
    /// The scheduler, each second.
    RealTime,
    /// A test, by [`App::tick`].
    ByHand,
}

/// What an application is made of.
pub struct Parts {
    pub settings: Settings,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub metrics: Metrics,
    pub role: Role,
    pub ticking: Ticking,
}

impl Parts {
    /// Everything, over the real clock and the real randomness.
    pub fn real(settings: Settings) -> Self {
        Self {
            settings,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            metrics: Metrics::default(),
            role: Role::All,
            ticking: Ticking::RealTime,
        }
    }
}

/// Why it could not start; a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the store {} is not usable", address(url))]
    Store { url: String, source: StoreError },
    #[error("{0}")]
    Keys(String),
    #[error("{listen} cannot be listened on (DEPLOYWATCH__HTTP__LISTEN chooses another)")]
    Listen { listen: SocketAddr, source: std::io::Error },
    #[error(
        "{listen} is reachable from other machines and no token exists, so that anybody could use this server; \
         run `deploywatch token create --name ci --scope deploy --scope gate` first, or listen on 127.0.0.1"
    )]
    Unguarded { listen: SocketAddr },
    #[error("the webhook secrets could not be taken in: {0}")]
    Secrets(String),
    #[error("the scheduler could not start")]
    Scheduler(#[from] tokio_cron_scheduler::JobSchedulerError),
}

/// A running application.
pub struct App {
    pub context: Context,
    /// Where it listens; `None` for a worker whose address another process has.
    pub address: Option<SocketAddr>,
    pub ticker: Ticker,
    stopping: CancellationToken,
    server: Option<actix_web::dev::ServerHandle>,
    serving: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
    scheduler: Option<tokio_cron_scheduler::JobScheduler>,
}

/// Opens the store, brings its schema up to date, and finds the keys: what every command needs that touches
/// the store.
pub async fn context(parts: &Parts) -> Result<Context, StartError> {
    let url = parts.settings.store.url.expose_secret();
    let failed = |source| StartError::Store { url: url.to_owned(), source };
    let db = Db::connect(url).await.map_err(failed)?;
    migrate::run(&db).await.map_err(failed)?;
    let keys = keys(&parts.settings, parts.entropy.as_ref())?;
    let settings = Arc::new(parts.settings.clone());
    let mut ctx = Context::new(db, parts.clock.clone(), parts.entropy.clone(), settings, keys);
    ctx.metrics = parts.metrics.clone();
    same_key_as_before(&ctx).await?;
    Ok(ctx)
}

impl App {
    /// Starts everything that the role asks for and returns once requests are answered.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let ctx = context(&parts).await?;
        Self::start_with(ctx, parts.role, parts.ticking).await
    }

    /// Starts over a context that was made before, for the demo and for tests that replace a part of it.
    pub async fn start_with(ctx: Context, role: Role, ticking: Ticking) -> Result<Self, StartError> {
        let stopping = ctx.stopping.clone();
        let ticker = Ticker::new(ctx.clone(), stopping.clone());
        let mut app = Self {
            context: ctx,
            address: None,
            ticker,
            stopping,
            server: None,
            serving: None,
            scheduler: None,
        };
        app.take_in_secrets().await?;
        match role {
            Role::Worker => app.serve_health(),
            Role::All | Role::Web => app.serve().await?,
        }
        if role != Role::Web && ticking == Ticking::RealTime {
            app.scheduler = Some(app.ticker.start().await?);
        }
        Ok(app)
    }

    /// The secrets of the environment become versions before the first delivery is judged.
    async fn take_in_secrets(&self) -> Result<(), StartError> {
        let keyring = secrets::Keyring::new(&self.context.keys);
        let started = secrets::start(&self.context, &keyring).await;
        let started = started.map_err(|error| StartError::Secrets(error.to_string()))?;
        for note in started.notes {
            tracing::info!("{note}");
        }
        for warning in started.warnings {
            tracing::warn!("{warning}");
        }
        Ok(())
    }

    async fn serve(&mut self) -> Result<(), StartError> {
        let listen = self.context.settings.http.listen;
        let token = access::any_token(&self.context).await.map_err(|source| StartError::Store {
            url: self.context.settings.store.url.expose_secret().to_owned(),
            source,
        })?;
        if !listen.ip().is_loopback() && !token {
            return Err(StartError::Unguarded { listen });
        }
        self.listen(Surface::Whole).map_err(|source| StartError::Listen { listen, source })
    }

    /// A worker does its work whether anybody can ask how it is or not: beside a web process on one machine the
    /// address is taken.
    fn serve_health(&mut self) {
        let listen = self.context.settings.http.listen;
        if let Err(error) = self.listen(Surface::Health) {
            tracing::warn!(
                %listen, %error,
                "this worker answers no /livez, /readyz and /metrics; DEPLOYWATCH__HTTP__LISTEN gives it an address of its own"
            );
        }
    }

    fn listen(&mut self, surface: Surface) -> std::io::Result<()> {
        let (server, address) = http::server::start(self.context.clone(), surface, self.stopping.clone())?;
        self.server = Some(server.handle());
        self.serving = Some(tokio::spawn(server));
        self.address = Some(address);
        Ok(())
    }

    /// Runs every due job once, under the context's clock.
    pub async fn tick(&self) -> Vec<(&'static str, crate::scheduler::jobs::JobReport)> {
        self.ticker.tick().await
    }

    /// Runs until asked to stop, then stops gracefully, or at once at the second signal.
    pub async fn run_until(self, stop: Stop) {
        stop.graceful.cancelled().await;
        tokio::select! {
            () = self.stop() => {}
            () = stop.now.cancelled() => tracing::warn!("stopped at once"),
        }
    }

    /// Readiness drops first, then requests and jobs are finished, then the store is closed. Takes at most
    /// `http.shutdown_seconds`.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        let patience = Duration::from_secs(self.context.settings.http.shutdown_seconds);
        let work = async {
            if let Some(scheduler) = &mut self.scheduler {
                let _ = scheduler.shutdown().await;
            }
            let requests = async {
                if let Some(server) = &self.server {
                    server.stop(true).await;
                }
            };
            tokio::join!(requests, self.ticker.drain());
        };
        if tokio::time::timeout(patience, work).await.is_err() {
            tracing::warn!("some work was not finished in time; it goes on at the next start");
        }
        // Without it, what this process said last counts for two minutes more.
        let _ = tokio::time::timeout(Duration::from_secs(1), heartbeat::leave(&self.context)).await;
        self.context.db.close().await;
    }
}

/// The master key of the settings, or the key file beside the embedded store, made where it is missing.
fn keys(settings: &Settings, entropy: &dyn Entropy) -> Result<Keys, StartError> {
    if let Some(key) = &settings.secrets.master_key {
        let key =
            decode_key(key).ok_or_else(|| StartError::Keys("secrets.master_key must be 32 bytes".into()))?;
        return Ok(Keys::new(key));
    }
    let Some(path) = key_file(settings) else {
        return Err(StartError::Keys(
            "a store in PostgreSQL needs secrets.master_key, the same for every process; set \
             DEPLOYWATCH__SECRETS__MASTER_KEY (or …_FILE) to what `openssl rand -hex 32` prints, and keep it"
                .into(),
        ));
    };
    let said = |what: &str| StartError::Keys(format!("the key file {} {what}", path.display()));
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let key = decode_key(&text.into())
                .ok_or_else(|| said("does not hold 32 bytes as hex; restore it from a backup"))?;
            Ok(Keys::new(key))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut key = [0_u8; 32];
            entropy.fill(&mut key);
            write_private(&path, &hex::encode(key)).map_err(|e| said(&format!("cannot be written: {e}")))?;
            tracing::warn!(
                path = %path.display(),
                "made a key file; back it up apart from the store, or set secrets.master_key"
            );
            Ok(Keys::new(key))
        }
        Err(error) => Err(said(&format!("cannot be read: {error}"))),
    }
}

fn key_file(settings: &Settings) -> Option<std::path::PathBuf> {
    let path = settings.store.url.expose_secret().strip_prefix("sqlite:")?.trim_start_matches("//");
    let file = std::path::Path::new(path.split('?').next()?);
    Some(file.with_extension("key"))
}

/// Writes a file that only its owner may read, and that was not there before.
fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Refuses a key other than the one that encrypted what is in the store.
async fn same_key_as_before(ctx: &Context) -> Result<(), StartError> {
    let check = hex::encode(&ctx.keys.derive("check value")[..8]);
    let kept: Result<String, StoreError> = async {
        let mut tx = ctx.db.begin().await?;
        let kept = meta::get_or_set(&mut tx, "master key check", &check, ctx.now()).await?;
        tx.commit().await?;
        Ok(kept)
    }
    .await;
    let url = || ctx.settings.store.url.expose_secret().to_owned();
    let kept = kept.map_err(|source| StartError::Store { url: url(), source })?;
    if kept == check {
        return Ok(());
    }
    Err(StartError::Keys(
        "the master key is not the one that this store was written with, so that its webhook secrets cannot be \
         read; give the old key (secrets.master_key, or the key file beside the store)"
            .into(),
    ))
}
