//! The program's own store, on both engines.

use deploywatch::store::{Db, migrate};

use super::pg::PgCluster;

pub use deploywatch::store::Engine;

/// An empty store of its own.
#[derive(Debug)]
pub struct TestStore {
    pub engine: Engine,
    pub url: String,
    _dir: Option<tempfile::TempDir>,
}

impl TestStore {
    pub async fn new(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => {
                let dir = super::temp_dir();
                let url = format!("sqlite:{}", dir.path().join("store.db").display());
                Self { engine, url, _dir: Some(dir) }
            }
            Engine::Postgres => {
                let url = PgCluster::shared().create_database("store").await;
                Self { engine, url, _dir: None }
            }
        }
    }

    /// Connects and brings the schema up to date.
    pub async fn db(&self) -> Db {
        let db = Db::connect(&self.url).await.expect("the test's store can be opened");
        migrate::run(&db).await.expect("the store's migrations run");
        db
    }
}

/// One test on both engines:
///
/// ```ignore
/// on_both_engines! {
///     async fn a_lease_is_held_by_one(store: TestStore) { let db = store.db().await; … }
/// }
/// ```
#[macro_export]
macro_rules! on_both_engines {
    ($($(#[$meta:meta])* async fn $name:ident($store:ident: TestStore) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "what a body needs differs")]
            use super::*;

            $(#[$meta])*
            async fn body($store: $crate::support::TestStore) $body

            #[tokio::test]
            async fn on_sqlite() {
                body($crate::support::TestStore::new($crate::support::Engine::Sqlite).await).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                body($crate::support::TestStore::new($crate::support::Engine::Postgres).await).await;
            }
        }
    )*};
}
