//! A real browser without a window, to read pages as people see them.

use std::path::Path;
use std::process::{Command, Stdio};

const INSTALL: &str = "the tests need Chromium; install it, on Debian with\n    apt-get install chromium\n\
                       (scripts/test does that) and run the tests again";

/// The page's DOM after its scripts, if it has any, have run.
pub fn dump_dom(url: &str) -> String {
    let profile = super::temp_dir();
    let output = chromium(profile.path())
        .args(["--dump-dom", url])
        .stderr(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("Chromium cannot be started: {error}; {INSTALL}"));
    assert!(output.status.success(), "Chromium failed on {url}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A picture of the page, `width` by `height` CSS pixels.
pub fn screenshot(url: &str, width: u32, height: u32, file: &Path) {
    let profile = super::temp_dir();
    let status = chromium(profile.path())
        .arg(format!("--window-size={width},{height}"))
        .arg("--hide-scrollbars")
        .arg(format!("--screenshot={}", file.display()))
        .arg(url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap_or_else(|error| panic!("Chromium cannot be started: {error}; {INSTALL}"));
    assert!(status.success() && file.is_file(), "Chromium took no picture of {url}");
}

fn chromium(profile: &Path) -> Command {
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]);
    command.arg(format!("--user-data-dir={}", profile.display())).env("HOME", profile);
    command
}
