//! `deploywatch webhook send`: a delivery as the provider would send it, to try a server.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::app::{self, Parts};
use crate::cli::Output;
use crate::domain::clock::rfc3339;
use crate::domain::delivery::read_event;
use crate::domain::ids::uuid_v7;
use crate::domain::signature::scheme::Events;
use crate::domain::signature::{Claim, Scheme};
use crate::services::webhooks;
use crate::settings::Settings;

/// A body in Lemon Squeezy's exact form, for `send` without a file.
const SAMPLE: &str = r#"{"meta":{"test_mode":true,"event_name":"deploywatch_test","webhook_id":"{id}"},"data":{"type":"deploywatch-tests","id":"1","attributes":{"updated_at":"{at}","urls":{"self":"https:\/\/example.com\/"}}}}"#;

/// A body in which every other built-in scheme finds what it looks for.
const PLAIN_SAMPLE: &str = r#"{"id":"{id}","type":"deploywatch_test","event_id":"{id}","event_type":"deploywatch_test","livemode":false,"created_at":"{at}"}"#;

#[derive(Debug, Args)]
pub struct SendArgs {
    #[arg(default_value = "lemonsqueezy")]
    source: String,
    /// Where to; this server where absent
    #[arg(long)]
    url: Option<url::Url>,
    /// The body's exact bytes; a small test event where absent
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Sign with the secret in this file instead of the configured one
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Sign with the previous configured secret, to see the alarm
    #[arg(long, conflicts_with = "secret_file")]
    previous: bool,
    /// Sign with this version of the store: v3, or its fingerprint
    #[arg(long, conflicts_with_all = ["secret_file", "previous"])]
    version: Option<String>,
}

pub async fn run(settings: Settings, args: SendArgs, out: &mut Output) -> anyhow::Result<u8> {
    let scheme = settings.webhooks.scheme(&args.source);
    let secret = secret(&settings, &args).await?;
    let key = scheme.key(&secret)?;
    let url = match &args.url {
        Some(url) => url.clone(),
        None => format!("http://{}/webhooks/{}", settings.http.listen, args.source).parse()?,
    };
    let parts = Parts::real(settings);
    let now = parts.clock.now();
    let id = uuid_v7(now, &*parts.entropy).to_string();
    let body = match &args.body {
        Some(path) => {
            std::fs::read(path).with_context(|| format!("the body {} cannot be read", path.display()))?
        }
        None => {
            let sample = if scheme.events == Events::LemonSqueezy { SAMPLE } else { PLAIN_SAMPLE };
            sample.replace("{id}", &id).replace("{at}", &rfc3339(now)).into_bytes()
        }
    };
    rustls::crypto::ring::default_provider().install_default().ok();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
    let mut request = client.post(url.clone()).header("content-type", "application/json");
    for (name, value) in scheme.sign(&key, &id, now, &body).into_iter().chain(beside(&scheme, &body)) {
        request = request.header(name, value);
    }
    let answer = match request.body(body).send().await {
        Ok(answer) => answer,
        Err(error) => {
            out.error(&format!("{url} cannot be reached: {}", error.without_url()));
            return Ok(6);
        }
    };
    let status = answer.status().as_u16();
    out.line(&format!("{status} {}", answer.text().await.unwrap_or_default().trim()));
    Ok(if status == 200 { 0 } else { 1 })
}

/// What a provider sends beside the signature: who it is, and the event's name where a header tells it.
fn beside(scheme: &Scheme, body: &[u8]) -> Vec<(String, String)> {
    let none = Claim { signatures: Vec::new(), timestamp: None, id: None, event: None };
    let named = read_event(scheme, &none, body, "").map(|head| head.event_name);
    let mut headers: Vec<(String, String)> =
        scheme.agents.first().map(|agent| ("user-agent".to_owned(), agent.to_string())).into_iter().collect();
    if scheme.events == Events::LemonSqueezy {
        headers.push(("x-event-name".to_owned(), named.unwrap_or_else(|_| "unknown".to_owned())));
    } else if let Some(header) = scheme.event_headers.first() {
        headers.push((header.to_string(), "deploywatch_test".to_owned()));
    }
    headers
}

/// The secret to sign with: of a file, of the store, or of the settings.
async fn secret(settings: &Settings, args: &SendArgs) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    if let Some(version) = &args.version {
        let ctx = app::context(&Parts::real(settings.clone())).await?;
        let found = webhooks::secret_of(&ctx, &args.source, version).await;
        ctx.db.close().await;
        return found?.with_context(|| {
            format!(
                "the source {} has no secret {version} whose value is kept; `deploywatch secret list` shows them",
                args.source
            )
        });
    }
    let text = match &args.secret_file {
        Some(path) => Zeroizing::new(
            std::fs::read_to_string(path)
                .with_context(|| format!("the secret's file {} cannot be read", path.display()))?,
        ),
        None => {
            let source = settings.webhooks.sources.get(&args.source);
            let held = source
                .and_then(|s| if args.previous { s.secret_previous.as_ref() } else { s.secret.as_ref() });
            let held = held.context(
                "no secret is configured to sign with; give one with --secret-file or --version, or set LEMONSQUEEZY_WEBHOOK_SECRET",
            )?;
            Zeroizing::new(held.expose_secret().to_owned())
        }
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).as_bytes().to_vec()))
}
