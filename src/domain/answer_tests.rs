use super::*;
use crate::domain::verdict::Reason;

#[test]
fn every_verdict_has_its_word_in_each_system() {
    use VerdictState as S;
    for (state, check_run, status, deployment, vercel) in [
        (S::Deploying, None, "pending", None, None),
        (S::Verifying, None, "pending", None, None),
        (S::Passed, Some("success"), "success", Some("success"), Some("succeeded")),
        (S::PassedWithWarnings, Some("neutral"), "success", Some("success"), Some("neutral")),
        (S::Failed, Some("failure"), "failure", Some("failure"), Some("failed")),
        (S::Inconclusive, Some("action_required"), "error", Some("error"), Some("timeout")),
        (S::Superseded, Some("cancelled"), "error", None, Some("canceled")),
        (S::Cancelled, Some("cancelled"), "error", None, Some("canceled")),
    ] {
        let conclusion = Conclusion::of(state);
        assert_eq!(conclusion.check_run(), check_run, "{state:?}");
        assert_eq!(conclusion.commit_status(), status, "{state:?}");
        assert_eq!(conclusion.deployment(), deployment, "{state:?}");
        assert_eq!(conclusion.vercel(), vercel, "{state:?}");
    }
}

#[test]
fn a_rule_is_approved_rejected_or_told_to_wait() {
    for (answer, approved) in [
        (GateAnswer::Go, Some(true)),
        (GateAnswer::Wait, None),
        (GateAnswer::Stop, Some(false)),
        (GateAnswer::Inconclusive, Some(false)),
    ] {
        let reasons = vec![Reason { code: "x".into(), check: None, message: "why".into() }];
        let decision = GateDecision { answer, effective: None, reasons };
        let said = Permission::of(&decision, &["STOP: a".into(), "  value  3".into()], Some("https://x/d"));
        assert_eq!(said.approved, approved, "{answer:?}");
        assert_eq!(said.comment, "STOP: a\nvalue  3\nhttps://x/d");
    }
}

#[test]
fn retries_grow_keep_to_what_was_asked_and_end_after_about_a_day() {
    let seconds = |failures, status, asked| retry_after(failures, status, asked).map(|d| d.as_secs());
    assert_eq!(seconds(1, None, None), Some(5));
    assert_eq!(seconds(2, Some(502), None), Some(10));
    assert_eq!(seconds(60, Some(502), None), Some(900));
    assert_eq!(seconds(1, Some(429), Some(120)), Some(120));
    assert_eq!(seconds(1, Some(429), Some(1_000_000)), Some(3_600), "never longer than an hour");
    assert_eq!(seconds(1, Some(401), None), Some(60));
    for status in [None, Some(503), Some(404)] {
        let all: Vec<i64> = (1..).map_while(|failures| seconds(failures, status, None)).collect();
        let hours = all.iter().sum::<i64>() / 3_600;
        assert!((20..=30).contains(&hours), "{status:?}: {hours} hours in {} tries", all.len());
    }
}

#[test]
fn a_status_is_short_and_a_cell_stays_in_its_cell() {
    assert_eq!(shortened(&"x".repeat(200), 140).chars().count(), 140);
    assert_eq!(cell("a|b\n<c>"), "a\\|b &lt;c>");
}
