//! Who is told: rotations, the second step, quiet hours, standing in, and what the command and the page show.

use deploywatch::domain::check::Severity;
use deploywatch::domain::clock::Timestamp;
use deploywatch::domain::incident::{Facts, IncidentKind, Signal};
use deploywatch::domain::oncall::Substitute;
use deploywatch::services::alerting::act::{Act, act};
use deploywatch::services::{alerting, oncall};
use deploywatch::settings::{EmailTransport, OnCallPerson, OnCallRotation, Settings};
use deploywatch::store::incidents::{self, Which};

use crate::alerts::{Desk, facts, key};
use crate::on_both_engines;
use crate::support::app::TestApp;
use crate::support::{Engine, TestStore};

/// Ada and Bob take turns by the week, Cem is the second step; the clock stands at Friday noon in Ada's week.
fn roster(settings: &mut Settings) {
    for name in ["ada", "bob", "cem"] {
        let person = OnCallPerson { name: None, email: format!("{name}@example.com") };
        settings.oncall.people.insert(name.into(), person);
    }
    settings.oncall.rotations.insert(
        "primary".into(),
        OnCallRotation {
            people: vec!["ada".into(), "bob".into()],
            starts: "2026-04-27".into(),
            handover: Some("monday 09:00".into()),
            weeks: None,
            time_zone: Some("Europe/Berlin".into()),
            overrides: Vec::new(),
        },
    );
    settings.oncall.critical = vec!["primary".into()];
    settings.oncall.second = vec!["cem".into()];
    settings.email.recipients = vec!["everybody@example.com".into()];
}

async fn desk_with(store: TestStore, change: impl FnOnce(&mut Settings)) -> Desk {
    let mut settings = Settings::defaults();
    settings.email.transport = EmailTransport::Memory;
    settings.email.from = "deploywatch <alerts@example.com>".into();
    roster(&mut settings);
    change(&mut settings);
    Desk::with(store, settings).await
}

impl Desk {
    async fn warns(&self, members: &[&str]) {
        let at = self.ctx.clock.now();
        let facts = Facts { severity: Severity::Warning, label: "WARN".into(), ..facts(members, at) };
        self.record(Signal::Firing { key: key(IncidentKind::ChecksFailed), at, facts }).await;
    }

    /// Lets time pass in steps, as the jobs see it.
    async fn passes(&self, minutes: i64) {
        for _ in 0..minutes {
            self.wait(1);
            alerting::catch_up(&self.ctx).await.unwrap();
            self.send().await;
        }
    }

    async fn only_open(&self) -> deploywatch::domain::incident::Incident {
        let mut reader = self.ctx.db.reader().await.unwrap();
        let mut open = incidents::list(&mut reader, Which::Open, None, 10).await.unwrap();
        assert_eq!(open.len(), 1);
        open.remove(0).incident
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

on_both_engines! {
    async fn whoevers_turn_it_is_is_told_and_nobody_else(store: TestStore) {
        let desk = desk_with(store, |_| {}).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        desk.send().await;
        assert_eq!(desk.statuses("ada"), ["FAIL 1"]);
        assert_eq!(desk.taken().len(), 1);
        // Who was told, and why them, is in the incident's history.
        let id = desk.only_open().await.id;
        let events = incidents::list_events(&mut desk.ctx.db.reader().await.unwrap(), &id).await.unwrap();
        let told = events.iter().find(|event| event.event == "told").expect("it is recorded");
        assert!(told.detail.starts_with("opened to ") && told.detail.ends_with("(primary)"), "{}", told.detail);
        assert!(!told.detail.contains("ada@example.com"), "addresses are masked");
    }

    async fn the_second_step_is_told_after_a_quarter_of_an_hour_without_an_answer(store: TestStore) {
        let desk = desk_with(store, |_| {}).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        desk.send().await;
        desk.passes(14).await;
        assert!(desk.statuses("cem").is_empty());
        desk.passes(2).await;
        assert_eq!(desk.statuses("cem"), ["ESCALATED FAIL 1"]);
        // Both hear how it goes on, each in a thread of their own.
        desk.passes(60).await;
        assert_eq!(desk.statuses("cem"), ["ESCALATED FAIL 1", "REMINDER 1"]);
        assert_eq!(desk.statuses("ada"), ["FAIL 1", "REMINDER 1"]);
        desk.clears(IncidentKind::ChecksFailed).await;
        desk.send().await;
        assert_eq!(desk.statuses("cem").last().unwrap(), "RESOLVED");
        let mails = desk.taken();
        let cem: Vec<_> = mails.iter().filter(|mail| mail.to.contains("cem")).collect();
        for later in &cem[1..] {
            let thread = later.content.headers.iter().find(|(name, _)| name == "In-Reply-To").unwrap();
            assert_eq!(thread.1, cem[0].content.message_id);
        }
    }

    async fn an_acknowledgement_keeps_the_second_step_out(store: TestStore) {
        let desk = desk_with(store, |_| {}).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        desk.send().await;
        let id = desk.only_open().await.id;
        act(&desk.ctx, &id, "ada", Act::Acknowledge).await.unwrap();
        desk.passes(120).await;
        assert!(desk.statuses("cem").is_empty());
        assert_eq!(desk.statuses("ada"), ["FAIL 1"]);
    }

    async fn a_warning_never_wakes_the_second_step(store: TestStore) {
        let desk = desk_with(store, |_| {}).await;
        desk.warns(&["a"]).await;
        desk.passes(50).await;
        assert_eq!(desk.statuses("ada"), ["WARN 1"]);
        assert!(desk.statuses("cem").is_empty());
    }

    async fn a_warning_at_night_is_told_once_in_the_morning_as_it_is_then(store: TestStore) {
        let desk = desk_with(store, |settings| {
            settings.oncall.time_zone = "Europe/Berlin".into();
            settings.oncall.quiet_hours = Some("22:00-07:00".into());
        })
        .await;
        desk.clock.set(at("2026-05-01T23:00:00Z"));
        desk.warns(&["a"]).await;
        desk.passes(60).await;
        desk.warns(&["a", "b"]).await;
        desk.passes(299).await;
        assert!(desk.taken().is_empty(), "it is 06:59 in Berlin");
        desk.passes(2).await;
        assert_eq!(desk.statuses("ada"), ["WARN 2"]);
        let text = &desk.taken()[0].content.text;
        assert!(text.contains("held until the end of quiet hours"), "{text}");
        desk.passes(30).await;
        assert_eq!(desk.taken().len(), 1, "told once");
    }

    async fn a_warning_that_is_over_by_the_morning_is_one_mail(store: TestStore) {
        let desk = desk_with(store, |settings| settings.oncall.quiet_hours = Some("22:00-07:00".into())).await;
        desk.clock.set(at("2026-05-01T23:00:00Z"));
        desk.warns(&["a"]).await;
        desk.passes(30).await;
        desk.clears(IncidentKind::ChecksFailed).await;
        desk.passes(8 * 60).await;
        assert_eq!(desk.statuses("ada"), ["RESOLVED"]);
    }

    async fn what_grows_critical_at_night_is_told_at_once(store: TestStore) {
        let desk = desk_with(store, |settings| settings.oncall.quiet_hours = Some("22:00-07:00".into())).await;
        desk.clock.set(at("2026-05-01T23:00:00Z"));
        desk.warns(&["a"]).await;
        desk.passes(10).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        desk.passes(1).await;
        assert_eq!(desk.statuses("ada"), ["FAIL 1"]);
        desk.passes(5).await;
        assert_eq!(desk.statuses("ada"), ["FAIL 1"], "and once");
    }

    async fn who_comes_on_call_meanwhile_gets_the_whole_story(store: TestStore) {
        let desk = desk_with(store, |settings| settings.oncall.second.clear()).await;
        // Ten minutes before the handover of Monday, 09:00 in Berlin.
        desk.clock.set(at("2026-05-04T06:50:00Z"));
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        desk.send().await;
        desk.passes(61).await;
        assert_eq!((desk.statuses("ada"), desk.statuses("bob")), (vec!["FAIL 1".into()], vec!["FAIL 1".into()]));
        desk.clears(IncidentKind::ChecksFailed).await;
        desk.send().await;
        assert_eq!(desk.statuses("ada"), ["FAIL 1", "RESOLVED"]);
        assert_eq!(desk.statuses("bob"), ["FAIL 1", "RESOLVED"]);
    }

    async fn whoever_stands_in_is_told_until_that_is_taken_back(store: TestStore) {
        let desk = desk_with(store, |_| {}).await;
        let sub = |person: &str| Substitute {
            rotation: "primary".into(),
            person: person.into(),
            from: at("2026-05-01T00:00:00Z"),
            until: at("2026-05-03T00:00:00Z"),
        };
        let refused = oncall::add_override(&desk.ctx, sub("eve"), "", "ada").await.unwrap_err();
        assert!(refused.to_string().contains("ada, bob, cem"), "{refused}");
        let over = oncall::add_override(&desk.ctx, sub("cem"), "holiday", "ada").await.unwrap();
        let critical = async || {
            let mut reader = desk.ctx.db.reader().await.unwrap();
            let called = oncall::called(&desk.ctx, &mut reader, "acme-production", Severity::Critical).await;
            called.unwrap().remove(0).person.id
        };
        assert_eq!(critical().await, "cem");
        let standing = oncall::standing(&desk.ctx, desk.ctx.now(), 14).await.unwrap();
        assert_eq!(standing.turns[0].shifts[0].instead_of.as_deref(), Some("ada"));
        oncall::remove_override(&desk.ctx, &over.id, "ada").await.unwrap().expect("it was there");
        assert_eq!(critical().await, "ada");
        let audit = deploywatch::store::audit::list(&mut desk.ctx.db.reader().await.unwrap(), 10).await.unwrap();
        assert_eq!(audit.iter().filter(|entry| entry.action.starts_with("oncall.")).count(), 2);
    }
}

#[tokio::test]
async fn the_page_and_the_api_say_who_is_on_call() {
    let app = TestApp::start_on(Engine::Sqlite, |settings| {
        let environment = serde_json::json!({ "database_url": "postgres://nowhere.invalid/acme" });
        settings.environments.insert("acme-production".into(), serde_json::from_value(environment).unwrap());
        roster(settings);
    })
    .await;
    let shown: serde_json::Value = app.get("/api/v1/oncall?days=14").await.json().await.unwrap();
    assert_eq!(shown["environments"][0]["critical"][0]["name"], "ada");
    assert_eq!(shown["environments"][0]["second"][0]["name"], "cem");
    let shifts = shown["rotations"][0]["shifts"].as_array().unwrap();
    let people: Vec<_> = shifts.iter().map(|shift| shift["person"].as_str().unwrap()).collect();
    assert_eq!(people, ["ada", "bob", "ada"]);
    assert_eq!(shifts[0]["until"], "2026-05-04T07:00:00Z");
    let page = app.get("/").await.text().await.unwrap();
    assert!(page.contains("On call") && page.contains("ada (primary), until 4 May 07:00"), "{page}");
    let wrong = app.get("/api/v1/oncall?at=soon").await;
    assert_eq!(wrong.status(), 400);
}
