use super::*;
use crate::domain::check::{CheckPolicy, Measure, Severity};
use crate::domain::evaluate::{BaselineFor, SlotFacts, evaluate};
use crate::domain::measure::{Catalog, Partners, RowAggregate, TableName, What};
use crate::domain::measurement::{MeasureError, MeasureErrorCode};
use crate::domain::problem::{Object, ObjectKind};
use crate::domain::threshold::{Bound, Threshold};

fn check(key: &str, what: What) -> Check {
    let fail = Threshold { above: Some(Bound::Number(0.0)), ..Threshold::default() };
    Check {
        policy: CheckPolicy { fail: Some(fail), ..CheckPolicy::new(key, "kind") },
        measure: Measure::of(what),
    }
}

fn rows(key: &str, table: &str, aggregate: RowAggregate) -> Check {
    check(key, What::Rows { table: TableName::parse(table).unwrap(), filter: None, aggregate })
}

fn unique(key: &str, column: &str) -> Check {
    rows(key, "users", RowAggregate::Unique { columns: vec![column.to_owned()] })
}

fn orphans(key: &str, table: &str) -> Check {
    let aggregate = RowAggregate::JoinIntegrity {
        columns: vec!["user_id".to_owned()],
        to: TableName::parse("users").unwrap(),
        to_columns: vec!["id".to_owned()],
        to_filter: None,
        partners: Partners::AtLeastOne,
    };
    rows(key, table, aggregate)
}

fn catalog(key: &str) -> Check {
    check(key, What::Catalog(Catalog::IndexesValid { schema: key.to_owned(), require: Vec::new() }))
}

fn broken(count: f64) -> Result<Measured, MeasureError> {
    Ok(Measured { value: Some(count), ..Measured::default() })
}

fn found(problems: Vec<Problem>) -> Result<Measured, MeasureError> {
    Ok(Measured::of_problems(problems))
}

fn no_index(name: &str) -> Problem {
    Problem::about(format!("index {name} does not exist"), Object::new(ObjectKind::Index, name).gone())
}

fn no_column(column: &str) -> Problem {
    let about = Object::new(ObjectKind::Column, column).of("users".to_owned()).gone();
    Problem::about(format!("users.{column} does not exist"), about)
}

fn wrong(message: &str) -> Result<Measured, MeasureError> {
    Err(MeasureError { code: MeasureErrorCode::Sql, message: message.to_owned(), hint: None })
}

/// `key outcome: message` of every check that has something to say, `standing` being those that failed before.
fn told(checks: &[(Check, Result<Measured, MeasureError>)], standing: &[&str]) -> Vec<String> {
    let at = "2026-05-01T12:00:00Z".parse().unwrap();
    let slot = SlotFacts { slot_at: at, observed_at: at, confirm: false, finished_at: None };
    let measurements: Vec<Measurement> = checks
        .iter()
        .map(|(check, result)| Measurement {
            key: check.key().clone(),
            definition_hash: String::new(),
            result: result.clone(),
            duration_ms: 0,
            carried: false,
            proved: None,
            isolated: false,
            statement: None,
        })
        .collect();
    let judge = |index: usize, measurement: &Measurement| {
        evaluate(&checks[index].0.policy, measurement, BaselineFor::Missing, slot)
    };
    let failed_before = |check: &Check| standing.contains(&check.key().as_str());
    let outcomes = judge_all(checks.iter().map(|(check, _)| check), &measurements, failed_before, judge);
    let said = outcomes.iter().filter(|o| o.outcome != Outcome::Pass);
    said.map(|o| format!("{} {}: {}", o.key, o.outcome.as_str(), o.message)).collect()
}

#[test]
fn what_should_have_kept_the_rows_right_is_why_they_are_wrong() {
    let both = |column| {
        [
            (unique("mails", column), broken(2.0)),
            (catalog("indexes"), found(vec![no_index("users_email_key")])),
        ]
    };
    assert_eq!(
        told(&both("email"), &[]),
        [
            "mails fail: 2 rows break the rule; cause: index users_email_key does not exist",
            "indexes skipped: skipped: mails tells it: 1 row breaks the rule: index users_email_key does not exist",
        ]
    );
    // Another column is another matter.
    assert_eq!(told(&both("name"), &[]).iter().filter(|line| line.contains(" fail: ")).count(), 2);
    // It failed before the rows were wrong, and must not seem to have recovered.
    assert_eq!(told(&both("email"), &["indexes"]).iter().filter(|line| line.contains(" fail: ")).count(), 2);
    // Rows that are right say nothing of an index.
    let [(mails, _), indexes] = both("email");
    let alone = told(&[(mails, broken(0.0)), indexes], &[]);
    assert_eq!(alone, ["indexes fail: 1 row breaks the rule: index users_email_key does not exist"]);
}

#[test]
fn what_has_nothing_to_do_with_it_stays() {
    let lost = vec![no_index("users_email_key"), no_index("agents_name_key")];
    assert_eq!(
        told(&[(unique("mails", "email"), broken(1.0)), (catalog("indexes"), found(lost))], &[]),
        [
            "mails fail: 1 row breaks the rule; cause: index users_email_key does not exist",
            "indexes fail: 1 row breaks the rule: index agents_name_key does not exist; mails tells the rest",
        ]
    );
}

#[test]
fn a_check_that_matters_less_does_not_speak_for_one_that_matters_more() {
    for (severity, mode) in [(Severity::Warning, Mode::Enforce), (Severity::Critical, Mode::Shadow)] {
        let mut mails = unique("mails", "email");
        (mails.policy.severity, mails.policy.mode) = (severity, mode);
        let said = told(
            &[(mails, broken(1.0)), (catalog("indexes"), found(vec![no_index("users_email_key")]))],
            &[],
        );
        assert!(said.iter().all(|line| line.contains(" fail: ")), "{said:?}");
    }
}

#[test]
fn a_column_that_is_gone_is_told_once() {
    let error = || wrong("table users has no column email");
    let checks = [
        (unique("mails", "email"), error()),
        (rows("no mail", "users", RowAggregate::NotNull { column: "email".to_owned() }), error()),
        (catalog("columns"), found(vec![no_column("email")])),
        (catalog("indexes"), found(vec![no_index("users_email_key"), no_index("users_name_key")])),
    ];
    let said = told(&checks, &[]);
    assert_eq!(
        said[2],
        "columns fail: 1 row breaks the rule: users.email does not exist; with it, index users_email_key does not \
         exist; 2 checks cannot be measured without it: mails, no mail"
    );
    assert!(said[3].starts_with("indexes fail: 1 row breaks the rule: index users_name_key"), "{said:?}");
    assert!(said[..2].iter().all(|line| line.contains(" skipped: ")), "{said:?}");
    // With nobody to say which columns there must be, the first of them says it.
    let said = told(&checks[..2], &[]);
    assert!(said[0].starts_with("mails error: ") && said[1].starts_with("no mail skipped: "), "{said:?}");
}

#[test]
fn rows_that_are_lost_are_told_by_their_own_table() {
    let counted = rows("users", "users", RowAggregate::RowCount);
    let checks = [
        (orphans("credits", "user_credits"), broken(3.0)),
        (orphans("agents", "agents"), broken(2.0)),
        (counted, broken(1.0)),
    ];
    let said = told(&checks, &[]);
    assert_eq!(
        said[2],
        "users fail: 1 row breaks the rule; with it, 3 rows break the rule; 2 rows break the rule"
    );
    assert!(said[..2].iter().all(|line| line.contains("skipped: users tells it")), "{said:?}");
    let said = told(&checks[..2], &[]);
    assert_eq!(said[0], "credits fail: 3 rows break the rule; with it, 2 rows break the rule");
}

#[test]
fn two_suites_tell_one_problem_once() {
    let problem = || found(vec![Problem::from("row-level security is off on agents".to_owned())]);
    let said = told(&[(catalog("own.rls"), problem()), (catalog("public.rls"), problem())], &[]);
    assert_eq!(said[0], "own.rls fail: 1 row breaks the rule: row-level security is off on agents");
    assert!(said[1].starts_with("public.rls skipped: skipped: own.rls tells it"), "{said:?}");
}
