//! The pools, the one writer and the transaction.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyPool, Connection, Executor};
use tokio::runtime::Handle;

/// A write transaction. It rolls back when dropped; nothing is sent and nothing slow happens inside one.
pub type Tx = sqlx::Transaction<'static, Any>;

/// How long anybody waits for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections of one process to PostgreSQL at most; they are opened when they are needed.
const CONNECTIONS: u32 = 20;

/// A process that freezes inside a transaction (a suspended machine, a cut network) would keep its rows locked, and
/// nobody could take over what it had claimed.
const GIVE_UP_FROZEN: &str = "SET idle_in_transaction_session_timeout = '20s'";

/// Which engine is behind the store's URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// What can go wrong with our own database. It is never an assertion's result.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("its URL is not understood: {0}")]
    Url(String),
    #[error("{0}")]
    Open(String),
    #[error("the store's database answered with an error")]
    Database(#[from] sqlx::Error),
    #[error("its schema could not be brought up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error(
        "it was written by a newer deploywatch (schema {found}, this program knows up to {known}); start \
         that version again, or restore the backup made before the upgrade"
    )]
    Newer { found: i64, known: i64 },
    #[error("the store holds a value that this version does not understand: {0}")]
    Corrupt(String),
    #[error("the store's {0} was changed by others again and again; the next try will find it quiet")]
    Contended(&'static str),
}

/// A handle on the store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    engine: Engine,
    read: AnyPool,
    write: AnyPool,
    /// A socket belongs to the runtime that opened it. Request handlers run on runtimes of their own that end
    /// with the server, so that connections are always opened on this one.
    home: Handle,
}

impl Db {
    /// Connects. `url` is `sqlite:PATH`, `sqlite::memory:` is refused (each connection would see its own), or
    /// `postgres://…`. The folder of a SQLite file is made where it is missing.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let home = Handle::current();
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = parse(url)?;
            let refused = |why: &str| StoreError::Open(format!("it cannot be reached: {why}"));
            // The pool repeats a refused connection until its deadline and then knows only that it was late, so
            // that one connection is tried for itself.
            let probe = tokio::time::timeout(PATIENCE, sqlx::AnyConnection::connect_with(&options)).await;
            let probe = probe.map_err(|_| refused("it did not answer within 5 seconds"))?;
            let _ = probe.map_err(|error| refused(&plain(&error)))?.close().await;
            let pool = AnyPoolOptions::new()
                .max_connections(CONNECTIONS)
                .acquire_timeout(PATIENCE)
                .after_connect(|connection, _| {
                    Box::pin(async move {
                        connection.execute(GIVE_UP_FROZEN).await?;
                        Ok(())
                    })
                })
                .connect_with(options)
                .await
                .map_err(|error| refused(&plain(&error)))?;
            return Ok(Self { engine: Engine::Postgres, read: pool.clone(), write: pool, home });
        }
        let Some(path) = url.strip_prefix("sqlite:").map(|rest| rest.trim_start_matches("//")) else {
            return Err(StoreError::Url("expected sqlite:PATH or postgres://…".into()));
        };
        if path.is_empty() || path.starts_with(':') || path.contains("mode=memory") {
            return Err(StoreError::Url("an in-memory store is not durable; give a file".into()));
        }
        let file = Path::new(path.split('?').next().unwrap_or(path));
        let refused =
            |error: &dyn std::fmt::Display| StoreError::Open(format!("it cannot be opened: {error}"));
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| refused(&error))?;
        }
        let url =
            if path.contains('?') { format!("sqlite:{path}") } else { format!("sqlite:{path}?mode=rwc") };
        let write = sqlite_pool(&url, 1).await.map_err(|error| refused(&plain(&error)))?;
        let read = sqlite_pool(&url, 4).await.map_err(|error| refused(&plain(&error)))?;
        Ok(Self { engine: Engine::Sqlite, read, write, home })
    }

    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Opens a write transaction. On SQLite there is one writer and the lock is taken at once, since an
    /// upgrade from read to write fails under load (BUSY_SNAPSHOT).
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match self.engine {
            Engine::Sqlite => match self.write.begin_with("BEGIN IMMEDIATE").await {
                // SQLite itself ends a transaction where the disk is full or fails, and the connection lost count
                // of its transactions: without a new one nothing would ever be written again.
                Err(sqlx::Error::InvalidSavePointStatement) => {
                    self.write.acquire().await?.close().await?;
                    self.write.begin_with("BEGIN IMMEDIATE").await?
                }
                begun => begun?,
            },
            Engine::Postgres => {
                let pool = self.write.clone();
                self.at_home(async move { pool.begin().await }).await?
            }
        })
    }

    /// A connection to read with.
    pub async fn reader(&self) -> Result<PoolConnection<Any>, StoreError> {
        Ok(match self.engine {
            Engine::Sqlite => self.read.acquire().await?,
            Engine::Postgres => {
                let pool = self.read.clone();
                self.at_home(async move { pool.acquire().await }).await?
            }
        })
    }

    async fn at_home<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static,
    ) -> Result<T, sqlx::Error> {
        match self.home.spawn(work).await {
            Ok(result) => result,
            Err(_) => Err(sqlx::Error::PoolClosed),
        }
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

/// What the engine said, without sqlx's frame around it and without the line in PostgreSQL's own source.
fn plain(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(inner) => inner.message().to_owned(),
        sqlx::Error::Io(inner) => inner.to_string(),
        sqlx::Error::PoolTimedOut => "it did not answer within 5 seconds".into(),
        other => other.to_string(),
    }
}

async fn sqlite_pool(url: &str, connections: u32) -> Result<AnyPool, sqlx::Error> {
    let options = AnyConnectOptions::from_str(url)?;
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        // A file has no other end that may have gone away.
        .test_before_acquire(false)
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
        .connect_with(options)
        .await
}
