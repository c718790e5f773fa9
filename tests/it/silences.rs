//! What is silenced is kept up to date and shown, and not mailed; when the silence ends and the problem goes
//! on, it is told.

use deploywatch::domain::clock::{Clock, SignedDuration};
use deploywatch::domain::incident::IncidentKind;
use deploywatch::services::silences::{self, SilenceError, Wish};
use deploywatch::store::incidents::Which;
use deploywatch::store::{audit, incidents};
use serde_json::json;

use crate::alerts::Desk;
use crate::on_both_engines;
use crate::support::Engine;
use crate::support::app::TestApp;
use crate::support::http::Form;
use crate::support::process::Invocation;

fn wish(desk: &Desk, check: Option<&str>, minutes: i64) -> Wish {
    Wish {
        check: check.map(Into::into),
        kind: check.is_none().then_some(IncidentKind::ChecksFailed),
        owner: "ada".into(),
        reason: "a backfill runs".into(),
        ends_at: Some(desk.clock.now() + SignedDuration::from_mins(minutes)),
        ..Wish::default()
    }
}

async fn silence(desk: &Desk, check: Option<&str>, minutes: i64) -> deploywatch::domain::silence::Silence {
    silences::add(&desk.ctx, "token ada", wish(desk, check, minutes)).await.unwrap()
}

on_both_engines! {
    async fn a_silenced_problem_is_known_and_not_mailed_until_the_silence_ends(store: TestStore) {
        let desk = Desk::new(store).await;
        silence(&desk, None, 30).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        desk.send().await;
        assert!(desk.taken().is_empty());
        let mut reader = desk.ctx.db.reader().await.unwrap();
        assert_eq!(incidents::list(&mut reader, Which::Open, None, 10).await.unwrap().len(), 1);
        drop(reader);
        desk.wait(29);
        assert_eq!(silences::catch_up(&desk.ctx).await.unwrap(), 0);
        desk.wait(1);
        assert_eq!(silences::catch_up(&desk.ctx).await.unwrap(), 1);
        assert_eq!(silences::catch_up(&desk.ctx).await.unwrap(), 0, "told once");
        desk.send().await;
        assert_eq!(desk.statuses("ada"), ["FAIL 1"]);
        assert!(desk.taken()[0].content.text.contains("ada had set it: a backfill runs"));
    }

    async fn what_recovers_under_a_silence_is_never_mailed(store: TestStore) {
        let desk = Desk::new(store).await;
        silence(&desk, None, 30).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        desk.clears(IncidentKind::ChecksFailed).await;
        desk.wait(31);
        silences::catch_up(&desk.ctx).await.unwrap();
        desk.send().await;
        assert!(desk.taken().is_empty());
    }

    async fn only_the_silenced_check_is_left_out(store: TestStore) {
        let desk = Desk::new(store).await;
        let one = silence(&desk, Some("orders.*"), 60).await;
        desk.fires(IncidentKind::ChecksFailed, &["orders.row_count", "users.row_count"]).await;
        desk.send().await;
        assert_eq!(desk.statuses("ada"), ["FAIL 1"]);
        let text = desk.taken()[0].content.text.clone();
        assert!(text.contains("users.row_count") && !text.contains("orders.row_count"), "{text}");
        assert!(text.contains("1 more, which is not listed here"), "{text}");
        desk.wait(6);
        silences::end(&desk.ctx, "token ada", &one.id).await.unwrap();
        silences::catch_up(&desk.ctx).await.unwrap();
        desk.send().await;
        assert_eq!(desk.statuses("ada"), ["FAIL 1", "UPDATE 2"]);
    }

    async fn a_problem_that_was_told_before_is_reminded_of_at_the_silences_end(store: TestStore) {
        let desk = Desk::new(store).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        desk.send().await;
        silence(&desk, None, 180).await;
        for _ in 0..17 {
            desk.wait(10);
            deploywatch::services::alerting::catch_up(&desk.ctx).await.unwrap();
            desk.send().await;
        }
        assert_eq!(desk.statuses("ada"), ["FAIL 1"], "no reminders under a silence");
        desk.wait(10);
        silences::catch_up(&desk.ctx).await.unwrap();
        desk.send().await;
        assert_eq!(desk.statuses("ada"), ["FAIL 1", "REMINDER 1"]);
    }

    async fn a_longer_silence_over_the_same_goes_on(store: TestStore) {
        let desk = Desk::new(store).await;
        silence(&desk, None, 10).await;
        silence(&desk, Some("a"), 60).await;
        desk.fires(IncidentKind::ChecksFailed, &["a"]).await;
        desk.wait(11);
        silences::catch_up(&desk.ctx).await.unwrap();
        desk.send().await;
        assert!(desk.taken().is_empty());
        desk.wait(50);
        silences::catch_up(&desk.ctx).await.unwrap();
        desk.send().await;
        assert_eq!(desk.statuses("ada"), ["FAIL 1"]);
    }

    async fn every_silence_has_an_owner_a_reason_and_an_end_within_thirty_days(store: TestStore) {
        let desk = Desk::new(store).await;
        let good = || wish(&desk, Some("a"), 30);
        let far = desk.clock.now() + SignedDuration::from_hours(24 * 30 + 1);
        let past = desk.clock.now() - SignedDuration::from_secs(1);
        for (case, bad) in [
            ("owner", Wish { owner: " ".into(), ..good() }),
            ("reason", Wish { reason: String::new(), ..good() }),
            ("when the silence ends", Wish { ends_at: None, ..good() }),
            ("30 days at most", Wish { ends_at: Some(far), ..good() }),
            ("in the past", Wish { ends_at: Some(past), ..good() }),
            ("say what to silence", Wish { check: None, ..good() }),
            ("no environment", Wish { environment: Some("nowhere".into()), ..good() }),
            ("no deploy", Wish { deploy: Some("v9".into()), ..good() }),
        ] {
            let refused = silences::add(&desk.ctx, "token ada", bad).await;
            let Err(SilenceError::Invalid(why)) = refused else { panic!("{case}: {refused:?}") };
            assert!(why.contains(case), "{case}: {why}");
        }
        let made = silence(&desk, Some("a"), 30).await;
        silences::end(&desk.ctx, "token bob", &made.id).await.unwrap();
        silences::end(&desk.ctx, "token bob", &made.id).await.unwrap();
        let mut reader = desk.ctx.db.reader().await.unwrap();
        let audited = audit::list(&mut reader, 10).await.unwrap();
        let actions: Vec<&str> = audited.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(actions.len(), 2, "{actions:?}");
        assert!(actions.contains(&"silence.add") && actions.contains(&"silence.end"));
    }
}

#[tokio::test]
async fn the_api_and_the_page_make_list_and_end_them() {
    let app = TestApp::start_on(Engine::Sqlite, |_| {}).await;
    let post = async |path: &str, body: serde_json::Value| {
        let answer = app.client.post(app.url(path)).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<serde_json::Value>().await.unwrap())
    };
    let (status, made) =
        post("/api/v1/silences", json!({"check": "orders.*", "reason": "a backfill runs", "length": "4h"}))
            .await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(made["owner"], "loopback");
    assert_eq!(made["active"], true);
    let (status, problem) = post("/api/v1/silences", json!({"reason": "x", "length": "4h"})).await;
    assert_eq!((status, problem["code"].as_str()), (400, Some("invalid_request")));
    let page = app.get("/silences").await.text().await.unwrap();
    assert!(page.contains("check orders.*") && page.contains("End it now"), "{page}");
    let form = [("check", "<script>alert(1)</script>"), ("owner", "ada"), ("reason", ""), ("length", "1h")];
    let refused = app.client.post(app.url("/silences")).form(&form).send().await.unwrap();
    assert_eq!(refused.status(), 400);
    let page = refused.text().await.unwrap();
    assert!(page.contains("give the reason") && !page.contains("<script>alert"), "{page}");
    let id = made["id"].as_str().unwrap();
    let (status, ended) = post(&format!("/api/v1/silences/{id}/end"), json!({})).await;
    assert_eq!((status, ended["active"].as_bool()), (200, Some(false)));
    let list: serde_json::Value = app.get("/api/v1/silences").await.json().await.unwrap();
    assert_eq!(list["silences"], json!([]));
}

#[tokio::test]
async fn the_command_line_makes_lists_and_ends_them() {
    let folder = crate::support::temp_dir();
    let run = |arguments: &[&str]| {
        let invocation = Invocation::new().folder(folder.path());
        invocation.args(["silence"]).args(arguments).finish()
    };
    let made =
        run(&["add", "--check", "orders.*", "--for", "4h", "--reason", "a backfill", "--owner", "ada"]).await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    assert!(made.stdout.contains("check orders.* is silent until"), "{}", made.stdout);
    let id = made.stdout.split(':').next().unwrap();
    let list = run(&["list"]).await;
    assert!(list.stdout.contains("orders.*") && list.stdout.contains("in 3 h 59"), "{}", list.stdout);
    let ended = run(&["end", &id[id.len() - 6..]]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(run(&["list"]).await.stderr.contains("nothing is silenced"));
    let endless = run(&["add", "--check", "a", "--reason", "x", "--owner", "ada"]).await;
    assert_eq!(endless.code, 2, "an end is required");
}
