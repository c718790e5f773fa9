//! Every kind of check: its file, its section in docs/CHECKS.md, a defect that it finds, and what it says then.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use deploywatch::domain::evaluate::{BaselineFor, SlotFacts, evaluate};
use deploywatch::domain::measurement::Measurement;
use deploywatch::domain::observation::{Observation, Outcome};
use deploywatch::suite;
use deploywatch::target::{Params, ScanRequest, Target, TargetOptions};
use sqlx::{Connection, Executor, PgConnection};

use crate::support::{AgentZero, PgCluster, eventually, fixture};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn every_kind_has_its_file_its_section_and_its_defect() {
    let documentation = std::fs::read_to_string(root("docs/CHECKS.md")).unwrap();
    let sections: BTreeSet<&str> =
        documentation.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    let kinds: BTreeSet<&str> = suite::kinds().map(|(kind, _)| kind).collect();
    assert_eq!(sections, kinds, "docs/CHECKS.md has one section `### \\`kind\\`` for each kind");
    let signals: BTreeSet<&str> =
        suite::kinds().filter(|(_, section)| *section == "signals").map(|(kind, _)| kind).collect();
    for kind in kinds {
        // The defect of a signal is no SQL: `signals` makes it.
        let (defect, snapshots) = if signals.contains(kind) {
            ("tests/it/signals/mod.rs".to_owned(), "signals/snapshots/it__signals")
        } else {
            (format!("tests/fixtures/kinds/{kind}/defect.sql"), "snapshots/it__suite_kinds")
        };
        for path in [
            format!("src/suite/kinds/{kind}.rs"),
            format!("tests/fixtures/kinds/{kind}/suite.yaml"),
            defect,
            format!("tests/it/{snapshots}__{kind}.snap"),
        ] {
            assert!(root(&path).is_file(), "{path} is missing");
        }
        let (_, section) = documentation.split_once(&format!("### `{kind}`")).unwrap();
        let section = section.split("\n### ").next().unwrap();
        for part in ["**Problem.**", "**Measured.**", "**Fix.**"] {
            assert!(section.contains(part), "the section of {kind} in docs/CHECKS.md has no {part}");
        }
    }
}

/// One scan of the one check of the kind's suite. As the owner, who may act as any role of the product.
async fn measure(
    product: &AgentZero,
    kind: &str,
) -> (Arc<deploywatch::domain::check::Check>, Measurement, SlotFacts) {
    let suites = suite::load(&[fixture(&format!("kinds/{kind}/suite.yaml"))])
        .unwrap_or_else(|error| panic!("{error}"));
    let [check] = suites
        .into_iter()
        .flat_map(|suite| suite.checks)
        .map(Arc::new)
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    let target = Target::new(TargetOptions::new(product.admin.as_str().into()));
    let request = ScanRequest { checks: vec![Arc::clone(&check)], params: Params::default(), carry: None };
    let scan = target.scan(&request).await.unwrap();
    let slot = SlotFacts { slot_at: scan.as_of, observed_at: scan.as_of, confirm: false, finished_at: None };
    (check, scan.measurements.into_iter().next().unwrap(), slot)
}

fn line(observation: &Observation) -> String {
    let threshold = observation.threshold.as_deref().unwrap_or("-");
    format!(
        "{} {}\n  {threshold}\n  {}",
        observation.outcome.as_str(),
        observation.reason,
        observation.message
    )
}

/// Ages and loads differ from run to run.
fn settle(kind: &str, text: &str) -> String {
    let varying: &[(&str, &str)] = match kind {
        // A slow machine may need more than a minute to come here.
        "freshness" => &[(" min", "N s"), (" s", "N s")],
        "connections" => &[("%", "N%"), (" of ", "N of "), (" connections", "N connections")],
        "long_transactions" => &[(" s", "N s"), (" has a", "N has a")],
        _ => &[],
    };
    varying.iter().fold(text.to_owned(), |text, (unit, shown)| {
        let mut settled = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(unit) {
            let digits = rest[..at].trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').len();
            settled.push_str(&rest[..digits]);
            settled.push_str(if digits < at { shown } else { unit });
            rest = &rest[at + unit.len()..];
        }
        settled + rest
    })
}

#[tokio::test]
async fn every_kind_finds_its_defect_and_says_so() {
    for (kind, _) in suite::kinds().filter(|(_, section)| *section != "signals") {
        // These look at the whole server, which no other test may use meanwhile.
        let private = matches!(kind, "connections" | "long_transactions").then(PgCluster::private);
        let product = match &private {
            Some(cluster) => AgentZero::on(cluster, 300).await,
            None => AgentZero::with_users(300).await,
        };
        let (check, healthy, slot) = measure(&product, kind).await;
        let before = evaluate(&check.policy, &healthy, BaselineFor::Missing, slot);
        product
            .execute(&std::fs::read_to_string(fixture(&format!("kinds/{kind}/defect.sql"))).unwrap())
            .await;
        let after = if kind == "long_transactions" {
            with_an_open_transaction(&product).await
        } else {
            let (_, broken, slot) = measure(&product, kind).await;
            evaluate(&check.policy, &broken, BaselineFor::Usable(&healthy), slot)
        };
        let broken = matches!(after.outcome, Outcome::Fail | Outcome::Warn);
        assert!(broken, "{kind}: {}", line(&after));
        let text = format!("before: {}\nafter: {}", line(&before), line(&after));
        insta::with_settings!({ prepend_module_to_snapshot => true, omit_expression => true }, {
            insta::assert_snapshot!(kind, settle(kind, &text));
        });
    }
}

async fn with_an_open_transaction(product: &AgentZero) -> Observation {
    let mut idle = PgConnection::connect(&product.admin).await.unwrap();
    idle.execute("BEGIN").await.unwrap();
    idle.execute("SELECT 1").await.unwrap();
    let seen = eventually("the transaction counts as long", Duration::from_secs(20), async || {
        let (check, measurement, slot) = measure(product, "long_transactions").await;
        let seen = evaluate(&check.policy, &measurement, BaselineFor::Missing, slot);
        (seen.outcome == Outcome::Fail).then_some(seen)
    })
    .await;
    idle.close().await.unwrap();
    seen
}
