//! `deploywatch webhook` and `doctor lemonsqueezy` as people run them, against a server and a stand-in for the
//! provider's API.

use std::path::Path;

use crate::support::process::{Deploywatch, Finished, Invocation};
use crate::support::provider_api::{Answer, ProviderApi, webhook};
use crate::support::temp_dir;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OURS: &str = "https://dw.example.com/webhooks/lemonsqueezy";

fn with(folder: &Path, arguments: &[&str], listen: &str, api: &str) -> Invocation {
    Invocation::new()
        .args(arguments)
        .folder(folder)
        .env("LEMONSQUEEZY_WEBHOOK_SECRET", "a-signing-secret-of-the-live-mode")
        .env("LEMONSQUEEZY_WEBHOOK_SECRET_PREVIOUS", "the-signing-secret-before-that")
        .env("DEPLOYWATCH__WEBHOOKS__SOURCES__STRIPE__SECRET", SECRET)
        .env("DEPLOYWATCH__WEBHOOKS__SOURCES__LEMONSQUEEZY__API__KEY", "canary-api-key")
        .env("DEPLOYWATCH__WEBHOOKS__SOURCES__LEMONSQUEEZY__API__BASE_URL", api)
        .env("DEPLOYWATCH__HTTP__PUBLIC_URL", "https://dw.example.com")
        .env("DEPLOYWATCH__HTTP__LISTEN", listen)
        .env("DEPLOYWATCH__EMAIL__TRANSPORT", "directory")
        .env("DEPLOYWATCH__EMAIL__RECIPIENTS", "oncall@example.com")
}

#[tokio::test]
async fn deliveries_are_sent_searched_and_shown() {
    let api = ProviderApi::start(vec![Answer::Pages(vec![Vec::new()])]).await;
    let (folder, api) = (temp_dir(), api.url().to_string());
    let server = with(folder.path(), &[], "127.0.0.1:0", &api);
    let (server, address) = Deploywatch::serve(server).await;
    let listen = address.to_string();
    let run = async |arguments: &[&str]| with(folder.path(), arguments, &listen, &api).finish().await;
    let good = async |arguments: &[&str]| -> String {
        let Finished { code, stdout, stderr } = run(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}");
        stdout
    };

    assert!(good(&["webhook", "send"]).await.starts_with("200"));
    assert!(
        good(&["webhook", "send", "--version", "v2"]).await.starts_with("200"),
        "the previous one is accepted"
    );
    assert!(good(&["webhook", "send", "stripe"]).await.starts_with("200"));
    let forged = folder.path().join("forged");
    std::fs::write(&forged, "a-secret-that-nobody-knows\n").unwrap();
    let refused = run(&["webhook", "send", "--secret-file", forged.to_str().unwrap()]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.stdout.starts_with("401"), "{}", refused.stdout);

    let rows = |text: &str| text.lines().filter(|line| line.contains("dlv_")).count();
    assert_eq!(rows(&good(&["webhook", "list"]).await), 4);
    assert_eq!(rows(&good(&["webhook", "list", "--outcome", "refused"]).await), 1);
    assert_eq!(
        rows(&good(&["webhook", "list", "--source", "stripe", "--event", "deploywatch_test"]).await),
        1
    );
    assert_eq!(rows(&good(&["webhook", "list", "--source", "lemonsqueezy", "--version", "v2"]).await), 1);
    assert_eq!(rows(&good(&["webhook", "list", "--since", "1h"]).await), 4);
    assert_eq!(rows(&good(&["webhook", "list", "--until", "2020-01-01T00:00:00Z"]).await), 0);
    let first = run(&["webhook", "list", "--limit", "3"]).await;
    assert_eq!(rows(&first.stdout), 3);
    let next = first.stderr.split("--before ").nth(1).expect("it says how to go on").trim().to_owned();
    let rest = good(&["webhook", "list", "--before", &next]).await;
    assert_eq!(rows(&rest), 1);
    let id = rest.split_whitespace().find(|word| word.starts_with("dlv_")).unwrap().to_owned();
    assert!(good(&["webhook", "show", &id]).await.contains("test_on_live"));

    for (arguments, expected) in [
        (["webhook", "list", "--class", "nonsense"], "there are verified"),
        (["webhook", "list", "--outcome", "lost"], "accepted, refused, duplicate and late"),
        (["webhook", "list", "--version", "v9"], "secret list"),
        (["webhook", "list", "--since", "yesterday"], "such as 6h"),
    ] {
        let wrong = run(&arguments).await;
        assert_eq!(wrong.code, 2, "{arguments:?}");
        assert!(wrong.stderr.contains(expected), "{arguments:?}: {}", wrong.stderr);
    }
    server.terminate().await;
}

#[tokio::test]
async fn an_audit_says_what_does_not_fit_and_ends_accordingly() {
    let fits = webhook("7", OURS, &["order_created"], None, false);
    let api = ProviderApi::start(vec![Answer::Pages(vec![vec![fits]])]).await;
    let (folder, url) = (temp_dir(), api.url().to_string());
    // The first start takes in the secrets of the environment.
    let (server, _) = Deploywatch::serve(with(folder.path(), &[], "127.0.0.1:0", &url)).await;
    server.terminate().await;
    let run = async |arguments: &[&str]| with(folder.path(), arguments, "127.0.0.1:0", &url).finish().await;
    let well = run(&["webhook", "audit"]).await;
    assert_eq!(well.code, 0, "{}{}", well.stdout, well.stderr);
    assert!(well.stdout.contains("as it should be"), "{}", well.stdout);

    let local = webhook("7", "http://localhost/webhooks/lemonsqueezy?token=canary", &[], None, false);
    api.answer(vec![Answer::Pages(vec![vec![local]])]);
    let wrong = run(&["webhook", "audit", "--format", "json"]).await;
    assert_eq!(wrong.code, 1);
    let found: serde_json::Value = serde_json::from_str(&wrong.stdout).unwrap();
    assert_eq!(found["findings"][0]["code"], "local_address");
    assert!(!wrong.stdout.contains("canary"));

    api.answer(vec![Answer::Status(401, Vec::new())]);
    let refused = run(&["webhook", "audit"]).await;
    assert_eq!(refused.code, 3);
    assert!(
        refused.stderr.contains("Settings > API") && !refused.stderr.contains("canary"),
        "{}",
        refused.stderr
    );

    let none = run(&["webhook", "audit", "stripe"]).await;
    assert_eq!(none.code, 2);
    assert!(none.stderr.contains("no other provider"), "{}", none.stderr);
}

#[tokio::test]
async fn the_open_questions_are_listed_with_their_steps_and_answers_are_kept() {
    let folder = temp_dir();
    let run = async |arguments: &[&str]| {
        with(folder.path(), arguments, "127.0.0.1:0", "http://127.0.0.1:1").finish().await
    };
    let open = run(&["doctor", "lemonsqueezy"]).await;
    assert_eq!(open.code, 0, "{}", open.stderr);
    assert!(open.stdout.contains("open   Do retries repeat the body's exact bytes? (retries_keep_bytes)"));
    assert!(open.stderr.contains("0 of 12 questions are settled"), "{}", open.stderr);
    let told = run(&["doctor", "lemonsqueezy", "--record", "timeout=30 s", "--list"]).await;
    assert!(told.stdout.contains("30 s: seen by a person"), "{}", told.stdout);
    assert!(run(&["doctor", "lemonsqueezy"]).await.stderr.contains("1 of 12"));
    let wrong = run(&["doctor", "lemonsqueezy", "--record", "timeout"]).await;
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("QUESTION=ANSWER"), "{}", wrong.stderr);
}
