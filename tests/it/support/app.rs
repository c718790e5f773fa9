//! The whole program in the test's process: its own store, port, clock and mail folder, and no ticks but those
//! that the test makes.

use std::sync::Arc;

use deploywatch::app::{App, Parts, Role, Ticking};
use deploywatch::domain::access::Scope;
use deploywatch::domain::clock::ManualClock;
use deploywatch::services::{Context, access};
use deploywatch::settings::{EmailTransport, Settings};
use deploywatch::system::SystemEntropy;
use deploywatch::telemetry::Metrics;

use super::{Engine, TestStore, manual_clock};

/// A running application on a free port of loopback.
pub struct TestApp {
    pub app: App,
    pub clock: Arc<ManualClock>,
    pub client: reqwest::Client,
    pub store: TestStore,
    folder: tempfile::TempDir,
}

impl TestApp {
    /// With the default settings on SQLite.
    pub async fn start() -> Self {
        Self::start_on(Engine::Sqlite, |_| {}).await
    }

    /// On `engine`, after `change` had its say about the settings.
    pub async fn start_on(engine: Engine, change: impl FnOnce(&mut Settings)) -> Self {
        let store = TestStore::new(engine).await;
        let folder = super::temp_dir();
        let mut settings = Settings::defaults();
        settings.store.url = store.url.clone().into();
        settings.secrets.master_key = Some("07".repeat(32).into());
        settings.http.listen = ([127, 0, 0, 1], 0).into();
        settings.http.shutdown_seconds = 5;
        settings.email.transport = EmailTransport::Directory;
        settings.email.directory = folder.path().join("mail");
        change(&mut settings);
        let clock = manual_clock();
        let parts = Parts {
            settings,
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
            metrics: Metrics::default(),
            role: Role::All,
            ticking: Ticking::ByHand,
        };
        let app = App::start(parts).await.unwrap_or_else(|error| panic!("the application starts: {error:?}"));
        Self { app, clock, client: super::http::client(), store, folder }
    }

    pub fn ctx(&self) -> &Context {
        &self.app.context
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.app.address.expect("this application listens"))
    }

    /// A token with these scopes. The first one closes loopback.
    pub async fn token(&self, scopes: &[Scope]) -> String {
        let scopes = scopes.iter().copied().collect();
        let new =
            access::create_token(self.ctx(), "test", "test", scopes, None).await.expect("a token is made");
        access::reveal(&new).to_owned()
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(self.url(path)).send().await.expect("the server answers")
    }
}
