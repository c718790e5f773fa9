//! Requests: what is a failure and what an error, and where they may go at all.

use std::time::Duration;

use deploywatch::domain::check::Check;
use deploywatch::domain::clock::{Clock, SignedDuration};
use deploywatch::domain::observation::{Observation, Outcome};

use deploywatch::system::SystemClock;

use super::{TOKEN, checks, seen, world};
use crate::support::certificates::Authority;
use crate::support::free_port;
use crate::support::site::{Site, TlsSite, vector};

fn http(body: &str) -> Check {
    checks(&format!("suite: t\nsignals:\n  - key: flow\n    http: {body}\n")).remove(0)
}

async fn ask(site: &Site, body: &str) -> Observation {
    let check = http(body);
    let (_store, world) = world(site, vec![check.clone()]).await;
    let seen = seen(&world.ctx, &check).await;
    assert!(!format!("{seen:?}").contains(TOKEN), "{seen:?}");
    seen
}

#[track_caller]
fn says(seen: &Observation, outcome: Outcome, part: &str) {
    assert_eq!(seen.outcome, outcome, "{}", seen.message);
    assert!(seen.message.contains(part), "{:?} is not in {:?}", part, seen.message);
}

#[tokio::test]
async fn secrets_are_sent_and_never_shown() {
    let site = Site::start().await;
    let body = "{ url: 'http://${SITE}/a?key=${TOKEN}', method: post, body: 'x=${TOKEN}', \
                headers: { Authorization: 'Bearer ${TOKEN}' } }";
    says(&ask(&site, body).await, Outcome::Pass, "POST http://${SITE}/a");
    assert_eq!(site.requests(), [format!("POST /a Bearer {TOKEN}")]);
    let missing = ask(&site, "{ url: 'http://${SITE}/', headers: { X-Key: '${OTHER_KEY}' } }").await;
    says(&missing, Outcome::Error, "`${OTHER_KEY}` has no value");
    says(&missing, Outcome::Error, "DEPLOYWATCH__SIGNALS__VALUES__OTHER_KEY");
    assert_eq!(site.requests().len(), 1);
}

#[tokio::test]
async fn a_product_that_is_down_fails_and_a_name_that_does_not_resolve_is_an_error() {
    let site = Site::start().await;
    let closed = format!("http://127.0.0.1:{}/", free_port());
    says(&ask(&site, &closed).await, Outcome::Fail, "the connection was refused");
    let nowhere = ask(&site, "http://nowhere.invalid/").await;
    says(&nowhere, Outcome::Error, "the name nowhere.invalid could not be resolved");
    assert_eq!(nowhere.reason, "error.signal");
    site.change(|answers| answers.delay = Duration::from_secs(5));
    let check =
        checks("suite: t\nsignals:\n  - key: a\n    http: 'http://${SITE}/'\n    timeout: 1s\n").remove(0);
    let (_store, world) = world(&site, vec![check.clone()]).await;
    says(&seen(&world.ctx, &check).await, Outcome::Fail, "no whole answer within 1 s");
}

#[tokio::test]
async fn private_addresses_are_refused_unless_their_network_is_allowed() {
    let site = Site::start().await;
    let port = site.address.port();
    for (url, address) in [
        (format!("http://127.0.0.1:{port}/"), "127.0.0.1"),
        (format!("http://localhost:{port}/"), "localhost leads to"),
        (format!("http://2130706433:{port}/"), "127.0.0.1"),
        (format!("http://[::ffff:127.0.0.1]:{port}/"), "127.0.0.1"),
        ("http://10.0.0.1/".to_owned(), "10.0.0.1"),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), "169.254.169.254"),
        ("http://[fd00:ec2::254]/".to_owned(), "fd00:ec2::254"),
    ] {
        let check = http(&format!("'{url}'"));
        let (_store, mut world) = world(&site, vec![check.clone()]).await;
        let mut settings = (*world.ctx.settings).clone();
        settings.signals.allow_private.clear();
        world.ctx.settings = settings.into();
        let refused = seen(&world.ctx, &check).await;
        says(&refused, Outcome::Error, address);
        let never = address.starts_with("169.254") || address.starts_with("fd00:ec2");
        says(&refused, Outcome::Error, if never { "it is never asked" } else { "signals.allow_private" });
    }
    assert!(site.requests().is_empty(), "nothing was asked");
    let allowed_but_metadata = ask(&site, "http://169.254.169.254/").await;
    says(&allowed_but_metadata, Outcome::Error, "it is never asked");
}

#[tokio::test]
async fn redirects_are_followed_when_asked_for_and_never_to_another_place() {
    let site = Site::start().await;
    let to = |url: &str, more: &str| {
        format!(
            "{{ url: 'http://${{SITE}}/to?{url}', headers: {{ Authorization: 'Bearer ${{TOKEN}}' }}{more} }}"
        )
    };
    says(&ask(&site, &to("/home", "")).await, Outcome::Fail, "status 302 instead of 200 to 299");
    says(&ask(&site, &to("/home", ", status: 302")).await, Outcome::Pass, "");
    says(&ask(&site, &to("/home", ", redirects: 1")).await, Outcome::Pass, "");
    assert_eq!(site.requests().last().unwrap(), &format!("GET /home Bearer {TOKEN}"));
    let circle = ask(&site, "{ url: 'http://${SITE}/to?/to?/to', redirects: 2 }").await;
    says(&circle, Outcome::Fail, "status 302");
    let other = Site::start().await;
    let away = ask(&site, &to(&format!("http://{}/steal", other.address), ", redirects: 5")).await;
    says(&away, Outcome::Fail, "redirects to another host");
    let metadata = ask(&site, &to("http://169.254.169.254/", ", redirects: 5")).await;
    says(&metadata, Outcome::Fail, "redirects to another host");
    assert!(other.requests().is_empty(), "the token went nowhere else");
}

#[tokio::test]
async fn certificates_are_always_verified() {
    let site = Site::start().await;
    let authority = Authority::new();
    let ask_tls = async |issued, trusted: bool, host: &str| {
        let tls = TlsSite::start(&issued);
        let check = http(&format!("'https://{host}:{}/'", tls.address.port()));
        let (_store, mut world) = world(&site, vec![check.clone()]).await;
        let mut settings = (*world.ctx.settings).clone();
        settings.signals.ca_file = trusted.then(|| authority.file());
        settings.signals.allow_private.push("::1/128".into());
        world.ctx.settings = settings.into();
        seen(&world.ctx, &check).await
    };
    says(&ask_tls(authority.issue("localhost"), true, "localhost").await, Outcome::Pass, "");
    for (seen, why) in [
        (ask_tls(authority.issue("localhost"), false, "localhost").await, "nobody who is trusted"),
        (
            ask_tls(authority.self_signed("localhost"), true, "localhost").await,
            "the certificate is not valid",
        ),
        (ask_tls(authority.expired("localhost"), true, "localhost").await, "it has expired"),
        (ask_tls(authority.issue("other.example"), true, "localhost").await, "it is for another name"),
    ] {
        says(&seen, Outcome::Fail, why);
    }
}

#[tokio::test]
async fn a_certificate_that_ends_soon_fails_where_days_are_asked_for() {
    let (site, authority) = (Site::start().await, Authority::new());
    // The handshake looks at the real clock, and so does this test.
    let end = SystemClock.now() + SignedDuration::from_hours(24 * 20);
    let day = end.to_zoned(jiff::tz::TimeZone::UTC).date();
    let (year, month, day) = (i32::from(day.year()), day.month().unsigned_abs(), day.day().unsigned_abs());
    let tls = TlsSite::start(&authority.issue_until("localhost", year, month, day));
    for (days, outcome, part) in [(10, Outcome::Pass, ""), (30, Outcome::Fail, "which is less than 30 d")] {
        let port = tls.address.port();
        let check = http(&format!("{{ url: 'https://localhost:{port}/', certificate_days: {days} }}"));
        let (_store, mut world) = world(&site, vec![check.clone()]).await;
        world.clock.set(SystemClock.now());
        let mut settings = (*world.ctx.settings).clone();
        settings.signals.ca_file = Some(authority.file());
        settings.signals.allow_private.push("::1/128".into());
        world.ctx.settings = settings.into();
        says(&seen(&world.ctx, &check).await, outcome, part);
    }
}

#[tokio::test]
async fn a_long_body_is_read_in_part_and_a_broken_one_is_a_failure() {
    let site = Site::start().await;
    let long = format!("{}needle", "a".repeat(1 << 20));
    site.change(|answers| answers.body = long);
    says(&ask(&site, "'http://${SITE}/'").await, Outcome::Pass, "");
    let cut = ask(&site, "{ url: 'http://${SITE}/', contains: needle }").await;
    says(&cut, Outcome::Fail, "the first MiB of the body does not contain \"needle\"");
    let json = ask(&site, "{ url: 'http://${SITE}/', json: { /a: 1 } }").await;
    says(&json, Outcome::Fail, "longer than 1 MiB");
}

#[tokio::test]
async fn several_tries_are_counted_and_a_share_of_them_may_fail() {
    let site = Site::start().await;
    let check = checks(
        "suite: t\nsignals:\n  - key: a\n    http: { url: 'http://${SITE}/', tries: 4 }\n    fail: { above: 50% }\n",
    )
    .remove(0);
    let (_store, world) = world(&site, vec![check.clone()]).await;
    says(&seen(&world.ctx, &check).await, Outcome::Pass, "0 of 4 tries of GET");
    site.change(|answers| answers.status = 500);
    says(&seen(&world.ctx, &check).await, Outcome::Fail, "all 4 tries of GET");
    assert_eq!(site.requests().len(), 8);
}

#[tokio::test]
async fn a_metric_is_one_number_or_says_why_not() {
    let site = Site::start().await;
    let check = checks("suite: t\nsignals:\n  - key: m\n    metric: up\n    fail: { above: 1 }\n").remove(0);
    let (_store, world) = world(&site, vec![check.clone()]).await;
    says(&seen(&world.ctx, &check).await, Outcome::Pass, "the metric is 0.01");
    assert_eq!(site.requests(), ["GET /api/v1/query Bearer canary-metric-token"]);
    for (answer, outcome, part) in [
        (vector(&[]), Outcome::NoData, "the query gives nothing"),
        (vector(&["NaN"]), Outcome::NoData, "the query gives nothing"),
        (vector(&["1", "2"]), Outcome::Error, "2 series that differ in `instance`"),
        ("<html>".to_owned(), Outcome::Error, "something else than Prometheus' JSON"),
    ] {
        site.change(|answers| answers.metric = answer);
        says(&seen(&world.ctx, &check).await, outcome, part);
    }
    // An account in place of a token, as hosted Prometheus wants it.
    site.change(|answers| answers.metric = vector(&["0.01"]));
    let mut settings = (*world.ctx.settings).clone();
    let server = settings.signals.metrics.get_mut("prometheus").unwrap();
    server.token = None;
    (server.username, server.password) = (Some("123456".into()), Some("canary-password".to_owned().into()));
    let mut ctx = world.ctx.clone();
    ctx.settings = settings.into();
    let by_account = seen(&ctx, &check).await;
    says(&by_account, Outcome::Pass, "the metric is 0.01");
    assert!(!format!("{by_account:?}").contains("canary"), "{by_account:?}");
    // `123456:canary-password` in base64.
    let last = site.requests().pop().unwrap();
    assert_eq!(last, "GET /api/v1/query Basic MTIzNDU2OmNhbmFyeS1wYXNzd29yZA==");
    drop(site);
    let gone = free_port();
    let mut settings = (*world.ctx.settings).clone();
    settings.signals.metrics.get_mut("prometheus").unwrap().url =
        Some(format!("http://127.0.0.1:{gone}").parse().unwrap());
    let mut ctx = world.ctx.clone();
    ctx.settings = settings.into();
    // A metric server that is down is our blindness, and no failure of the product.
    says(&seen(&ctx, &check).await, Outcome::Error, "does not answer: the connection was refused");
}
