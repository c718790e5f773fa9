//! Brings the store's schema up to date at start. A schema newer than this program is refused.

use std::borrow::Cow;

use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, Executor, Row};

use super::{Db, StoreError};

/// Every migration in order; a file is never edited after it was released.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "core", include_str!("../../migrations/0001_core.sql")),
    (2, "deploys", include_str!("../../migrations/0002_deploys.sql")),
    (3, "webhooks", include_str!("../../migrations/0003_webhooks.sql")),
    (4, "alerts", include_str!("../../migrations/0004_alerts.sql")),
    (5, "fleet", include_str!("../../migrations/0005_fleet.sql")),
    (6, "log_counts", include_str!("../../migrations/0006_log_counts.sql")),
    (7, "triggers", include_str!("../../migrations/0007_triggers.sql")),
    (8, "provider", include_str!("../../migrations/0008_provider.sql")),
    (9, "relay", include_str!("../../migrations/0009_relay.sql")),
    (10, "oncall", include_str!("../../migrations/0010_oncall.sql")),
    (11, "channels", include_str!("../../migrations/0011_channels.sql")),
    (12, "delivery_lists", include_str!("../../migrations/0012_delivery_lists.sql")),
];

const TABLE: &str = "_sqlx_migrations";

/// The newest schema that this program knows.
pub fn newest() -> i64 {
    MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or(0)
}

/// Runs what is missing, all of it or nothing: one write transaction holds every migration. The transaction is
/// also the lock, so that processes that start at once wait for the first one.
pub async fn run(db: &Db) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    if let Some(lock) = db.engine().migration_lock() {
        tx.execute(lock).await?;
    }
    tx.ensure_migrations_table(TABLE).await?;
    if let Some(found) = newest_in(&mut tx).await?
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
    Migrator::with_migrations(list).set_locking(false).run_direct(None, &mut *tx, false).await?;
    Ok(tx.commit().await?)
}

/// The newest migration in the store, for readiness. An error also where nothing was ever migrated.
pub async fn applied(db: &Db) -> Result<Option<i64>, StoreError> {
    newest_in(&mut *db.reader().await?).await
}

async fn newest_in(c: &mut AnyConnection) -> Result<Option<i64>, StoreError> {
    let row = sqlx::query("SELECT max(version) AS version FROM _sqlx_migrations").fetch_one(c).await?;
    Ok(row.try_get("version")?)
}
