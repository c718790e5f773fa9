use super::*;
use crate::domain::check::{Mode, OnNoData, Severity};
use crate::domain::measure::{RowAggregate, What};
use crate::domain::threshold::{Bound, Threshold};

fn problems(source: &str) -> String {
    match parse("f.yaml", source) {
        Ok(suite) => panic!("{} checks were accepted", suite.checks.len()),
        Err(error) => {
            error.problems.iter().map(|text| text.lines().next().unwrap()).collect::<Vec<_>>().join("\n")
        }
    }
}

#[test]
fn fails_are_counted_in_a_row_or_of_the_last_runs() {
    let text = |options: &str| format!("suite: s\ntables:\n  users:\n    - not_null: [email]\n{options}");
    for (options, expected) in [
        ("      fail_after: 3\n      settle: 15m\n", (3, 0, 900)),
        ("      fail_after: 2 of 3\n", (2, 3, 0)),
        ("", (2, 0, 0)),
    ] {
        let suite = parse("f.yaml", &text(options)).unwrap_or_else(|error| panic!("{error}"));
        let policy = &suite.checks[0].policy;
        assert_eq!((policy.fail_after, policy.fail_within, policy.settle), expected, "{options}");
    }
    for (wrong, says) in
        [("0", "at least 1"), ("3 of 2", "more fails than runs"), ("2 of 40", "32 runs"), ("often", "2 of 3")]
    {
        let said = problems(&text(&format!("      fail_after: {wrong}\n")));
        assert!(said.contains(says), "{wrong}: {said}");
    }
}

#[test]
fn the_suites_inside_the_program_load() {
    for (name, least) in [("core", 5), ("supabase", 2), ("agentzero", 60)] {
        match embedded(name).unwrap() {
            Ok(suite) => assert!(suite.checks.len() >= least, "{name}: {}", suite.checks.len()),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(embedded("nothing").is_none());
}

#[test]
fn a_suite_becomes_checks_with_their_defaults() {
    let suite = parse(
        "f.yaml",
        r#"
suite: credits
owner: billing@example.com
defaults: { severity: warning, every: 5m }
tables:
  users:
    - row_count
    - not_null: [email, organisation_id]
      severity: critical
      on_no_data: fail
    - join_integrity: { columns: [id], to: user_credits(user_id), match: exactly_one }
      title: Every user has exactly one credits row
  app.events:
    - freshness: received_at
      warn: { above: 2h }
      fail: { above: 6h, after: 1d }
      mode: muted
      until: 2026-05-02
schema:
  - rls: {}
server:
  - connections
    fail: { above: 90% }
queries:
  - key: success-rate
    value: SELECT 100.0 FROM t WHERE at > :deployed_at
    fail: { below: 99.5 }
"#
        .replace("- connections\n    fail", "- connections:\n    fail")
        .as_str(),
    )
    .unwrap_or_else(|error| panic!("{error}"));
    let keys: Vec<&str> = suite.checks.iter().map(|check| check.key().as_str()).collect();
    assert_eq!(
        keys,
        [
            "users.row_count",
            "users.not_null.email",
            "users.not_null.organisation_id",
            "users.join_integrity.id.user_credits",
            "app.events.freshness.received_at",
            "public.rls",
            "server.connections",
            "success-rate",
        ]
    );
    let [count, email, _, join, fresh, rls, ..] = suite.checks.as_slice() else { panic!("eight checks") };
    assert_eq!(count.policy.severity, Severity::Warning);
    assert_eq!(count.policy.fail.as_ref().unwrap().drop_above, Some(Bound::Percent(1.0)));
    assert_eq!((email.policy.severity, email.policy.on_no_data), (Severity::Critical, OnNoData::Fail));
    assert_eq!((email.policy.fail_after, rls.policy.fail_after), (2, 1));
    assert_eq!(join.policy.name(), "Every user has exactly one credits row");
    assert!(matches!(&join.measure.what, What::Rows { aggregate: RowAggregate::JoinIntegrity { .. }, .. }));
    assert_eq!(
        fresh.policy.fail,
        Some(Threshold {
            above: Some(Bound::Seconds(21_600.0)),
            after: Some(86_400),
            ..Threshold::default()
        })
    );
    assert!(
        matches!(fresh.policy.mode, Mode::Muted { until } if until.to_string() == "2026-05-02T00:00:00Z")
    );
    assert_eq!(fresh.policy.owner.as_deref(), Some("billing@example.com"));
}

#[test]
fn every_problem_of_a_file_is_said_at_once() {
    let source = r#"suite: broken
defaults: { severty: warning }
tabels: {}
tables:
  users:
    - not_nul: [email]
    - row_count:
      fail: { belov: 1 }
    - unique: [email]
      sevrity: critical
    - freshness: created_at
    - rls: { schema: public }
    - freshness: seen_at
      fail: { above: 5 }
    - row_rule: credits >= :deployedat
    - join_integrity: { columns: [id], to: credits }
    - accepted_values: { column: tier }
    - not_null: []
    - mode: shadow
    - row_rule: a > 1; DROP TABLE users
      mode: muted
  jobs: 5
queries:
  - value: SELECT 1
    fail: { above: 1 }
  - key: a b
    failed_rows: SELECT 'open
  - key: c
    failed_rows: SELECT 1
    fail: { above: 1% }
"#;
    assert_eq!(
        problems(source),
        "\
f.yaml:2:13: unknown key `severty`, did you mean `severity`?
f.yaml:3:1: unknown key `tabels`, did you mean `tables`?
f.yaml:6:7: unknown kind or option `not_nul`, did you mean `not_null`?
f.yaml:8:15: unknown key `belov`, did you mean `below`?
f.yaml:10:7: unknown kind or option `sevrity`, did you mean `severity`?
f.yaml:11:7: freshness has no threshold that suits everybody; say when it breaks, such as `fail: { above: 6h }`
f.yaml:12:7: `rls` does not belong under `tables:` but under `schema:`
f.yaml:14:13: freshness is a length of time; give `above` a unit, such as `5h`
f.yaml:15:28: unknown parameter `deployedat`, did you mean `deployed_at`?
f.yaml:16:44: expected `table(column)` such as `users(id)`, found `credits`
f.yaml:17:24: `values` is missing
f.yaml:18:17: expected at least one name, found an empty list
f.yaml:19:7: this check says nothing to measure; one of `row_count`, `not_null`, `unique`, `accepted_values`, \
`in_range`, `matches_pattern`, `row_rule`, `join_integrity`, `reconcile`, `freshness`, `backfill`, \
`columns_equal` is needed
f.yaml:20:24: only one statement is run; remove what follows the `;`
f.yaml:21:13: a mute always ends: say when with `until: 2026-05-01T12:00:00Z`
f.yaml:22:3: expected a list of checks (`- not_null: [email]`), found `5`
f.yaml:24:5: a query needs a `key:`, since there is no table to name it by
f.yaml:26:10: a key is made of letters, digits and `. _ - : /`, without spaces
f.yaml:27:25: this is not valid SQL: Unterminated string literal
f.yaml:30:11: a percentage of what? give `tested_rows:`, a SELECT of the number of rows looked at"
    );
}

#[test]
fn places_inside_block_scalars_are_those_of_the_file() {
    let source = "suite: a\nqueries:\n  - key: k\n    failed_rows: |\n      SELECT id\n      FROM t WHERE at > :since\n";
    assert_eq!(
        problems(source),
        "f.yaml:6:25: unknown parameter `since`; valid here: `deployed_at`, `baseline_at`, `now`, `environment`"
    );
}

#[test]
fn empty_files_and_doubled_keys_are_refused() {
    for (source, expected) in [
        ("", "f.yaml:1:1: this file is empty; a suite begins with `suite: name`"),
        (
            "suite: a\n",
            "f.yaml:1:1: this suite has no checks; write some under `tables:`, `schema:`, `server:`, `queries:` or \
             `signals:`",
        ),
        (
            "suite: a\ntables: {}\n",
            "f.yaml:1:1: this suite has no checks; write some under `tables:`, `schema:`, `server:`, `queries:` or \
             `signals:`",
        ),
        (
            "suite: a\ntables:\n  t:\n    - unique: [a]\n    - unique: [a]\n",
            "f.yaml:5:7: the key `t.unique.a` is already that of f.yaml:4; give one of them a `key:` of its own",
        ),
        ("suite: a\nsuite: b\n", "f.yaml:2:1: `suite` is written twice in this mapping; keep one of them"),
        ("tables:\n  t:\n    - row_count\n", "f.yaml:1:1: `suite` is missing"),
    ] {
        assert_eq!(problems(source), expected);
    }
}

#[test]
fn signals_name_their_problems_as_the_other_kinds_do() {
    let source = r#"suite: broken
signals:
  - http: https://app.example.com/
  - key: a
    http: { url: app.example.com, metod: GET }
  - key: b
    http: { url: "https://app.example.com/some/where", method: FETCH, tries: 100, status: 99 }
  - key: c
    http: { url: "https://a.example/", json: { status: ok }, headers: { "a b": "${NO-NAME}" } }
    where: id > 5
    when: table_exists(users)
  - key: d
    http_latency: { url: "https://a.example/", percentile: 0 }
    fail: { above: 1 }
  - key: e
    metric: up
  - key: f
    log_count: { pattern: "(", over: 2d }
    fail: { above: 0 }
  - key: g
    log_count: { source: vercel }
    fail: { above: 0 }
  - key: h
    log_count: { pattern: x, level: eror }
    fail: { above: 0 }
  - webhook: lemonsqueezy
  - not_null: [email]
  - key: i
    http: { url: "https://user:pass@app.example.com/", method: FETCH, tries: 100 }
  - key: j
    http: { url: "http://a.example/", certificate_days: 1000 }
"#;
    assert_eq!(
        problems(source),
        "\
f.yaml:3:5: http needs a `key:`, a name for what it watches
f.yaml:5:35: unknown key `metod`, did you mean `method`?
f.yaml:7:91: expected a status such as `200`, `2xx` or `200-204`, or a list of them, found `99`
f.yaml:9:46: expected a JSON pointer such as `/status`, found `status`
f.yaml:9:80: `${NO-NAME}` names no value; a name is made of letters, digits and `_`
f.yaml:9:80: `a b` cannot be the name of a header
f.yaml:10:12: `where` filters the rows of a table; http reads none
f.yaml:11:11: `when` looks at the watched database; http does not ask it
f.yaml:13:60: `percentile` is between 1 and 100
f.yaml:14:11: http_latency is a length of time; give `above` a unit, such as `1h`
f.yaml:16:5: metric has no threshold that suits everybody; say when it breaks, such as `fail: { below: 1 }`
f.yaml:18:27: this is no regular expression: unclosed group
f.yaml:18:38: `over` is between 1m and 1d
f.yaml:21:5: say which lines count: a `pattern`, a `level` or a `status`
f.yaml:24:37: unknown value `eror`, did you mean `error`?
f.yaml:26:5: unknown kind or option `webhook`, did you mean `webhooks`?
f.yaml:27:5: `not_null` does not belong under `signals:` but under `tables:`
f.yaml:29:18: an address with a password would be shown to everybody; send it in a header, such as \
`Authorization: Bearer ${TOKEN}`
f.yaml:29:64: unknown method `FETCH`; valid here: `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`, `OPTIONS`
f.yaml:29:78: `tries` is between 1 and 20
f.yaml:31:57: `certificate_days` is between 1 and 825
f.yaml:31:57: only an address that begins with `https://` has a certificate"
    );
    let fine = "suite: a\nsignals:\n  - key: k\n    http: { url: \"https://a.example/\", method: put, \
                status: [2xx, 301-302] }\n  - secrets: lemonsqueezy\n";
    let checks = parse("f.yaml", fine).unwrap().checks;
    assert_eq!(checks[1].key().as_str(), "lemonsqueezy.secrets");
    assert!(checks[0].policy.latch && !checks[1].policy.latch);
    let Some(crate::domain::signal::Signal::Http(request)) = checks[0].measure.signal() else { panic!() };
    assert_eq!(
        (request.method.as_str(), request.expected_status().as_str()),
        ("PUT", "200 to 299 or 301 to 302")
    );
    for check in &checks {
        assert!(crate::domain::signal::is_beside(&check.policy.kind));
    }
}

/// The target's health is about the kinds that ask it, so each kind must be on one side.
#[test]
fn every_kind_of_the_signals_section_is_known_to_ask_no_database() {
    for (kind, section) in super::kinds() {
        assert_eq!(crate::domain::signal::is_beside(kind), section == "signals", "{kind}");
    }
}

#[test]
fn only_what_is_compared_changes_the_definition() {
    let hash = |text: &str| {
        let source = format!("suite: a\ntables:\n  t:\n    - row_count:\n      {text}\n");
        parse("f.yaml", &source).unwrap().checks[0].policy.definition_hash.clone()
    };
    let plain = hash("fail: { below: 1, drop_above: 0 }");
    assert_eq!(plain.len(), 64);
    assert_eq!(plain, hash("fail: { below: 5, drop_above: 0 }"));
    assert_eq!(plain, hash("fail: { below: 1, drop_above: 0 }\n      title: x\n      owner: y"));
    assert_ne!(plain, hash("fail: { below: 1, drop_above: 1% }"));
    assert_ne!(plain, hash("fail: { below: 1, drop_above: 0 }\n      where: id > 5"));
}

#[test]
fn the_json_schema_is_the_one_in_the_tree() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/checks/schema.json");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == json_schema(),
        "checks/schema.json is stale; write it anew with `cargo run -- schema > checks/schema.json`"
    );
}
