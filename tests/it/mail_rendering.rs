//! Every kind of mail as a mail program shows it: in Chromium, narrow and wide, light and dark, all at once.

use std::path::Path;

use serde::Deserialize;

use crate::support::browser;
use crate::support::process::Invocation;

/// What the page below measured of one mail in one frame.
#[derive(Debug, Deserialize)]
struct Measured {
    name: String,
    width: u32,
    scheme: String,
    /// The frame's own colour scheme: proof that the mail was told.
    dark: bool,
    scroll_width: u32,
    texts: u32,
    /// Texts whose contrast is below what WCAG AA asks for, with their ratio.
    faint: Vec<String>,
}

/// Frames for each mail, and a script that looks into them once all are loaded.
const LOOK: &str = r#"
function channel(v) { v /= 255; return v <= 0.04045 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); }
function luminance(c) { return 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]); }
function colour(text) { const p = text.match(/[\d.]+/g).map(Number); return p.length < 4 ? [...p, 1] : p; }
function ground(element, view) {
  for (let e = element; e; e = e.parentElement) {
    const c = colour(view.getComputedStyle(e).backgroundColor);
    if (c[3] > 0.99) return c;
  }
  return [255, 255, 255, 1];
}
function look(frame) {
  const view = frame.contentWindow, doc = frame.contentDocument, faint = [];
  const walker = doc.createTreeWalker(doc.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || element.tagName === "STYLE" || !element.getClientRects().length) continue;
    const style = view.getComputedStyle(element);
    if (style.fontSize === "0px") continue;
    texts += 1;
    const a = luminance(colour(style.color)), b = luminance(ground(element, view));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.push(ratio.toFixed(2) + " " + text.slice(0, 40));
  }
  return {
    name: frame.dataset.name, width: +frame.dataset.width, scheme: frame.dataset.scheme,
    dark: view.matchMedia("(prefers-color-scheme: dark)").matches,
    scroll_width: doc.documentElement.scrollWidth, texts: texts, faint: faint,
  };
}
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(look);
  document.getElementById("found").textContent = JSON.stringify(found);
});
"#;

fn page(folder: &Path) -> (String, usize) {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder can be read")
        .map(|entry| entry.expect("an entry can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "html"))
        .collect();
    files.sort();
    let mut frames = String::new();
    for file in &files {
        let name = file.file_stem().unwrap().to_string_lossy();
        let mail = std::fs::read_to_string(file).expect("a mail can be read");
        let inert = mail.replace('&', "&amp;").replace('"', "&quot;");
        for (width, scheme) in [(320, "light"), (320, "dark"), (600, "light"), (600, "dark")] {
            frames.push_str(&format!(
                "<iframe data-name=\"{name}\" data-width=\"{width}\" data-scheme=\"{scheme}\" width=\"{width}\" \
                 height=\"900\" style=\"border:0;color-scheme:{scheme}\" srcdoc=\"{inert}\"></iframe>\n"
            ));
        }
    }
    let text = format!(
        "<!doctype html><meta charset=\"utf-8\"><script>{LOOK}</script>{frames}<pre id=\"found\"></pre>"
    );
    (text, files.len())
}

#[tokio::test]
async fn every_mail_is_readable_narrow_and_wide_light_and_dark() {
    let folder = crate::support::temp_dir();
    let written = Invocation::new().args(["email", "preview", "--dir"]).args([folder.path()]).finish().await;
    assert_eq!(written.code, 0, "{}", written.stderr);
    let (text, mails) = page(folder.path());
    assert!(mails >= 20, "every kind is there: {mails}");
    let file = folder.path().join("all.htm");
    std::fs::write(&file, text).unwrap();
    let dom = browser::dump_dom(&format!("file://{}", file.display()));
    let (_, rest) = dom.rsplit_once("<pre id=\"found\">").expect("the page is whole");
    let json =
        rest.split("</pre>").next().unwrap().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let found: Vec<Measured> = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!(found.len(), mails * 4);
    for seen in &found {
        let case = format!("{} at {} px, {}", seen.name, seen.width, seen.scheme);
        assert_eq!(seen.dark, seen.scheme == "dark", "{case}: the mail was not told");
        assert!(seen.texts > 3, "{case}: nothing to read");
        assert!(seen.scroll_width <= seen.width, "{case}: {} px wide", seen.scroll_width);
        assert!(seen.faint.is_empty(), "{case}: {:?}", seen.faint);
    }
}
