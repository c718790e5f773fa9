//! Sources that sign otherwise than Lemon Squeezy: through HTTP into the store, each as its provider sends.

use deploywatch::domain::clock::Clock as _;
use deploywatch::domain::delivery::Delivery;
use deploywatch::domain::secret::{Origin, Slot, SlotMode};
use deploywatch::domain::signature::Scheme;
use deploywatch::services::secrets::{Keyring, Who, add};
use deploywatch::settings::{Inputs, Purpose, Settings, WebhookSource, load};
use deploywatch::store::deliveries;

use crate::on_both_engines;
use crate::support::hook::{Hook, NEW, Post, settings};
use crate::support::{TestStore, fixture_bytes, manual_clock};

/// Settings with a source for each of these, named as its scheme, all with the same secret.
fn with_sources(store: &TestStore, names: &[&str], secret: &str) -> Settings {
    let mut settings = settings(store, Some(NEW), None);
    for name in names {
        let source = WebhookSource {
            environment: Some("acme-production".into()),
            secret: Some(secret.into()),
            ..WebhookSource::default()
        };
        settings.webhooks.sources.insert((*name).to_owned(), source);
    }
    settings
}

fn as_sent<'a>(
    hook: &Hook,
    source: &'a str,
    scheme: &Scheme,
    secret: &str,
    id: &str,
    body: &str,
) -> Post<'a> {
    let key = scheme.key(secret.as_bytes()).unwrap();
    let headers = scheme.sign(&key, id, hook.clock.now(), body.as_bytes());
    let headers = headers.into_iter().map(|(name, value)| (&*name.leak(), value)).collect();
    Post { source, body: body.as_bytes().to_vec(), headers }
}

async fn log(hook: &Hook, source: &str) -> Vec<Delivery> {
    let filter = deliveries::Filter { source: Some(source.to_owned()), limit: 100, ..Default::default() };
    deliveries::list(&mut hook.app.context.db.reader().await.unwrap(), &filter).await.unwrap()
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ALL: [&str; 7] = ["github", "vercel", "stripe", "paddle", "standard_webhooks", "shopify", "generic"];
const BODY: &str =
    r#"{"id":"evt_1","type":"invoice.paid","event_id":"evt_1","event_type":"invoice.paid","livemode":true}"#;

on_both_engines! {
    async fn every_scheme_is_taken_in_once_and_only_if_it_is_right(store: TestStore) {
        let hook = Hook::start_with(&store, &with_sources(&store, &ALL, SECRET), manual_clock()).await;
        for name in ALL {
            let scheme = hook.app.context.settings.webhooks.scheme(name);
            for (id, body, expected) in [("msg_1", BODY, 200), ("msg_1", BODY, 200)] {
                let post = as_sent(&hook, name, &scheme, SECRET, id, body);
                assert_eq!(hook.post(post).await.0, expected, "{name}");
            }
            let wrong = as_sent(&hook, name, &scheme, "whsec_AAAA9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_2", BODY);
            assert_eq!(hook.post(wrong).await, (401, r#"{"error":"invalid signature"}"#.to_owned()), "{name}");
            let mut changed = as_sent(&hook, name, &scheme, SECRET, "msg_3", BODY);
            changed.body.push(b' ');
            assert_eq!(hook.post(changed).await.0, 401, "{name}");

            let stored = log(&hook, name).await;
            let good: Vec<&Delivery> = stored.iter().filter(|d| d.status == 200).collect();
            assert_eq!(good.len(), 2, "{name}");
            assert_eq!(good[0].event, good[1].event, "{name}: the second one is the same event");
            assert_eq!(good.iter().filter(|d| d.duplicate).count(), 1, "{name}");
            let named = good[0].event_name.as_deref();
            let expected = match name {
                "stripe" | "paddle" | "vercel" | "standard_webhooks" => "invoice.paid",
                _ => "webhook",
            };
            assert_eq!(named, Some(expected), "{name}");
        }
    }

    /// Whoever saw one request can send it again, and under another id where the signature does not cover that.
    async fn a_replay_with_another_id_is_the_same_event(store: TestStore) {
        let names = ["github", "shopify"];
        let hook = Hook::start_with(&store, &with_sources(&store, &names, SECRET), manual_clock()).await;
        for name in names {
            let scheme = hook.app.context.settings.webhooks.scheme(name);
            for id in ["delivery-1", "delivery-2", "delivery-3"] {
                assert_eq!(hook.post(as_sent(&hook, name, &scheme, SECRET, id, BODY)).await.0, 200, "{name}");
            }
            let other = as_sent(&hook, name, &scheme, SECRET, "delivery-1", r#"{"id":"evt_2"}"#);
            assert_eq!(hook.post(other).await.0, 200, "{name}");
            let stored = log(&hook, name).await;
            assert_eq!(stored.iter().filter(|d| d.duplicate).count(), 2, "{name}: one event, and another");
        }
    }

    async fn what_comes_at_another_time_is_refused_and_said_so(store: TestStore) {
        let hook = Hook::start_with(&store, &with_sources(&store, &["stripe"], SECRET), manual_clock()).await;
        let scheme = hook.app.context.settings.webhooks.scheme("stripe");
        let old = as_sent(&hook, "stripe", &scheme, SECRET, "", BODY);
        hook.advance(301);
        assert_eq!(hook.post(old).await, (401, r#"{"error":"invalid signature"}"#.to_owned()));
        let stored = log(&hook, "stripe").await;
        assert_eq!((stored[0].class.as_str(), stored[0].event.is_some()), ("timestamp_off", false));
    }

    async fn a_secret_that_comes_later_takes_in_what_was_signed_with_it(store: TestStore) {
        let names = ["github", "standard_webhooks"];
        let hook = Hook::start_with(&store, &with_sources(&store, &names, SECRET), manual_clock()).await;
        const NEWER: &str = "whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB";
        for name in names {
            let scheme = hook.app.context.settings.webhooks.scheme(name);
            let mut post = as_sent(&hook, name, &scheme, NEWER, "msg_9", BODY);
            post.headers.push(("x-github-event", "push".into()));
            assert_eq!(hook.post(post).await.0, 401, "{name}");
        }
        // Far beyond the tolerance: what counts is when it came.
        hook.advance(3600);
        let keyring = Keyring::new(&hook.app.context.keys);
        for name in names {
            let slot = Slot { source: name.into(), mode: SlotMode::Live };
            let who = Who { actor: "test".into(), reason: String::new() };
            add(&hook.app.context, &keyring, &slot, NEWER.as_bytes(), Origin::Cli, &who).await.unwrap();
        }
        hook.tick().await;
        for (name, event) in [("github", "push"), ("standard_webhooks", "invoice.paid")] {
            let stored = log(&hook, name).await;
            assert!(stored[0].late, "{name}");
            assert_eq!(stored[0].event_name.as_deref(), Some(event), "{name}");
        }
        let odd = add(
            &hook.app.context, &keyring, &Slot { source: "standard_webhooks".into(), mode: SlotMode::Test },
            b"whsec_this is not base64", Origin::Cli, &Who { actor: "test".into(), reason: String::new() },
        ).await;
        assert!(odd.unwrap_err().to_string().contains("base64"));
    }
}

/// Slack's documented example, verified by a source that is nothing but settings.
#[tokio::test]
async fn a_scheme_of_ones_own_is_only_settings() {
    let text = r#"
        [webhooks.sources.slack]
        scheme = "generic"
        secret = "8f742231b10e8888abcd99yyyzzz85a5"
        [webhooks.sources.slack.signature]
        provider = "Slack"
        headers = ["X-Slack-Signature"]
        prefix = "v0="
        timestamp_headers = ["X-Slack-Request-Timestamp"]
        content = "v0:{timestamp}:{body}"
        tolerance_seconds = 300
    "#;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deploywatch.toml");
    std::fs::write(&file, text).unwrap();
    let inputs = Inputs { file: Some(file), ..Inputs::default() };
    let loaded = load(&inputs, Purpose::Command).unwrap().settings;
    let scheme = loaded.webhooks.scheme("slack");
    let vectors: serde_json::Value =
        serde_json::from_slice(&fixture_bytes("signatures/vectors.json")).unwrap();
    let field = |name: &str| vectors["slack"][name].as_str().unwrap();
    let mut headers = deploywatch::domain::signature::Headers::default();
    headers.add("x-slack-signature".into(), field("signature").as_bytes());
    headers.add("x-slack-request-timestamp".into(), field("timestamp").as_bytes());
    let claim = scheme.read(&headers).unwrap();
    let key = scheme.key(field("secret").as_bytes()).unwrap();
    assert!(scheme.verifies(&key, &claim, field("body").as_bytes()));
    assert_eq!(scheme.provider, "Slack");
}

#[test]
fn a_scheme_that_contradicts_itself_is_explained() {
    let problems = |lines: &str| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deploywatch.toml");
        std::fs::write(&file, format!("[webhooks.sources.acme.signature]\n{lines}\n")).unwrap();
        let inputs = Inputs { file: Some(file), ..Inputs::default() };
        load(&inputs, Purpose::Command).unwrap_err().problems.join("\n")
    };
    for (lines, expected) in [
        ("content = \"{time}.{body}\"", "knows {body}, {timestamp} and {id}, not {time}"),
        ("content = \"{timestamp}.{body}\"", "neither timestamp_prefix nor timestamp_headers"),
        ("content = \"{id}.{body}\"", "id_headers is not set"),
        ("headers = [\"x signature\"]", "is no header"),
        ("headers = []", "must name the header"),
        ("separator = \"::\"", "single character"),
        ("timestamp_prefix = \"t=\"", "between timestamp and signature"),
        ("tolerance_seconds = 300", "needs a timestamp that is signed"),
        ("key_prefix = \"whsec_\"", "belongs to key"),
        ("live = \"livemode\"", "JSON pointer"),
        ("algorithm = \"sha265\"", "did you mean \"sha256\"?"),
    ] {
        let found = problems(lines);
        assert!(
            found.contains(expected) && found.contains("webhooks.sources.acme.signature."),
            "{lines}: {found}"
        );
    }
}
