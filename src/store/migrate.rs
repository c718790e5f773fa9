//! Brings the store's schema up to date at start. A schema newer than this program is refused.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::{Db, StoreError};

/// Every migration in order; a file is never edited after it was released.
const MIGRATIONS: &[(i64, &str, &str)] = &[(1, "core", include_str!("../../migrations/0001_core.sql"))];

/// Runs what is missing. On PostgreSQL sqlx holds an advisory lock meanwhile; SQLite has one writer.
pub async fn run(db: &Db) -> Result<(), StoreError> {
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
