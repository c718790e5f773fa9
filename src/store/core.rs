//! The pools, the one writer and the transaction.

use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Executor};

/// A write transaction. It rolls back when dropped; nothing is sent and nothing slow happens inside one.
pub type Tx = sqlx::Transaction<'static, Any>;

/// Which engine is behind the store's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// What can go wrong with our own database. It is never an assertion's result.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store's URL is not understood: {0}")]
    Url(String),
    #[error("the store's database answered with an error")]
    Database(#[from] sqlx::Error),
    #[error("the store's schema could not be brought up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the store holds a value that this version does not understand: {0}")]
    Corrupt(String),
}

/// A handle on the store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    engine: Engine,
    read: AnyPool,
    write: AnyPool,
}

impl Db {
    /// Connects. `url` is `sqlite:PATH`, `sqlite::memory:` is refused (each connection would see its own), or
    /// `postgres://…`.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = parse(url)?;
            let pool = AnyPoolOptions::new()
                .max_connections(10)
                .acquire_timeout(Duration::from_secs(5))
                .connect_with(options)
                .await?;
            return Ok(Self { engine: Engine::Postgres, read: pool.clone(), write: pool });
        }
        let Some(path) = url.strip_prefix("sqlite:").map(|rest| rest.trim_start_matches("//")) else {
            return Err(StoreError::Url("expected sqlite:PATH or postgres://…".into()));
        };
        if path.is_empty() || path.starts_with(':') || path.contains("mode=memory") {
            return Err(StoreError::Url("an in-memory store is not durable; give a file".into()));
        }
        let url =
            if path.contains('?') { format!("sqlite:{path}") } else { format!("sqlite:{path}?mode=rwc") };
        let write = sqlite_pool(&url, 1).await?;
        let read = sqlite_pool(&url, 4).await?;
        Ok(Self { engine: Engine::Sqlite, read, write })
    }

    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Opens a write transaction. On SQLite there is one writer and the lock is taken at once, since an
    /// upgrade from read to write fails under load (BUSY_SNAPSHOT).
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match self.engine {
            Engine::Sqlite => self.write.begin_with("BEGIN IMMEDIATE").await?,
            Engine::Postgres => self.write.begin().await?,
        })
    }

    /// A connection to read with.
    pub async fn reader(&self) -> Result<PoolConnection<Any>, StoreError> {
        Ok(self.read.acquire().await?)
    }

    pub(crate) fn writer_pool(&self) -> &AnyPool {
        &self.write
    }

    /// Closes both pools, waiting at most five seconds for connections that are still in use.
    pub async fn close(&self) {
        let both = async {
            self.read.close().await;
            self.write.close().await;
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), both).await;
    }
}

fn parse(url: &str) -> Result<AnyConnectOptions, StoreError> {
    // The parser's own message may repeat the URL with its password, so it is not passed on.
    AnyConnectOptions::from_str(url).map_err(|_| StoreError::Url("it is not a valid URL".into()))
}

async fn sqlite_pool(url: &str, connections: u32) -> Result<AnyPool, StoreError> {
    let pool = AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(5))
        .after_connect(|connection, _| {
            Box::pin(async move {
                for pragma in [
                    "PRAGMA busy_timeout = 5000",
                    "PRAGMA journal_mode = WAL",
                    "PRAGMA synchronous = FULL",
                    "PRAGMA foreign_keys = ON",
                ] {
                    connection.execute(pragma).await?;
                }
                Ok(())
            })
        })
        .connect_with(parse(url)?)
        .await?;
    Ok(pool)
}
