//! A server that takes webhooks, in this process, under a clock that the test moves.

use std::net::SocketAddr;
use std::sync::Arc;

use deploywatch::app::{App, Parts, Role, Ticking};
use deploywatch::domain::clock::{ManualClock, SignedDuration};
use deploywatch::settings::{Settings, WebhookSource};
use deploywatch::system::SystemEntropy;
use deploywatch::telemetry::Metrics;

use super::clock::manual_clock;
use super::store::TestStore;

/// The secrets of the fixtures' vectors.
pub const NEW: &str = "fixture-new-secret-0123456789abcdef";
pub const OLD: &str = "fixture-old-secret-0123456789abcdef";

pub struct Hook {
    pub app: App,
    pub address: SocketAddr,
    pub clock: Arc<ManualClock>,
    client: reqwest::Client,
}

/// What a request carries; the defaults are those of Lemon Squeezy.
pub struct Post<'a> {
    pub source: &'a str,
    pub body: Vec<u8>,
    pub headers: Vec<(&'a str, String)>,
}

impl Hook {
    /// Starts over `store` with a live secret and perhaps a previous one.
    pub async fn start(store: &TestStore, secret: &str, previous: Option<&str>) -> Self {
        Self::start_with(store, &settings(store, Some(secret), previous), manual_clock()).await
    }

    /// Identifiers are really random: a restart under a clock that stands still must not repeat them.
    pub async fn start_with(_: &TestStore, settings: &Settings, clock: Arc<ManualClock>) -> Self {
        let parts = Parts {
            settings: settings.clone(),
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
            metrics: Metrics::default(),
            role: Role::All,
            ticking: Ticking::ByHand,
        };
        let app = App::start(parts).await.expect("the application starts");
        let address = app.address.expect("it serves");
        Self { app, address, clock, client: super::http::client() }
    }

    pub fn advance(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    /// Sends `body` signed with `secret`, as Lemon Squeezy does; the answer's status.
    pub async fn deliver(&self, secret: &str, body: &[u8]) -> u16 {
        self.post(Self::signed(secret, body)).await.0
    }

    pub fn signed(secret: &str, body: &[u8]) -> Post<'static> {
        Self::with_signature(&super::signer::sign(secret, body), body)
    }

    pub fn with_signature(signature: &str, body: &[u8]) -> Post<'static> {
        Post {
            source: "lemonsqueezy",
            body: body.to_vec(),
            headers: vec![
                ("user-agent", "LemonSqueezy-Hookshot".into()),
                ("content-type", "application/json".into()),
                ("x-signature", signature.to_owned()),
            ],
        }
    }

    /// Sends a request; its status and its answer's text.
    pub async fn post(&self, post: Post<'_>) -> (u16, String) {
        let mut request = self.client.post(format!("http://{}/webhooks/{}", self.address, post.source));
        for (name, value) in post.headers {
            request = request.header(name, value);
        }
        let answer = request.body(post.body).send().await.expect("the server answers");
        (answer.status().as_u16(), answer.text().await.expect("the answer is text"))
    }

    /// Runs every job that is due, twice, so that what one makes due is done too.
    pub async fn tick(&self) {
        for _ in 0..2 {
            for (name, report) in self.app.tick().await {
                assert_eq!(report.problem, None, "job {name}");
            }
            self.advance(60);
        }
    }
}

/// Defaults over this store, on a free port.
pub fn settings(store: &TestStore, secret: Option<&str>, previous: Option<&str>) -> Settings {
    let mut settings = Settings::defaults();
    settings.store.url = store.url.clone().into();
    settings.secrets.master_key = Some("11".repeat(32).into());
    settings.http.listen = "127.0.0.1:0".parse().expect("the address is well-formed");
    settings.webhooks.sources.insert(
        "lemonsqueezy".into(),
        WebhookSource {
            environment: Some("acme-production".into()),
            secret: secret.map(Into::into),
            secret_previous: previous.map(Into::into),
            ..WebhookSource::default()
        },
    );
    settings
}
