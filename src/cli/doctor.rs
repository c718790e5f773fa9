//! `deploywatch doctor`: every dependency, a line each, with what to do about it.

mod lemonsqueezy;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use tokio::net::TcpStream;

use super::Output;
use super::common::SettingsArgs;
use crate::app::{self, Parts};
use crate::domain::clock::rfc3339;
use crate::services::provider::look;
use crate::services::signals::Outside;
use crate::services::targets::{Probe, Reading};
use crate::services::{Context, access, answers};
use crate::settings::{EmailTransport, Purpose, Settings, address};
use crate::store::logs;

#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Only ask whether the server on this machine is ready, as container health checks do
    #[arg(long)]
    ready: bool,
    #[command(subcommand)]
    about: Option<About>,
}

#[derive(Debug, Subcommand)]
enum About {
    /// Settle with your own test store what Lemon Squeezy's documentation leaves open
    Lemonsqueezy(lemonsqueezy::LemonSqueezyArgs),
}

const PATIENCE: Duration = Duration::from_secs(5);

/// One thing looked at.
struct Finding {
    what: String,
    /// What to know, or what is wrong and what to do.
    result: Result<String, String>,
}

impl Finding {
    fn new(what: impl Into<String>, result: Result<String, String>) -> Self {
        Self { what: what.into(), result }
    }
}

/// 0 when everything is well, 3 when something could not be reached, 2 when the settings are wrong.
pub async fn run(args: DoctorArgs, out: &mut Output) -> anyhow::Result<u8> {
    if args.ready {
        let settings = args.settings.load(Purpose::Command, out)?.settings;
        let finding = server(&settings).await;
        let well = finding.result.is_ok();
        print(&finding, out);
        return Ok(if well { 0 } else { 1 });
    }
    if let Some(About::Lemonsqueezy(about)) = args.about {
        let settings = args.settings.load(Purpose::Command, out)?.settings;
        let ctx = app::context(&Parts::real(settings)).await?;
        let result = lemonsqueezy::run(&ctx, about, out).await;
        ctx.db.close().await;
        return result;
    }
    let settings = args.settings.load(Purpose::Serve, out)?.settings;
    let mut findings = vec![Finding::new("settings", Ok("valid".into()))];
    match app::context(&Parts::real(settings.clone())).await {
        Ok(ctx) => {
            findings.push(Finding::new("store", Ok(address(settings.store.url.expose_secret()))));
            findings.push(guarded(&ctx).await);
            for name in settings.environments.keys() {
                findings.push(target(&ctx, name).await);
            }
            for name in settings.triggers.keys() {
                findings.extend(provider(&ctx, name).await);
            }
            for (name, source) in &settings.webhooks.sources {
                if source.api.key.is_some() || source.api.test_key.is_some() {
                    findings.push(webhooks_there(&ctx, name).await);
                }
            }
            findings.extend(drains(&ctx).await);
            ctx.db.close().await;
        }
        Err(error) => findings.push(Finding::new("store", Err(format!("{:#}", anyhow::Error::from(error))))),
    }
    for (name, tried) in Outside::of(&settings).try_metric_servers().await {
        let result = tried.map(|()| "answers queries".to_owned()).map_err(|error| error.to_string());
        findings.push(Finding::new(format!("metric server {name}"), result));
    }
    findings.push(mail(&settings).await);
    // The server may well not run yet; that is no illness.
    findings.push(match server(&settings).await {
        Finding { what, result: Err(why) } => Finding::new(what, Ok(why)),
        running => running,
    });
    let bad = findings.iter().filter(|finding| finding.result.is_err()).count();
    for finding in &findings {
        print(finding, out);
    }
    Ok(if bad == 0 { 0 } else { 3 })
}

fn print(finding: &Finding, out: &mut Output) {
    match &finding.result {
        Ok(known) => out.line(&format!("ok    {}: {known}", finding.what)),
        Err(wrong) => out.line(&format!("FAIL  {}: {wrong}", finding.what)),
    }
}

async fn guarded(ctx: &Context) -> Finding {
    let listen = ctx.settings.http.listen;
    let result = match access::any_token(ctx).await {
        Err(error) => Err(error.to_string()),
        Ok(true) => Ok("callers need a token".into()),
        Ok(false) if listen.ip().is_loopback() => {
            Ok("no token exists, so that callers on this machine need none".into())
        }
        Ok(false) => Err(format!(
            "no token exists and {listen} is reachable from other machines; run `deploywatch token create --name ci \
             --scope deploy --scope gate`"
        )),
    };
    Finding::new("access", result)
}

/// Loads the environment's suites and opens one snapshot without measuring anything.
async fn target(ctx: &Context, name: &str) -> Finding {
    let what = format!("environment {name}");
    let checks = match ctx.prober.checks(name).await {
        Ok(checks) => checks,
        Err(error) => return Finding::new(what, Err(error.to_string())),
    };
    let probe = Probe {
        environment: name.to_owned(),
        checks: Vec::new(),
        params: crate::target::Params { environment: name.to_owned(), ..Default::default() },
        reading: Reading::Full,
    };
    let result = match ctx.prober.scan(probe).await {
        Ok(scan) => Ok(format!("{} checks, {}", checks.len(), scan.server)),
        Err(error) => {
            let hint = error.error.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            Err(format!("{}{hint}", error.error.message))
        }
    };
    Finding::new(what, result)
}

/// Asks a provider who we are to it, where there is something to answer it with.
async fn provider(ctx: &Context, name: &str) -> Option<Finding> {
    let trigger = ctx.settings.triggers.get(name).filter(|trigger| trigger.can_answer())?;
    let result = answers::try_credentials(ctx, trigger, trigger.provider_of(name)?).await;
    let result =
        result.map_err(|error| format!("{error}; check what triggers.{name} answers with, and api_url"));
    Some(Finding::new(format!("trigger {name}"), result))
}

/// Asks the provider's API about the webhooks that point here.
async fn webhooks_there(ctx: &Context, source: &str) -> Finding {
    let result = match look(ctx, source).await {
        Ok(found) if found.findings.is_empty() => {
            Ok("the webhooks at Lemon Squeezy are as they should be".into())
        }
        Ok(found) => {
            let says: Vec<String> =
                found.findings.iter().map(|f| format!("{}; {}", f.says, f.next)).collect();
            Err(says.join(". "))
        }
        Err(error) => Err(format!("{:#}", anyhow::Error::from(error))),
    };
    Finding::new(format!("source {source}"), result)
}

/// When each log drain was last heard of. Silence is no illness here: a new one has not sent anything yet.
async fn drains(ctx: &Context) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in ctx.settings.signals.logs.keys() {
        let heard = async { logs::get_heard(&mut *ctx.db.reader().await?, name).await };
        let result = match heard.await {
            Ok(Some(heard)) => {
                Ok(format!("last heard of at {}, {} lines", rfc3339(heard.last_at), heard.lines))
            }
            Ok(None) => Ok(format!("nothing has come yet; it sends to POST /logs/{name}")),
            Err(error) => Err(error.to_string()),
        };
        findings.push(Finding::new(format!("log drain {name}"), result));
    }
    findings
}

/// Connects and reads the greeting; nothing is sent.
async fn mail(settings: &Settings) -> Finding {
    let email = &settings.email;
    let result = match email.transport {
        EmailTransport::Directory => Ok(format!("written to {}", email.directory.display())),
        EmailTransport::Memory => Ok("kept in memory".into()),
        EmailTransport::Smtp if email.smtp.host.is_empty() => {
            Ok("not configured, and nothing is watched".into())
        }
        EmailTransport::Smtp => {
            let server = format!("{}:{}", email.smtp.host, email.smtp.port);
            match tokio::time::timeout(PATIENCE, TcpStream::connect(&server)).await {
                Ok(Ok(_)) => Ok(format!("{server} takes connections")),
                Ok(Err(error)) => {
                    Err(format!("{server} cannot be reached: {error}; check email.smtp.host and port"))
                }
                Err(_) => Err(format!("{server} did not answer within 5 s; is a firewall in the way?")),
            }
        }
    };
    Finding::new("mail", result)
}

/// Whether the server of these settings runs on this machine and is ready.
async fn server(settings: &Settings) -> Finding {
    let listen = settings.http.listen;
    let local = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let url = format!("http://{}/readyz", SocketAddr::new(local, listen.port()));
    let asked = async {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        client.get(&url).send().await
    };
    let result = match asked.await {
        Ok(answer) if answer.status().is_success() => {
            Ok(format!("ready at {}", SocketAddr::new(local, listen.port())))
        }
        Ok(answer) => Err(format!("it is not ready: {}", answer.text().await.unwrap_or_default())),
        Err(_) => Err(format!("nothing answers at {url}; start it with `deploywatch serve`")),
    };
    Finding::new("server", result)
}
