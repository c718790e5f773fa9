//! What on-call reads about webhooks and secrets: the version by fingerprint, since when, how often, what to
//! do next; and never a secret, a body or an address.

use deploywatch::domain::check::Severity;
use deploywatch::domain::incident::{Incident, IncidentKind, IncidentState};
use deploywatch::services::secrets;
use deploywatch::store::incidents::{self, Which};

use crate::on_both_engines;
use crate::support::hook::{Hook, NEW, OLD, Post, settings};
use crate::support::manual_clock;
use crate::support::signer::{numbered, sign};
use crate::support::smtp::{Behaviour, SmtpServer};

async fn all(hook: &Hook) -> Vec<Incident> {
    let mut reader = hook.app.context.db.reader().await.unwrap();
    let found = incidents::list(&mut reader, Which::All, None, 100).await.unwrap();
    found.into_iter().map(|stored| stored.incident).collect()
}

async fn only(hook: &Hook) -> Incident {
    let mut found = all(hook).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

fn is_resolved(incident: &Incident) -> bool {
    matches!(incident.state, IncidentState::Resolved { .. })
}

fn tells_nothing_secret(incident: &Incident) {
    let text = format!("{incident:?}");
    for canary in [NEW, OLD, "testbuyer@mail.test", "127.0.0.1"] {
        assert!(!text.contains(canary), "{canary} is told");
    }
}

const HOUR: i64 = 3600;

on_both_engines! {
    async fn an_old_secret_after_its_overlap_pages_until_it_is_quiet(store: TestStore) {
        let hook = Hook::start(&store, NEW, Some(OLD)).await;
        assert_eq!(hook.deliver(NEW, &numbered(1)).await, 200);
        hook.advance(25 * HOUR);
        for number in 2..5 {
            assert_eq!(hook.deliver(OLD, &numbered(number)).await, 200);
            hook.advance(10);
        }
        let incident = only(&hook).await;
        let views = secrets::status(&hook.app.context, None).await.unwrap();
        let old = &views[0].versions[1].fingerprint;
        assert_eq!((incident.key.kind, incident.key.scope.as_str()), (IncidentKind::StaleSecret, "lemonsqueezy"));
        assert_eq!((incident.facts.label.as_str(), incident.facts.severity), ("STALE SECRET", Severity::Critical));
        assert!(incident.facts.headline.contains(old), "{}", incident.facts.headline);
        assert!(incident.facts.next_steps[0].contains("Settings > Webhooks"));
        let member = &incident.facts.members[0];
        assert_eq!(member.count, 3, "how often since: {}", member.message);
        tells_nothing_secret(&incident);

        assert_eq!(hook.deliver(NEW, &numbered(9)).await, 200);
        hook.advance(HOUR);
        hook.tick().await;
        assert!(is_resolved(&only(&hook).await));
        assert_eq!(hook.deliver(OLD, &numbered(10)).await, 401, "it is retired now");
        let open: Vec<Incident> = all(&hook).await.into_iter().filter(|i| !is_resolved(i)).collect();
        assert_eq!(open.len(), 1);
        assert!(open[0].facts.headline.contains("refused with 401"), "{}", open[0].facts.headline);
    }

    async fn all_failing_since_a_moment_warns_then_pages_then_recovers(store: TestStore) {
        let hook = Hook::start(&store, NEW, None).await;
        assert_eq!(hook.deliver(NEW, &numbered(1)).await, 200);
        hook.advance(60);
        for _ in 0..3 {
            assert_eq!(hook.deliver("changed-in-the-dashboard", &numbered(2)).await, 401);
            hook.advance(5);
        }
        let incident = only(&hook).await;
        assert_eq!((incident.key.kind, incident.facts.severity), (IncidentKind::SignatureFailures, Severity::Warning));
        for number in 3..5 {
            assert_eq!(hook.deliver("changed-in-the-dashboard", &numbered(number)).await, 401);
            hook.advance(5);
        }
        let incident = only(&hook).await;
        assert_eq!(incident.facts.severity, Severity::Critical);
        assert!(incident.facts.headline.starts_with("Every lemonsqueezy delivery since"), "{}", incident.facts.headline);
        assert!(incident.facts.headline.contains("3 distinct, 5 attempts"), "{}", incident.facts.headline);
        let good = incident.facts.context.iter().find(|(label, _)| label == "last good delivery").unwrap();
        assert_eq!(good.1, "2026-05-01T12:00:00Z");
        tells_nothing_secret(&incident);
        for number in 10..15 {
            assert_eq!(hook.deliver(NEW, &numbered(number)).await, 200);
        }
        assert!(is_resolved(&only(&hook).await));
    }

    async fn scanners_page_nobody(store: TestStore) {
        let hook = Hook::start(&store, NEW, None).await;
        for _ in 0..20 {
            let mut post = Hook::with_signature("", b"{}");
            post.headers.clear();
            assert_eq!(hook.post(post).await.0, 401);
            hook.advance(30);
        }
        hook.tick().await;
        assert!(all(&hook).await.is_empty());
    }

    async fn what_grows_from_a_warning_to_a_page_is_mailed_again_at_once(store: TestStore) {
        let mails = SmtpServer::start(Behaviour::Accept).await;
        let mut settings = settings(&store, Some(NEW), None);
        mails.lead_here(&mut settings);
        let hook = Hook::start_with(&store, &settings, manual_clock()).await;
        assert_eq!(hook.deliver(NEW, &numbered(1)).await, 200);
        assert_eq!(hook.deliver("changed-in-the-dashboard", &numbered(2)).await, 401);
        hook.tick().await;
        assert_eq!(mails.statuses(), ["SIGNATURE FAILURES"]);
        for number in 3..5 {
            assert_eq!(hook.deliver("changed-in-the-dashboard", &numbered(number)).await, 401);
        }
        hook.tick().await;
        assert_eq!(mails.statuses(), ["SIGNATURE FAILURES", "NOW CRITICAL: SIGNATURE FAILURES"]);
        let letters = mails.letters();
        assert_eq!(letters[1].header("Importance").as_deref(), Some("high"));
        assert_eq!(letters[1].header("In-Reply-To"), letters[0].header("Message-ID"), "in the same thread");
        assert!(letters[1].text.contains("now it is critical"), "{}", letters[1].text);
    }

    async fn another_providers_signature_is_told_once_it_comes_again_and_again(store: TestStore) {
        let mails = SmtpServer::start(Behaviour::Accept).await;
        let mut settings = settings(&store, Some(NEW), None);
        mails.lead_here(&mut settings);
        let hook = Hook::start_with(&store, &settings, manual_clock()).await;
        let stranger = |name: &'static str, value: String| Post {
            source: "lemonsqueezy",
            body: b"{}".to_vec(),
            headers: vec![("user-agent", "somebody".into()), (name, value)],
        };
        let stripe = || stranger("stripe-signature", format!("t=1746100800,v1={}", "ab".repeat(32)));
        for _ in 0..2 {
            assert_eq!(hook.post(stripe()).await.0, 400);
        }
        hook.tick().await;
        assert!(mails.letters().is_empty(), "a stranger's request is nobody's business");
        assert_eq!(hook.post(stripe()).await.0, 400);
        hook.tick().await;
        let [mail] = &mails.letters()[..] else { panic!("{:?}", mails.subjects()) };
        assert_eq!(mail.status(), "FOREIGN SIGNATURE");
        for said in ["look like those of Stripe", "give it a source of its own", "--class malformed_signature"] {
            assert!(mail.text.contains(said), "{said}: {}", mail.text);
        }

        for _ in 0..3 {
            let mut twice = stranger("x-signature", "ab".repeat(32));
            twice.headers.push(("x-signature", "cd".repeat(32)));
            assert_eq!(hook.post(twice).await.0, 400);
        }
        hook.tick().await;
        assert_eq!(mails.statuses(), ["FOREIGN SIGNATURE", "AMBIGUOUS SIGNATURE"]);
        hook.advance(HOUR);
        hook.tick().await;
        assert_eq!(mails.statuses()[2..], ["RESOLVED", "RESOLVED"]);
    }

    async fn the_providers_own_broken_signature_is_a_failure_of_the_source(store: TestStore) {
        let hook = Hook::start(&store, NEW, None).await;
        assert_eq!(hook.deliver(NEW, &numbered(1)).await, 200);
        hook.advance(60);
        for number in 2..5 {
            let body = numbered(number);
            let cut = sign(NEW, &body)[..40].to_owned();
            assert_eq!(hook.post(Hook::with_signature(&cut, &body)).await.0, 400);
        }
        let incident = only(&hook).await;
        assert_eq!((incident.key.kind, incident.facts.severity), (IncidentKind::SignatureFailures, Severity::Critical));
        assert!(incident.facts.headline.contains("not in the form that the provider writes"), "{}", incident.facts.headline);
        let kept = incident.facts.context.iter().find(|(label, _)| label == "in quarantine").unwrap();
        assert!(kept.1.starts_with("nothing"), "{}", kept.1);
    }

    async fn deliveries_that_come_again_and_again_are_told_with_their_share(store: TestStore) {
        let hook = Hook::start(&store, NEW, None).await;
        for number in 0..57 {
            assert_eq!(hook.deliver(NEW, &numbered(number)).await, 200);
        }
        assert_eq!(hook.deliver(NEW, &numbered(1)).await, 200);
        hook.tick().await;
        assert!(all(&hook).await.is_empty(), "1 of 58 is nobody's business");
        assert_eq!(hook.deliver(NEW, &numbered(2)).await, 200);
        hook.advance(300);
        hook.tick().await;
        let incident = only(&hook).await;
        assert_eq!((incident.facts.label.as_str(), incident.facts.severity), ("REPEATED DELIVERIES", Severity::Warning));
        assert!(incident.facts.headline.starts_with("2 of the last 59 lemonsqueezy deliveries were sent before"), "{}", incident.facts.headline);
        assert!(incident.facts.next_steps[1].contains("--outcome duplicate"));
        hook.advance(25 * HOUR);
        hook.tick().await;
        assert!(is_resolved(&only(&hook).await));
    }

    async fn an_event_that_nobody_knows_is_told_once(store: TestStore) {
        let mails = SmtpServer::start(Behaviour::Accept).await;
        let mut settings = settings(&store, Some(NEW), None);
        mails.lead_here(&mut settings);
        let hook = Hook::start_with(&store, &settings, manual_clock()).await;
        for number in 1..4 {
            let body = String::from_utf8(numbered(number)).unwrap();
            let body = body.replace("subscription_created", "dispute_created");
            let mut post = Hook::signed(NEW, body.as_bytes());
            post.headers.push(("x-event-name", "dispute_created".into()));
            assert_eq!(hook.post(post).await.0, 200);
            assert_eq!(hook.deliver(NEW, &numbered(number + 10)).await, 200);
            hook.tick().await;
        }
        let [mail] = &mails.letters()[..] else { panic!("{:?}", mails.subjects()) };
        assert_eq!(mail.subject, "[NEW EVENT] acme-production lemonsqueezy webhook");
        assert!(mail.text.contains("does not know, dispute_created"), "{}", mail.text);
        assert!(mail.text.contains("first delivery   dlv_"), "{}", mail.text);
    }

    async fn signed_but_unreadable_pages_and_ends(store: TestStore) {
        let hook = Hook::start(&store, NEW, None).await;
        let body = br#"{"something":"else"}"#;
        assert_eq!(hook.post(Hook::with_signature(&sign(NEW, body), body)).await.0, 400);
        let incident = only(&hook).await;
        assert_eq!((incident.facts.severity, incident.facts.label.as_str()), (Severity::Critical, "UNREADABLE WEBHOOK"));
        hook.advance(HOUR);
        hook.tick().await;
        assert!(is_resolved(&only(&hook).await));
    }
}
