//! The gate's answer for machines that read CI output: JUnit, GitHub's annotations, GitHub's job summary.

use std::fmt::Write;

use crate::api::deploys::{DeployView, FailingView};
use crate::api::gate::GateView;
use crate::domain::check::Severity;
use crate::domain::gate::GateAnswer;
use crate::domain::observation::Outcome;
use crate::domain::verdict::CheckStanding;

/// One test case for each check: fail is a failure, what could not be measured an error, a warning passes
/// with its text. Where no check explains an answer that is not a go, the gate is a case itself: a report that is
/// all green beside a red step would be believed.
pub fn junit(view: &GateView) -> String {
    let checks = view.deploy.as_ref().map(|deploy| deploy.checks.as_slice()).unwrap_or_default();
    let cases: Vec<(Case, &CheckStanding)> = checks.iter().map(|check| (case(check), check)).collect();
    let count = |wanted: Case| cases.iter().filter(|(case, _)| *case == wanted).count();
    let gate = match view.answer {
        GateAnswer::Go => None,
        GateAnswer::Stop => Some(Case::Failure),
        _ => Some(Case::Error),
    };
    let gate = gate.filter(|wanted| count(*wanted) == 0);
    let with_gate = |wanted: Case| count(wanted) + usize::from(gate == Some(wanted));
    let name = view.deploy.as_ref().map_or_else(|| "deploywatch".to_owned(), title);
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let _ = writeln!(
        xml,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">",
        escape(&name),
        cases.len() + usize::from(gate.is_some()),
        with_gate(Case::Failure),
        with_gate(Case::Error),
        count(Case::Skipped)
    );
    if let Some(gate) = gate {
        let message = escape(&view.explanation.join(" "));
        let element = if gate == Case::Failure { "failure" } else { "error" };
        let _ = writeln!(
            xml,
            "    <testcase classname=\"deploywatch\" name=\"gate\"><{element} message=\"{message}\"/></testcase>"
        );
    }
    for (case, check) in cases {
        let _ = write!(
            xml,
            "    <testcase classname=\"{}\" name=\"{}\">",
            escape(check.severity.as_str()),
            escape(check.key.as_str())
        );
        let message = escape(&check.message);
        let _ = match case {
            Case::Failure => write!(xml, "<failure message=\"{message}\"/>"),
            Case::Error => write!(xml, "<error message=\"{message}\"/>"),
            Case::Skipped => write!(xml, "<skipped message=\"{message}\"/>"),
            Case::Pass => write!(xml, "<system-out>{message}</system-out>"),
        };
        xml.push_str("</testcase>\n");
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Pass,
    Failure,
    Error,
    Skipped,
}

fn case(check: &CheckStanding) -> Case {
    match check.last {
        _ if check.breached && check.enforced => Case::Failure,
        Some(Outcome::Fail) if check.enforced => Case::Failure,
        Some(Outcome::Error | Outcome::NoData | Outcome::Missed) => Case::Error,
        Some(Outcome::Skipped) | None => Case::Skipped,
        Some(Outcome::Pass | Outcome::Warn | Outcome::Fail) => Case::Pass,
    }
}

/// GitHub's workflow commands: one line for each failing check, or for the answer where it is not a go. Red is only
/// what stops: a check that fails beside a go, such as one that a person has decided about, is a warning.
pub fn annotations(view: &GateView) -> Vec<String> {
    let failing = view.deploy.as_ref().map(|deploy| deploy.failing.as_slice()).unwrap_or_default();
    let mut lines: Vec<String> = failing
        .iter()
        .map(|check| {
            let stops = check.severity == Severity::Critical && view.answer != GateAnswer::Go;
            let level = if stops { "error" } else { "warning" };
            command(level, &check.title, &sentence(check))
        })
        .collect();
    if lines.is_empty() && view.answer != GateAnswer::Go {
        let text = view.reasons.first().map_or("no reason given", |reason| reason.message.as_str());
        let level = if view.answer == GateAnswer::Stop { "error" } else { "warning" };
        lines.push(command(level, &format!("deploywatch: {}", view.answer.as_str()), text));
    }
    lines
}

fn command(level: &str, title: &str, text: &str) -> String {
    // Newlines and percent signs end or change a workflow command.
    let data = |s: &str| s.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |s: &str| data(s).replace(':', "%3A").replace(',', "%2C");
    format!("::{level} title={}::{}", property(title), data(text))
}

/// Markdown for the page of the run.
pub fn summary(view: &GateView) -> String {
    let mut text = format!("### deploywatch: {}\n\n", view.answer.as_str());
    if let Some(deploy) = &view.deploy {
        let _ = writeln!(text, "{}\n", cell(&title(deploy)));
        if view.answer != GateAnswer::Go {
            // Indented lines are a block of code, which nothing in them can leave.
            view.explanation.iter().for_each(|line| {
                let _ = writeln!(text, "    {}", line.replace(['\n', '\r'], " "));
            });
            text.push('\n');
        }
        if !deploy.failing.is_empty() {
            text.push_str("| check | value | before | since |\n| --- | --- | --- | --- |\n");
            for check in &deploy.failing {
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} |",
                    cell(&check.title),
                    cell(&check.message),
                    cell(check.before.as_deref().unwrap_or("-")),
                    cell(check.since.as_deref().unwrap_or("-"))
                );
            }
            text.push('\n');
        }
        if let Some(url) = &deploy.url {
            let _ = writeln!(text, "[Look at the deploy]({url})\n");
        }
    }
    let said = |message: &str| view.explanation.iter().any(|line| line.contains(message));
    for reason in view.reasons.iter().filter(|reason| reason.code != "breached" && !said(&reason.message)) {
        let _ = writeln!(text, "- {}", cell(&reason.message));
    }
    text.push('\n');
    text
}

fn sentence(check: &FailingView) -> String {
    let mut text = check.message.clone();
    if let Some(since) = &check.since {
        let _ = write!(text, "; since {since}");
    }
    if let Some(runbook) = &check.runbook {
        let _ = write!(text, "; runbook: {runbook}");
    }
    text
}

fn title(deploy: &DeployView) -> String {
    format!("{} in {}", deploy.version, deploy.environment)
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ").replace('<', "&lt;")
}

fn escape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            // XML 1.0 has no other control characters, not even as references.
            '\n' | '\t' => " ".to_owned(),
            c if c.is_control() => String::new(),
            c => c.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What the gate said, as it comes over the wire: the answer, with a deploy of these checks and failing checks.
    fn view(answer: &str, deploy: Option<(&[Value], &[Value])>) -> GateView {
        let at = "2026-05-01T12:00:00Z";
        let counts = json!({ "checks": 0, "pass": 0, "warn": 0, "fail": 0, "error": 0, "no_data": 0, "missed": 0,
                             "skipped": 0 });
        let deploy = deploy.map(|(checks, failing)| {
            json!({ "id": "dep_1", "environment": "acme-production", "version": "v1", "attempt": 1,
                    "kind": "normal", "state": "verifying", "effective": "verifying", "stage": "smoke",
                    "smoke": "verifying", "since": at, "started_at": at, "coverage": 1.0, "counts": counts,
                    "reasons": [], "failing": failing, "checks": checks, "etag": "1" })
        });
        let view = json!({ "answer": answer, "exit_code": 0, "at": at, "deploy": deploy,
                           "reasons": [{ "code": "not_measured", "message": "the target does not answer" }],
                           "explanation": ["STOP: 100% of <it>", "look at the log"] });
        serde_json::from_value(view).unwrap()
    }

    fn check(key: &str, last: Option<&str>, (breached, enforced): (bool, bool)) -> Value {
        json!({ "key": key, "title": key, "severity": "critical", "enforced": enforced, "last": last,
                "breached": breached, "recovered": false, "unobservable": false, "planned": 1, "conclusive": 1,
                "fails": 0, "unit": "violations", "reason": "r", "message": format!("{key} says so") })
    }

    fn failing(severity: &str) -> Value {
        json!({ "key": "credits", "title": "Credits", "severity": severity, "breached": true, "recovered": false,
                "reason": "r", "message": "1 user lost them", "since": "T+00:07", "fails": 1, "runs": 1,
                "runbook": "https://example.com/credits" })
    }

    fn line(xml: &str, key: &str) -> String {
        let name = format!("name=\"{key}\"");
        xml.lines().find(|line| line.contains(&name)).unwrap_or_default().trim().to_owned()
    }

    #[test]
    fn each_check_is_a_case_of_its_own_sort() {
        let checks = [
            check("latched", Some("pass"), (true, true)),
            check("fails", Some("fail"), (false, true)),
            check("in_shadow", Some("fail"), (false, false)),
            check("warns", Some("warn"), (false, true)),
            check("unreadable", Some("error"), (false, true)),
            check("empty", Some("no_data"), (false, true)),
            check("late", Some("missed"), (false, true)),
            check("told", Some("skipped"), (false, true)),
            check("new", None, (false, true)),
        ];
        let xml = junit(&view("stop", Some((&checks, &[]))));
        assert!(
            xml.contains(
                "name=\"v1 in acme-production\" tests=\"9\" failures=\"2\" errors=\"3\" skipped=\"2\""
            ),
            "{xml}"
        );
        for (key, element) in [
            ("latched", "failure"),
            ("fails", "failure"),
            ("in_shadow", "system-out"),
            ("warns", "system-out"),
            ("unreadable", "error"),
            ("empty", "error"),
            ("late", "error"),
            ("told", "skipped"),
            ("new", "skipped"),
        ] {
            assert!(line(&xml, key).contains(&format!("<{element}")), "{key}: {xml}");
            assert!(line(&xml, key).contains(&format!("{key} says so")), "{key}: {xml}");
        }
        assert_eq!(line(&xml, "gate"), "", "a check explains the stop");
    }

    #[test]
    fn a_stop_that_no_check_explains_is_a_case_itself() {
        let passing = [check("holds", Some("pass"), (false, true))];
        for (answer, deploy, element) in [
            ("stop", Some((&passing[..], &[][..])), Some("failure")),
            ("inconclusive", Some((&passing[..], &[][..])), Some("error")),
            ("wait", None, Some("error")),
            ("gone", None, Some("error")),
            ("unknown", None, Some("error")),
            ("go", Some((&passing[..], &[][..])), None),
            ("go", None, None),
        ] {
            let xml = junit(&view(answer, deploy));
            let gate = line(&xml, "gate");
            match element {
                Some(element) => assert_eq!(
                    gate,
                    format!(
                        "<testcase classname=\"deploywatch\" name=\"gate\"><{element} message=\"STOP: 100% of \
                         &lt;it&gt; look at the log\"/></testcase>"
                    )
                ),
                None => assert_eq!(gate, "", "{answer}"),
            }
            let (failures, errors) = (element == Some("failure"), element == Some("error"));
            let counts = format!("failures=\"{}\" errors=\"{}\"", u8::from(failures), u8::from(errors));
            assert!(xml.contains(&counts), "{answer}: {xml}");
        }
    }

    #[test]
    fn only_what_stops_is_annotated_in_red() {
        let lines = |answer: &str, failing: &[Value]| annotations(&view(answer, Some((&[], failing))));
        let says = "title=Credits::1 user lost them; since T+00:07; runbook: https://example.com/credits";
        assert_eq!(lines("stop", &[failing("critical")]), [format!("::error {says}")]);
        assert_eq!(lines("go", &[failing("critical")]), [format!("::warning {says}")]);
        assert_eq!(lines("stop", &[failing("warning")]), [format!("::warning {says}")]);
        assert_eq!(lines("stop", &[]), ["::error title=deploywatch%3A stop::the target does not answer"]);
        assert_eq!(
            lines("inconclusive", &[]),
            ["::warning title=deploywatch%3A inconclusive::the target does not answer"]
        );
        assert_eq!(lines("go", &[]), Vec::<String>::new());
    }

    #[test]
    fn a_workflow_command_cannot_be_broken_out_of() {
        let line = command("error", "a:b,c", "100% gone\n::set-output name=x::y");
        assert_eq!(line, "::error title=a%3Ab%2Cc::100%25 gone%0A::set-output name=x::y");
    }

    #[test]
    fn what_goes_into_xml_is_xml() {
        assert_eq!(escape("a<b> & \"c\"\n\u{1}d"), "a&lt;b&gt; &amp; &quot;c&quot; d");
    }
}
