use super::*;
use crate::domain::check::CheckKey;
use crate::domain::measurement::Unit;

fn row(key: &str, severity: Severity, outcome: Outcome) -> Row {
    let at = "2026-05-01T12:00:00Z".parse().unwrap();
    Row {
        policy: CheckPolicy { severity, suite: "credits".into(), ..CheckPolicy::new(key, "not_null") },
        observation: Observation {
            key: CheckKey(key.into()),
            slot_at: at,
            observed_at: at,
            outcome,
            reason: format!("{}.above", outcome.as_str()),
            message: "1 of 1,000 rows of users has no \"email\" & <no> name".into(),
            told: None,
            value: Some(1.0),
            unit: Unit::Violations,
            tested: Some(1000.0),
            baseline: None,
            threshold: Some("> 0".into()),
            carried: false,
            proved: None,
            confirm: false,
            duration_ms: 12,
            samples: vec!["3f2a".into()],
            statement: Some("SELECT id\nFROM users WHERE email IS NULL;".into()),
        },
    }
}

fn report(rows: Vec<Row>) -> Report {
    Report {
        environment: "acme".into(),
        server: Some("PostgreSQL 15".into()),
        as_of: Some("2026-05-01T12:00:00Z".parse().unwrap()),
        baseline_at: None,
        duration: Duration::from_millis(1234),
        statements: 7,
        rows: sorted(rows),
    }
}

#[test]
fn exit_codes_tell_a_failure_from_a_blind_spot() {
    use Outcome::{Error, Fail, NoData, Pass, Skipped, Warn};
    use Severity::{Critical, Info, Warning};
    for (rows, on_critical, on_warning) in [
        (vec![(Critical, Pass), (Critical, Skipped)], 0, 0),
        (vec![(Critical, Warn)], 0, 1),
        (vec![(Warning, Fail)], 0, 1),
        (vec![(Info, Fail)], 0, 0),
        (vec![(Critical, Fail), (Critical, Error)], 1, 1),
        (vec![(Critical, Error)], 3, 3),
        (vec![(Critical, NoData)], 3, 3),
        (vec![(Warning, Error)], 0, 3),
    ] {
        let rows = rows.into_iter().map(|(severity, outcome)| row("k", severity, outcome)).collect();
        let report = report(rows);
        assert_eq!(
            (report.exit_code(FailOn::Critical), report.exit_code(FailOn::Warning)),
            (on_critical, on_warning)
        );
    }
}

#[test]
fn what_is_muted_changes_nothing_until_the_mute_ends() {
    let mut muted = row("k", Severity::Critical, Outcome::Fail);
    muted.policy.mode = Mode::Muted { until: "2026-05-02T00:00:00Z".parse().unwrap() };
    assert_eq!(report(vec![muted]).exit_code(FailOn::Critical), 0);
    let mut ended = row("k", Severity::Critical, Outcome::Fail);
    ended.policy.mode = Mode::Muted { until: "2026-05-01T00:00:00Z".parse().unwrap() };
    assert_eq!(report(vec![ended]).exit_code(FailOn::Critical), 1);
}
