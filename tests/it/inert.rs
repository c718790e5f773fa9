//! Text from outside is text everywhere: on pages, in mails and in reports for CI. A browser reads them all and
//! runs nothing of it.

use deploywatch::domain::clock::Clock;
use deploywatch::domain::incident::{IncidentKind, Signal};
use deploywatch::services::{alerting, outbox};
use deploywatch::store::incidents::Which;
use deploywatch::store::{incidents, notifications};
use sqlx::{Connection, Executor, SqliteConnection};

use crate::alerts::{facts, key, member};
use crate::support::app::TestApp;
use crate::support::process::Invocation;
use crate::support::smtp::{Behaviour, SmtpServer};
use crate::support::{Engine, browser};

/// What would run, each where it stands: as content, in an attribute, in an address, in a template, in a comment.
const CORPUS: [&str; 9] = [
    "<script>document.title='PWNED'</script>",
    "<img src=x onerror=\"document.title='PWNED'\">",
    "\"><svg/onload=document.title='PWNED'>",
    "' onmouseover='document.title=1' x='",
    "javascript:document.title='PWNED'",
    "</title></pre></textarea><script>document.title='PWNED'</script>",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "--><iframe srcdoc=\"<script>parent.document.title='PWNED'</script>\">",
    "]]><!--\u{202e}\u{0}\u{7}\r\nBcc: eve@example.com",
];

/// What the browser made of a page: nothing of ours ran, nothing became an element.
fn is_inert(what: &str, dom: &str) {
    assert!(!dom.contains("<title>PWNED"), "{what}: a script ran");
    for element in [
        "<script>document",
        "<img src=\"x\"",
        "<svg onload",
        "<svg/onload",
        "onmouseover=\"document",
        "<iframe srcdoc",
    ] {
        assert!(!dom.contains(element), "{what} holds {element}:\n{dom}");
    }
    assert!(!dom.contains("href=\"javascript:"), "{what} links to a script:\n{dom}");
    assert!(!dom.contains("49${7*7}") && !dom.contains("{{49"), "{what} is a template of a template");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_mails_show_it_and_run_none_of_it() {
    let server = SmtpServer::start(Behaviour::Accept).await;
    let app = TestApp::start_on(Engine::Sqlite, |settings| {
        server.lead_here(settings);
        settings.http.public_url = Some("https://watch.example.com".parse().unwrap());
    })
    .await;
    let ctx = app.ctx();
    let at = app.clock.now();
    let mut evil = facts(&[], at);
    let all = CORPUS.join(" ");
    evil.headline = all.clone();
    evil.subject = all.clone();
    evil.label = all.clone();
    evil.next_steps = CORPUS.map(str::to_owned).to_vec();
    evil.context = CORPUS.map(|text| (text.to_owned(), text.to_owned())).to_vec();
    evil.members = CORPUS
        .iter()
        .map(|text| {
            let mut member = member(text, at);
            member.message = (*text).to_owned();
            member.observed = (*text).to_owned();
            member.runbook = Some((*text).to_owned());
            member
        })
        .collect();
    let mut tx = ctx.db.begin().await.unwrap();
    let signal = Signal::Firing { key: key(IncidentKind::ChecksFailed), at, facts: evil };
    alerting::record(ctx, &mut tx, &[signal]).await.unwrap();
    tx.commit().await.unwrap();
    outbox::send_due(ctx).await.unwrap();

    let mail = server.letters().remove(0);
    assert!(!mail.subject.contains(['\r', '\n']) && mail.subject.is_ascii());
    assert_eq!(mail.header("Bcc"), None, "no text became a header");
    let text = &mail.text;
    assert!(!text.contains("\nBcc:") && !text.contains('\u{202e}'), "{text}");
    // The mail itself, as it came over the wire.
    let folder = crate::support::temp_dir();
    let page = folder.path().join("mail.html");
    std::fs::write(&page, &mail.html).unwrap();
    let dom = browser::dump_dom(&format!("file://{}", page.display()));
    assert!(dom.contains("PWNED"), "the mail shows the text:\n{dom}");
    is_inert("the mail", &dom);
    let at = text.find("https://watch.example.com/act/ack.").unwrap() + "https://watch.example.com".len();
    let act = text[at..].split_whitespace().next().unwrap();
    let incident = {
        let mut reader = ctx.db.reader().await.unwrap();
        incidents::list(&mut reader, Which::All, None, 1).await.unwrap().remove(0).incident.id
    };
    let mail = {
        let mut reader = ctx.db.reader().await.unwrap();
        notifications::list_recent(&mut reader, 1).await.unwrap().remove(0).notification.id
    };
    for path in [
        "/".to_owned(),
        format!("/incidents/{incident}"),
        "/inbox".into(),
        format!("/inbox/{mail}"),
        format!("/inbox/{mail}/html"),
        format!("/silences/new?incident={incident}"),
        act.to_owned(),
    ] {
        let dom = browser::dump_dom(&app.url(&path));
        assert!(dom.contains("PWNED"), "{path} shows the text:\n{dom}");
        is_inert(&path, &dom);
    }
}

#[tokio::test]
async fn reports_for_ci_keep_it_in_its_place() {
    let folder = crate::support::temp_dir();
    let url = format!("sqlite:{}", folder.path().join("product.db").display());
    let mut product = SqliteConnection::connect(&format!("{url}?mode=rwc")).await.unwrap();
    product
        .execute("CREATE TABLE users (id INTEGER PRIMARY KEY); INSERT INTO users VALUES (1)")
        .await
        .unwrap();
    product.close().await.unwrap();
    let mut suite = String::from("suite: evil\ntables:\n  users:\n");
    for text in CORPUS.map(|text| text.replace(['\u{0}', '\u{7}', '\u{202e}'], "")) {
        let title = serde_json::to_string(&text).unwrap();
        suite.push_str(&format!("    - row_count:\n      key: check-{}\n", suite.len()));
        suite.push_str(&format!("      title: {title}\n      fail: {{ below: 5 }}\n"));
    }
    let file = folder.path().join("evil.yaml");
    std::fs::write(&file, suite).unwrap();
    let summary = folder.path().join("summary.md");
    let check = async |format: &str| {
        Invocation::new()
            .args(["check", "--database-url", &url, "--format", format])
            .args([&file])
            .env("GITHUB_STEP_SUMMARY", &summary)
            .finish()
            .await
    };
    let junit = check("junit").await;
    assert_eq!(junit.code, 1, "{}{}", junit.stdout, junit.stderr);
    let page = folder.path().join("junit.xml");
    std::fs::write(&page, &junit.stdout).unwrap();
    let dom = browser::dump_dom(&format!("file://{}", page.display()));
    assert!(!dom.contains("parsererror") && !dom.contains("error on line"), "it is XML:\n{}", junit.stdout);
    is_inert("JUnit", &dom);

    let github = check("github").await;
    assert_eq!(github.code, 1, "{}{}", github.stdout, github.stderr);
    let commands = github.stdout.lines().filter(|line| line.starts_with("::")).count();
    assert_eq!(commands, CORPUS.len(), "one command for each check, and none that a title made");
    let markdown = std::fs::read_to_string(&summary).unwrap();
    for tag in ["<script", "<img", "<svg", "<iframe", "</title"] {
        assert!(!markdown.contains(tag), "{markdown}");
    }
    let rows = markdown.lines().filter(|line| line.starts_with("| fail")).count();
    assert_eq!(rows, CORPUS.len(), "each in its row:\n{markdown}");
}
