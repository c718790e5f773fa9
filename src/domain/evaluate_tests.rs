use serde_json::json;

use super::*;
use crate::domain::check::CheckKey;
use crate::domain::measurement::{MeasureError, MeasureErrorCode};
use crate::domain::wording::Wording;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn slot() -> SlotFacts {
    let slot_at = at("2026-05-01T12:05:00Z");
    SlotFacts { slot_at, observed_at: slot_at, confirm: false, finished_at: Some(at("2026-05-01T12:00:00Z")) }
}

fn violations() -> CheckPolicy {
    CheckPolicy {
        fail: Some(Threshold { above: Some(Bound::Number(0.0)), ..Threshold::default() }),
        wording: Wording::counted(
            "row of users",
            "rows of users",
            "has no credits row",
            "have no credits row",
        ),
        ..CheckPolicy::new("users.join_integrity.id", "join_integrity")
    }
}

fn rows() -> CheckPolicy {
    CheckPolicy {
        warn: Some(Threshold { drop_above: Some(Bound::Number(0.0)), ..Threshold::default() }),
        fail: Some(Threshold {
            below: Some(Bound::Number(1.0)),
            drop_above: Some(Bound::Percent(1.0)),
            ..Threshold::default()
        }),
        wording: Wording::valued("users has", "rows"),
        ..CheckPolicy::new("users.row_count", "row_count")
    }
}

fn measured(value: Option<f64>, unit: Unit, tested: Option<f64>) -> Measurement {
    with(Ok(Measured { value, unit, tested, ..Measured::default() }))
}

fn with(result: Result<Measured, MeasureError>) -> Measurement {
    Measurement {
        key: CheckKey("any".into()),
        definition_hash: "h1".into(),
        result,
        duration_ms: 3,
        carried: false,
        proved: None,
        isolated: false,
        statement: None,
    }
}

fn say(check: &CheckPolicy, now: &Measurement, baseline: BaselineFor<'_>) -> String {
    let seen = evaluate(check, now, baseline, slot());
    format!("{} {} | {}", seen.outcome.as_str(), seen.reason, seen.message)
}

#[test]
fn violations_with_and_without_a_baseline() {
    let check = violations();
    let none = measured(Some(0.0), Unit::Violations, Some(1000.0));
    let one = measured(Some(1.0), Unit::Violations, Some(1000.0));
    let five = measured(Some(5.0), Unit::Violations, Some(1000.0));
    for (now, baseline, expected) in [
        (&none, BaselineFor::Missing, "pass pass | 0 of 1,000 rows of users have no credits row"),
        (&one, BaselineFor::Missing, "fail fail.above | 1 of 1,000 rows of users has no credits row"),
        (
            &one,
            BaselineFor::Usable(&none),
            "fail fail.above | 1 of 1,000 rows of users has no credits row; none before the deploy",
        ),
        (
            &five,
            BaselineFor::Usable(&one),
            "fail fail.above | 5 of 1,000 rows of users have no credits row; 1 before the deploy",
        ),
        (
            &five,
            BaselineFor::Usable(&five),
            "fail fail.above | 5 of 1,000 rows of users have no credits row; as many before the deploy",
        ),
    ] {
        assert_eq!(say(&check, now, baseline), expected);
    }
}

#[test]
fn row_counts_against_a_baseline() {
    let check = rows();
    let count = |rows: f64| measured(Some(rows), Unit::Rows, None);
    let before = count(1000.0);
    for (now, baseline, expected) in [
        (count(1000.0), BaselineFor::Usable(&before), "pass pass | users has 1,000 rows"),
        (
            count(1200.0),
            BaselineFor::Usable(&before),
            "pass pass | users has 1,200 rows, 200 (20%) more than the 1,000 before the deploy",
        ),
        (
            count(999.0),
            BaselineFor::Usable(&before),
            "warn warn.drop_above | users has 999 rows, 1 (0.1%) fewer than the 1,000 before the deploy; \
             no drop is allowed",
        ),
        (
            count(600.0),
            BaselineFor::Usable(&before),
            "fail fail.drop_above | users has 600 rows, 400 (40%) fewer than the 1,000 before the deploy; \
             a drop of at most 1% is allowed",
        ),
        // The absolute part fails without any baseline; the rest is not called healthy without one.
        (count(0.0), BaselineFor::Missing, "fail fail.below | users has 0 rows; at least 1 is required"),
        (
            count(1000.0),
            BaselineFor::Missing,
            "skipped skipped.no_baseline | users has 1,000 rows; not compared: there is no baseline",
        ),
        (
            count(1000.0),
            BaselineFor::Stale,
            "no_data no_data.baseline_stale | users has 1,000 rows; not compared: the baseline is too old",
        ),
    ] {
        assert_eq!(say(&check, &now, baseline), expected);
    }
}

#[test]
fn unusable_baselines_are_never_healthy() {
    let check = rows();
    let now = measured(Some(1000.0), Unit::Rows, None);
    let mut changed = now.clone();
    changed.definition_hash = "h2".into();
    let error = MeasureError { code: MeasureErrorCode::Timeout, message: "slow".into(), hint: None };
    let broken = with(Err(error));
    let empty = measured(None, Unit::Rows, None);
    for (baseline, reason) in [
        (&changed, "no_data.definition_changed"),
        (&broken, "no_data.baseline_error"),
        (&empty, "no_data.baseline_empty"),
    ] {
        let seen = evaluate(&check, &now, BaselineFor::Usable(baseline), slot());
        assert_eq!((seen.outcome, seen.reason.as_str()), (Outcome::NoData, reason));
    }
    // A check that compares nothing does not mind.
    let zero = measured(Some(0.0), Unit::Violations, None);
    assert_eq!(evaluate(&violations(), &zero, BaselineFor::Usable(&changed), slot()).outcome, Outcome::Pass);
}

#[test]
fn an_error_is_neither_healthy_nor_a_failure() {
    let error = MeasureError {
        code: MeasureErrorCode::Rls,
        message: "row-level security would hide rows of users from role app".into(),
        hint: Some("grant it BYPASSRLS".into()),
    };
    assert_eq!(
        say(&violations(), &with(Err(error)), BaselineFor::Missing),
        "error error.rls | could not be measured: row-level security would hide rows of users from role app; \
         grant it BYPASSRLS"
    );
}

#[test]
fn an_empty_value_means_what_the_check_says() {
    let empty = measured(None, Unit::Number, None);
    for (on_no_data, outcome) in [
        (OnNoData::Inconclusive, Outcome::NoData),
        (OnNoData::Pass, Outcome::Pass),
        (OnNoData::Fail, Outcome::Fail),
    ] {
        let check = CheckPolicy { on_no_data, ..violations() };
        assert_eq!(evaluate(&check, &empty, BaselineFor::Missing, slot()).outcome, outcome);
    }
}

#[test]
fn a_backfill_has_its_time() {
    let check = CheckPolicy {
        fail: Some(Threshold {
            above: Some(Bound::Number(0.0)),
            after: Some(6 * 3600),
            ..Threshold::default()
        }),
        ..violations()
    };
    let left = measured(Some(400.0), Unit::Violations, Some(1000.0));
    assert_eq!(
        say(&check, &left, BaselineFor::Missing),
        "pass pass.grace | 400 of 1,000 rows of users have no credits row; fails if it is still so in 5 h 55 min"
    );
    let late = SlotFacts { observed_at: at("2026-05-01T18:00:00Z"), ..slot() };
    assert_eq!(evaluate(&check, &left, BaselineFor::Missing, late).outcome, Outcome::Fail);
    let alone = SlotFacts { finished_at: None, ..slot() };
    assert_eq!(evaluate(&check, &left, BaselineFor::Missing, alone).outcome, Outcome::Fail);
}

#[test]
fn drift_says_what_changed() {
    let check = CheckPolicy {
        fail: Some(Threshold { new_above: Some(Bound::Number(0.0)), ..Threshold::default() }),
        wording: Wording::counted(
            "change",
            "changes",
            "in public since the baseline",
            "in public since the baseline",
        ),
        ..CheckPolicy::new("public.drift", "drift")
    };
    let print = |objects: serde_json::Value| {
        with(Ok(Measured {
            fingerprint: Some(json!({"allow": ["add_index"], "objects": objects})),
            ..Measured::default()
        }))
    };
    let before = print(json!({"column users.email": "text", "policy agents.p": "own"}));
    let after = print(json!({"column users.email": "text", "index i": "btree"}));
    assert_eq!(
        say(&check, &after, BaselineFor::Usable(&before)),
        "fail fail.new_above | 1 change in public since the baseline: policy agents.p is gone (was own)"
    );
    assert_eq!(
        say(&check, &before, BaselineFor::Usable(&before)),
        "pass pass | 0 changes in public since the baseline"
    );
    assert_eq!(
        say(&check, &after, BaselineFor::Missing),
        "skipped skipped.no_baseline | not compared: there is no baseline"
    );
}

#[test]
fn a_skipped_condition_and_a_proof_are_said() {
    let skipped =
        with(Ok(Measured { skipped: Some("table jobs does not exist".into()), ..Measured::default() }));
    assert_eq!(
        say(&violations(), &skipped, BaselineFor::Missing),
        "skipped skipped.condition | skipped: table jobs does not exist"
    );
    let mut proved = measured(Some(0.0), Unit::Violations, None);
    proved.proved = Some("unique index users_email_key".into());
    assert_eq!(
        say(&violations(), &proved, BaselineFor::Missing),
        "pass pass | 0 rows of users have no credits row, proved by unique index users_email_key without \
         reading the table"
    );
}

#[test]
fn a_broken_warning_is_said_where_the_failure_cannot_be_decided() {
    let check = CheckPolicy {
        warn: Some(Threshold { below: Some(Bound::Number(10.0)), ..Threshold::default() }),
        fail: Some(Threshold { drop_above: Some(Bound::Percent(1.0)), ..Threshold::default() }),
        ..rows()
    };
    let judged = |value: f64| {
        evaluate(&check, &measured(Some(value), Unit::Rows, None), BaselineFor::Missing, slot()).outcome
    };
    assert_eq!(judged(5.0), Outcome::Warn);
    assert_eq!(judged(50.0), Outcome::Skipped);
    // By itself, without anything to compare with, only what is absolute counts.
    let alone = rows().without_comparison().unwrap();
    let judged = |value: f64| {
        evaluate(&alone, &measured(Some(value), Unit::Rows, None), BaselineFor::Missing, slot()).outcome
    };
    assert_eq!((judged(0.0), judged(1.0)), (Outcome::Fail, Outcome::Pass));
    let only_comparing = CheckPolicy { fail: check.fail.clone(), ..rows() };
    assert_eq!(only_comparing.without_comparison(), None);
}

#[test]
fn a_share_of_what_was_not_read_is_none() {
    let check = CheckPolicy {
        fail: Some(Threshold { above: Some(Bound::Percent(1.0)), ..Threshold::default() }),
        ..violations()
    };
    let mut proved = measured(Some(0.0), Unit::Violations, None);
    proved.proved = Some("NOT NULL on users.email".to_owned());
    assert_eq!(evaluate(&check, &proved, BaselineFor::Missing, slot()).outcome, Outcome::Pass);
    let unknown = measured(Some(1.0), Unit::Violations, None);
    assert_eq!(evaluate(&check, &unknown, BaselineFor::Missing, slot()).outcome, Outcome::NoData);
}

#[test]
fn what_is_noted_warns_and_fails_nothing() {
    let noted = |value: f64| {
        let notes = vec!["fix.sql is not named <timestamp>_<name>.sql".to_owned()];
        with(Ok(Measured { value: Some(value), notes, ..Measured::default() }))
    };
    let seen = evaluate(&violations(), &noted(0.0), BaselineFor::Missing, slot());
    assert_eq!((seen.outcome, seen.reason.as_str()), (Outcome::Warn, "warn.noted"));
    assert_eq!(
        seen.message, "fix.sql is not named <timestamp>_<name>.sql",
        "none found is not said beside it"
    );
    assert_eq!(evaluate(&violations(), &noted(1.0), BaselineFor::Missing, slot()).outcome, Outcome::Fail);
}
