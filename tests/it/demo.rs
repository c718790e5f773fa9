//! README's first command as a new user meets it: the story, then the pages in a real browser.

use std::time::Duration;

use super::support::process::Invocation;
use super::support::{browser, eventually};

/// The story's four turns, in this order.
const TURNS: [&str; 4] =
    ["GO v1.41.0", "An old secret still signs", "STOP v1.42.0", "exactly one credits row"];

fn tells_the_story(said: &str) {
    let mut rest = said;
    for turn in TURNS {
        let at = rest.find(turn).unwrap_or_else(|| panic!("`{turn}` is missing or too early in:\n{said}"));
        rest = &rest[at + turn.len()..];
    }
}

#[tokio::test]
async fn it_ends_by_itself_when_asked_to() {
    let done = Invocation::new().args(["demo", "--no-wait", "--listen", "127.0.0.1:0"]).finish().await;
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    tells_the_story(&done.stdout);
    assert!(!done.stdout.contains('\u{1b}'), "no colours where nobody sees them");
}

#[tokio::test]
async fn it_stays_up_with_its_pages_and_mails_to_look_around() {
    let mut demo = Invocation::new().args(["demo", "--listen", "127.0.0.1:0"]).spawn();
    eventually("the story is told", Duration::from_secs(120), async || {
        demo.assert_running();
        demo.stdout().contains("Ctrl-C").then_some(())
    })
    .await;
    let said = demo.stdout();
    tells_the_story(&said);
    let site = said.split_whitespace().find(|word| word.starts_with("http://")).expect("it says where");
    let site = site.trim_end_matches('/');

    let home = browser::dump_dom(&format!("{site}/"));
    for seen in ["v1.42.0", "v1.41.0", "agentzero-production", "Every user has exactly one credits row"] {
        assert!(home.contains(seen), "the home page lacks {seen}");
    }
    let deploy = first_link(&home, "/deploys/");
    let page = browser::dump_dom(&format!("{site}{deploy}"));
    assert!(page.contains("v1.42.0"), "the newest deploy comes first");
    let incident = browser::dump_dom(&format!("{site}{}", first_link(&home, "/incidents/")));
    assert!(incident.contains("What to do"));

    let inbox = browser::dump_dom(&format!("{site}/inbox"));
    for kind in ["FAIL", "STALE SECRET", "PASSED 24h"] {
        assert!(inbox.contains(kind), "the inbox lacks {kind}");
    }
    let mail = browser::dump_dom(&format!("{site}{}", first_link(&inbox, "/inbox/")));
    assert!(mail.contains("message id") && mail.contains("<iframe"), "the mail is shown with its headers");

    let lost = browser::dump_dom(&format!("{site}/no-such-page"));
    assert!(lost.contains("There is no such thing") && lost.contains("To the dashboard"));
    assert!(demo.terminate().await.success(), "it ends as asked");
}

/// The first link on a page that begins so.
fn first_link<'a>(page: &'a str, prefix: &str) -> &'a str {
    let start = page.find(&format!("href=\"{prefix}")).expect("the page has such a link") + "href=\"".len();
    let end = page[start..].find('"').expect("an attribute ends");
    &page[start..start + end]
}
