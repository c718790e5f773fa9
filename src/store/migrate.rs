//! Brings the store's schema up to date at start. A schema newer than this program is refused.

use std::borrow::Cow;

use sqlx::Row;
use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};

use super::{Db, StoreError};

/// Every migration in order; a file is never edited after it was released.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "core", include_str!("../../migrations/0001_core.sql")),
    (2, "deploys", include_str!("../../migrations/0002_deploys.sql")),
    (3, "webhooks", include_str!("../../migrations/0003_webhooks.sql")),
];

/// The newest schema that this program knows.
pub fn newest() -> i64 {
    MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or(0)
}

/// Runs what is missing. On PostgreSQL sqlx holds an advisory lock meanwhile; SQLite has one writer, and two
/// processes that start at once on one file are ordered by the lock of its own transaction.
pub async fn run(db: &Db) -> Result<(), StoreError> {
    if let Some(found) = applied(db).await?
        && found > newest()
    {
        return Err(StoreError::Newer { found, known: newest() });
    }
    let list = MIGRATIONS
        .iter()
        .map(|(version, name, sql)| {
            Migration::new(
                *version,
                Cow::Borrowed(*name),
                MigrationType::Simple,
                sqlx::SqlStr::from_static(sql),
                false,
            )
        })
        .collect();
    Migrator::with_migrations(list).run(db.writer_pool()).await?;
    Ok(())
}

/// The newest migration in the store; `None` in an empty one. Also what readiness asks.
pub async fn applied(db: &Db) -> Result<Option<i64>, StoreError> {
    let mut c = db.reader().await?;
    // Makes the table where it is missing, so that asking an empty store is no error.
    c.ensure_migrations_table("_sqlx_migrations").await?;
    let row = sqlx::query("SELECT max(version) AS version FROM _sqlx_migrations").fetch_one(&mut *c).await?;
    Ok(row.try_get("version")?)
}
