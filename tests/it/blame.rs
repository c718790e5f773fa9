//! A CRM that no shipped suite knows, broken in one way at a time. Each fault fails one check, whichever suites look:
//! its makers' own, a drafted one, the shipped ones, alone or against a baseline.

use std::path::Path;

use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::support::pg::database_of;
use crate::support::process::Invocation;
use crate::support::{AgentZero, PgCluster, fixture, temp_dir};

mod faults;
mod objects;

use faults::{Fault, ROWS};
use objects::OBJECTS;

const SCHEMA: &str = include_str!("../fixtures/crm/schema.sql");

/// The folder of the CRM's repository, with a drafted suite and baselines in it.
struct Repository(tempfile::TempDir);

impl Repository {
    fn new() -> Self {
        let folder = temp_dir();
        let migrations = folder.path().join("supabase/migrations");
        std::fs::create_dir_all(&migrations).unwrap();
        for entry in std::fs::read_dir(fixture("crm/migrations")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), migrations.join(entry.file_name())).unwrap();
        }
        std::fs::copy(fixture("crm/suite.yaml"), folder.path().join("own.yaml")).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let finished = Invocation::new().folder(self.path()).args(arguments).finish().await;
        (finished.code, finished.stdout, finished.stderr)
    }

    /// The exit code, and `key: message` of what is not well.
    async fn check(&self, url: &str, arguments: &[&str]) -> (i32, Vec<String>) {
        let all = [&["check", "--database-url", url, "--format", "json"], arguments].concat();
        let (code, stdout, stderr) = self.run(&all).await;
        let document: Value =
            serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}\n{stdout}\n{stderr}"));
        let word = |check: &Value, field: &str| check[field].as_str().unwrap().to_owned();
        let checks = document["checks"].as_array().unwrap().iter();
        let bad = checks.filter(|check| !["pass", "skipped"].contains(&check["outcome"].as_str().unwrap()));
        (code, bad.map(|c| format!("{}: {}", word(c, "key"), word(c, "message"))).collect())
    }
}

struct Crm {
    admin: String,
    scanner: String,
}

impl Crm {
    async fn open() -> Self {
        let cluster = PgCluster::shared();
        let admin = cluster.copy_of_template("crm", async || SCHEMA.to_owned()).await;
        Self { scanner: cluster.url("scanner", database_of(&admin)), admin }
    }

    async fn broken(sql: &str) -> Self {
        let crm = Self::open().await;
        PgCluster::shared().execute(&crm.admin, sql).await;
        crm
    }
}

const DRAFTED_BASELINE: &str = "drafted.json";
const OWN_BASELINE: &str = "own.json";

/// The ways in which people look, and the name of each.
const LOOKS: &[(&str, &[&str])] = &[
    ("own", &["own.yaml"]),
    ("drafted", &["drafted.yaml"]),
    ("supabase", &["embedded:supabase"]),
    ("drafted, baseline", &["--baseline", DRAFTED_BASELINE, "drafted.yaml", "embedded:supabase"]),
    ("own, baseline", &["--baseline", OWN_BASELINE, "own.yaml", "embedded:supabase", "embedded:core"]),
];

const DRAFTED: usize = 1;
const SUPABASE: usize = 2;
const DRAFTED_LATER: usize = 3;

async fn prepared() -> Repository {
    // It makes the roles of the cluster, which two may not do at once.
    AgentZero::with_users(1).await;
    let repository = Repository::new();
    let crm = Crm::open().await;
    let arguments = ["init", "--database-url", &crm.scanner, "--output", "drafted.yaml"];
    let (code, _, stderr) = repository.run(&arguments).await;
    assert_eq!(code, 0, "{stderr}");
    for (name, arguments) in LOOKS {
        let saved = match arguments {
            ["--baseline", file, suites @ ..] => [&["--save-baseline", file], suites].concat(),
            suites => suites.to_vec(),
        };
        assert_eq!(repository.check(&crm.scanner, &saved).await, (0, vec![]), "{name}");
    }
    repository
}

/// What is not as it should be, one line for each look.
async fn looked_at(repository: &Repository, fault: &Fault) -> Vec<String> {
    let crm = Crm::broken(fault.sql).await;
    let mut wrong = Vec::new();
    for (at, ((name, arguments), expected)) in LOOKS.iter().zip(&fault.blamed).enumerate() {
        // Looks that can add nothing are left out, for time: a generic suite that has nothing to say, a drafted one
        // that says the same without a baseline.
        if (at == SUPABASE && expected.is_empty())
            || (at == DRAFTED_LATER && *expected == fault.blamed[DRAFTED])
        {
            continue;
        }
        let (code, bad) = repository.check(&crm.scanner, arguments).await;
        let fits = match (expected.is_empty(), bad.as_slice()) {
            (true, []) => code == 0,
            (false, [only]) => only.starts_with(&format!("{expected}: ")),
            _ => false,
        };
        let told = fault.said.is_empty() || bad.iter().all(|line| line.contains(fault.said));
        if !fits || !told {
            wrong.push(format!(
                "{}\n  {name}: expected {expected:?}, got {code}\n    {}",
                fault.sql,
                bad.join("\n    ")
            ));
        }
    }
    wrong
}

#[tokio::test]
async fn every_fault_of_an_unknown_product_fails_one_check() {
    let repository = prepared().await;
    let all = ROWS.iter().chain(OBJECTS).map(|fault| looked_at(&repository, fault));
    let wrong: Vec<Vec<String>> = stream::iter(all).buffered(3).collect().await;
    let wrong = wrong.concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
