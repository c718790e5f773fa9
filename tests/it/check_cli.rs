//! `deploywatch check` as its users see it: the real program on a real database.

use std::path::Path;

use serde_json::Value;

use crate::support::process::{Finished, Invocation};
use crate::support::{AgentZero, free_port, temp_dir};

pub const SUITE: &str = "embedded:agentzero";

async fn check(url: &str, arguments: &[&str]) -> Finished {
    Invocation::new().args(["check", "--database-url", url]).args(arguments).finish().await
}

pub async fn json(url: &str, arguments: &[&str]) -> (i32, Value) {
    let finished = check(url, &[&["--format", "json"], arguments].concat()).await;
    let document = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", finished.stdout, finished.stderr));
    (finished.code, document)
}

/// Keys of the checks with this outcome, in the order of the report.
fn keys<'a>(document: &'a Value, outcome: &str) -> Vec<&'a str> {
    let checks = document["checks"].as_array().unwrap();
    checks
        .iter()
        .filter(|check| check["outcome"] == outcome)
        .map(|check| check["key"].as_str().unwrap())
        .collect()
}

pub fn message<'a>(document: &'a Value, key: &str) -> &'a str {
    let checks = document["checks"].as_array().unwrap();
    checks.iter().find(|check| check["key"] == key).unwrap()["message"].as_str().unwrap()
}

#[tokio::test]
async fn a_healthy_product_passes_every_shipped_suite() {
    let product = AgentZero::with_users(300).await;
    for suites in [vec![SUITE], vec!["embedded:supabase"], vec!["embedded:core"], vec![]] {
        let (code, document) = json(&product.scanner, &suites).await;
        assert_eq!(code, 0, "{suites:?}: {document:#}");
        for outcome in ["fail", "warn", "error", "no_data"] {
            assert_eq!(keys(&document, outcome), Vec::<&str>::new(), "{suites:?} {document:#}");
        }
    }
}

#[tokio::test]
async fn a_baseline_in_a_file_tells_what_only_a_comparison_can() {
    let product = AgentZero::with_users(300).await;
    let folder = temp_dir();
    let file = folder.path().join("before.json").display().to_string();
    let finished = check(&product.scanner, &["--save-baseline", &file, SUITE]).await;
    assert_eq!(finished.code, 0, "{}{}", finished.stdout, finished.stderr);
    assert!(!std::fs::read_to_string(&file).unwrap().contains("example.com"));

    let (code, document) = json(&product.scanner, &["--baseline", &file, SUITE]).await;
    assert_eq!((code, keys(&document, "fail")), (0, vec![]), "{document:#}");
    product.execute("DELETE FROM document_chunks WHERE id % 5 < 2").await;
    let (code, document) = json(&product.scanner, &["--baseline", &file, SUITE]).await;
    assert_eq!((code, keys(&document, "fail")), (1, vec!["document_chunks.row_count"]));
    assert_eq!(
        message(&document, "document_chunks.row_count"),
        "document_chunks has 720 rows, 480 (40%) fewer than the 1,200 before the deploy; a drop of at most 5% is \
         allowed"
    );
}

#[tokio::test]
async fn the_table_explains_what_is_wrong_without_colours() {
    let product = AgentZero::with_users(300).await;
    product.execute("UPDATE users SET email = NULL WHERE email = 'user5@example.com'").await;
    let finished = check(&product.scanner, &[SUITE]).await;
    assert_eq!(finished.code, 1);
    assert!(
        finished
            .stdout
            .contains("fail users.not_null.email (critical)\n  1 of 300 rows of users has no email\n")
    );
    assert!(finished.stdout.contains("look for yourself:\n    SELECT"));
    assert!(!finished.stdout.contains('\u{1b}') && finished.stderr.is_empty(), "{}", finished.stderr);
    let summary = finished.stdout.lines().last().unwrap();
    assert!(summary.contains("1 failed") && summary.contains("proved by constraints"), "{summary}");
}

#[tokio::test]
async fn other_formats_are_for_machines() {
    let product = AgentZero::with_users(300).await;
    product.execute("UPDATE users SET email = NULL WHERE email = 'user5@example.com'").await;
    let junit = check(&product.scanner, &["--format", "junit", SUITE]).await;
    assert_eq!(junit.code, 1);
    assert!(junit.stdout.contains("failures=\"1\" errors=\"0\""), "{}", junit.stdout);
    assert!(
        junit
            .stdout
            .contains("<failure message=\"1 of 300 rows of users has no email\" type=\"fail.above\">")
    );
    let github = check(&product.scanner, &["--format", "github", SUITE]).await;
    assert!(
        github.stdout.starts_with(
            "::error title=fail%3A users.not_null.email::users.not_null.email: 1 of 300 rows of users has no email\n"
        ),
        "{}",
        github.stdout
    );
}

#[tokio::test]
async fn samples_hold_no_values_unless_asked_for() {
    let product = AgentZero::with_users(300).await;
    product.execute("UPDATE users SET email = 'not an address' WHERE email = 'user5@example.com'").await;
    let folder = temp_dir();
    let suite = |samples: &str| {
        let path = folder.path().join("s.yaml");
        let text = format!(
            "suite: s\ntables:\n  users:\n    - matches_pattern: {{ column: email, pattern: '@' }}\n      samples: {samples}\n"
        );
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (_, digested) = json(&product.scanner, &[&suite("[email]")]).await;
    let samples = digested["checks"][0]["samples"].to_string();
    assert!(samples.contains("email=#") && !samples.contains("not an address"), "{samples}");
    let (_, revealed) = json(&product.scanner, &[&suite("{ columns: [email], reveal: true }")]).await;
    assert!(revealed["checks"][0]["samples"].to_string().contains("not an address"));
}

#[tokio::test]
async fn mistakes_are_told_apart_and_told_how_to_mend() {
    let product = AgentZero::with_users(300).await;
    let wrong_password = product.scanner.replace(":scanner@", ":wrong@");
    let nowhere = format!("postgres://scanner:secret-word@127.0.0.1:{}/x", free_port());
    let folder = temp_dir();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let unknown_key =
        write("a.yaml", "suite: a\ntables:\n  users:\n    - not_nul: email\n    - uniqe: email\n");
    let missing_table = write("b.yaml", "suite: b\ntables:\n  usrs:\n    - not_null: email\n");
    let not_text = folder.path().join("c.yaml");
    std::fs::write(&not_text, [0xff, 0xfe, 0x00]).unwrap();
    let not_text = not_text.display().to_string();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let empty = empty.display().to_string();
    for (url, path, code, says) in [
        (wrong_password.as_str(), SUITE, 3, "password authentication failed"),
        (&nowhere, SUITE, 3, "nothing listens at 127.0.0.1"),
        ("mysql://x/y", SUITE, 2, "postgres://USER:PASSWORD@HOST:PORT/DATABASE"),
        (
            &product.scanner,
            &unknown_key,
            2,
            "a.yaml:5:7: unknown kind or option `uniqe`, did you mean `unique`?",
        ),
        (&product.scanner, &missing_table, 3, "table usrs does not exist"),
        (&product.scanner, "missing.yaml", 2, "missing.yaml: there is no such file or folder"),
        (&product.scanner, &not_text, 2, "it is not UTF-8 text"),
        (&product.scanner, &empty, 2, "there is no *.yaml or *.yml file in this folder"),
        (&product.scanner, "embedded:cor", 2, "unknown suite `cor`, did you mean `core`?"),
    ] {
        let finished = check(url, &[path]).await;
        let all = format!("{}{}", finished.stdout, finished.stderr);
        assert_eq!(finished.code, code, "{path}: {all}");
        assert!(all.contains(says), "{path}: {all}");
        assert!(!all.contains("secret-word"), "{all}");
    }
    let finished = Invocation::new().args(["check"]).finish().await;
    assert_eq!(finished.code, 2);
    assert!(finished.stderr.contains("no database is named"), "{}", finished.stderr);
}

#[tokio::test]
async fn a_role_that_cannot_see_all_rows_gets_an_error_and_never_zeros() {
    let product = AgentZero::with_users(300).await;
    let (code, document) = json(&product.restricted, &[SUITE]).await;
    assert_eq!(code, 3);
    assert!(keys(&document, "error").contains(&"users.not_null.email"));
    assert!(keys(&document, "fail").is_empty(), "{:?}", keys(&document, "fail"));
    assert!(message(&document, "users.not_null.email").contains("BYPASSRLS"));
    let finished = check(&product.restricted, &[SUITE]).await;
    // One reason for all checks of a table is said once.
    assert_eq!(finished.stdout.matches("would hide rows of table users ").count(), 1, "{}", finished.stdout);
}

#[tokio::test]
async fn the_database_comes_from_the_environment_too() {
    let product = AgentZero::with_users(300).await;
    let run = |path: &'static str| {
        Invocation::new().env("DATABASE_URL", &product.scanner).args(["check", path]).finish()
    };
    let finished = run(SUITE).await;
    assert_eq!(finished.code, 0, "{}{}", finished.stdout, finished.stderr);
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("checks").is_dir());
}

#[tokio::test]
async fn explain_shows_the_plan_and_reads_no_table() {
    let product = AgentZero::with_users(300).await;
    let finished = check(&product.scanner, &["--explain", SUITE]).await;
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    let plan = &finished.stdout;
    for part in [
        "no table was read for this",
        "statement 1: 7 checks fused, cost ",
        "Seq Scan on messages",
        "  c3 messages.not_null.content, carried while its tables are quiet\n",
        "count(*) - count(\"content\") AS",
        "LEFT JOIN (SELECT \"id\" AS dw_k0_0 FROM \"public\".\"conversations\")",
        "proved by a constraint, not read (--no-proofs reads them):\n",
        "  users.unique.email by unique index users_email_key\n",
        "asked of the catalog or the server, no table is read:\n",
        "  agentzero.rls\n",
    ] {
        assert!(plan.contains(part), "{part} in\n{plan}");
    }
    let all = check(&product.scanner, &["--explain", "--no-proofs", SUITE]).await;
    assert!(!all.stdout.contains("proved by a constraint"), "{}", all.stdout);
    let trusting = check(&product.scanner, &["--explain", "--trust-foreign-keys", SUITE]).await;
    assert!(trusting.stdout.contains("by foreign key agents_organisation_id_fkey"), "{}", trusting.stdout);

    // A statement that would not run says why, and where nothing listens there is no plan.
    product.execute("DROP TABLE waitlist; ALTER TABLE webhook_events DROP COLUMN body_sha256").await;
    let broken = check(&product.scanner, &["--explain", SUITE]).await;
    assert!(broken.stdout.contains("waitlist.row_count: table waitlist does not exist"), "{}", broken.stdout);
    assert!(
        broken.stdout.contains("  would not run: column \"body_sha256\" does not exist"),
        "{}",
        broken.stdout
    );
    let nowhere = format!("postgres://scanner@127.0.0.1:{}/x", free_port());
    assert_eq!(check(&nowhere, &["--explain", SUITE]).await.code, 3);
}

#[tokio::test]
async fn several_connections_and_no_proofs_measure_the_same() {
    let product = AgentZero::with_users(300).await;
    product.execute("UPDATE users SET email = NULL WHERE email = 'user5@example.com'").await;
    let measured = async |arguments: &[&str]| {
        let (code, document) = json(&product.scanner, &[arguments, &[SUITE]].concat()).await;
        let checks = document["checks"].as_array().unwrap().clone();
        // Ages go on while the test runs.
        let steady = checks.iter().filter(|check| !check["key"].as_str().unwrap().contains("freshness"));
        let said: Vec<String> =
            steady.map(|c| format!("{} {} {}", c["key"], c["outcome"], c["value"])).collect();
        (code, said)
    };
    let one = measured(&[]).await;
    assert_eq!(one.0, 1);
    for arguments in [
        &["--connections", "4"][..],
        &["--no-proofs"],
        &["--fusion", "off", "--no-proofs"],
        &["--fusion", "without-joins", "--connections", "2"],
    ] {
        assert_eq!(measured(arguments).await, one, "{arguments:?}");
    }
    assert_eq!(check(&product.scanner, &["--connections", "0", SUITE]).await.code, 2);
}

#[tokio::test]
async fn a_carry_file_keeps_quiet_tables_from_being_read_again() {
    let product = AgentZero::with_users(300).await;
    let folder = temp_dir();
    let file = folder.path().join("carry.json").display().to_string();
    let run = async || check(&product.scanner, &["--carry", &file, SUITE]).await;
    assert_eq!(run().await.code, 0);
    assert!(!std::fs::read_to_string(&file).unwrap().contains("example.com"));
    crate::support::eventually("the tables are quiet", std::time::Duration::from_secs(20), async || {
        run().await.stdout.contains("carried\n").then_some(())
    })
    .await;
    product.execute("UPDATE users SET email = NULL WHERE email = 'user5@example.com'").await;
    crate::support::eventually("the change is seen", std::time::Duration::from_secs(20), async || {
        (run().await.code == 1).then_some(())
    })
    .await;
    // What is not understood is as good as nothing.
    std::fs::write(&file, "rubbish").unwrap();
    assert_eq!(run().await.code, 1);
}

#[tokio::test]
async fn github_gets_a_table_for_the_page_of_its_job() {
    let product = AgentZero::with_users(300).await;
    product.execute("UPDATE users SET email = NULL WHERE email = 'user5@example.com'").await;
    let folder = temp_dir();
    let file = folder.path().join("summary.md");
    std::fs::write(&file, "before\n").unwrap();
    let finished = Invocation::new()
        .env("GITHUB_STEP_SUMMARY", file.to_str().unwrap())
        .args(["check", "--database-url", &product.scanner, "--format", "github", SUITE])
        .finish()
        .await;
    assert_eq!(finished.code, 1, "{}", finished.stderr);
    let summary = std::fs::read_to_string(&file).unwrap();
    assert!(summary.starts_with("before\n### deploywatch check: local\n"), "{summary}");
    assert!(
        summary
            .contains("| fail | critical | `users.not_null.email` | 1 of 300 rows of users has no email |\n"),
        "{summary}"
    );
}

#[tokio::test]
async fn migrations_are_compared_with_the_folder_beside() {
    let product = AgentZero::with_users(300).await;
    let folder = temp_dir();
    let migrations = folder.path().join("supabase/migrations");
    std::fs::create_dir_all(&migrations).unwrap();
    for name in [
        "20260325000000_multi_tenant_schema.sql",
        "20260325000001_user_credits.sql",
        "20260411000000_create_documents.sql",
        "20260412000000_agent_scoped_documents.sql",
        "20260418000000_lemonsqueezy_billing.sql",
        "20260418000001_founding_grants.sql",
        "20260425000000_agent_conversations.sql",
        "20260425000001_memo_summaries.sql",
        "20260516000000_waitlist.sql",
    ] {
        std::fs::write(migrations.join(name), "").unwrap();
    }
    let suite = folder.path().join("m.yaml");
    std::fs::write(
        &suite,
        "suite: m\nschema:\n  - migrations_applied: { directory: supabase/migrations }\n    key: m\n",
    )
    .unwrap();
    let suite = suite.to_str().unwrap();
    let now = async || {
        let (code, document) = json(&product.scanner, &[suite]).await;
        (
            code,
            document["checks"][0]["outcome"].as_str().unwrap().to_owned(),
            message(&document, "m").to_owned(),
        )
    };
    assert_eq!(now().await.1, "pass");
    // Misnamed ones are never applied, which is worth a warning and stops nothing.
    std::fs::write(migrations.join("20260601_export.sql"), "").unwrap();
    product.execute("INSERT INTO supabase_migrations.schema_migrations (version) VALUES ('20260601')").await;
    std::fs::write(migrations.join("fix.sql"), "").unwrap();
    let (code, outcome, said) = now().await;
    assert_eq!((code, outcome.as_str()), (0, "warn"), "{said}");
    assert!(
        said.contains("20260601_export.sql has a stamp of 8 digits") && said.contains("fix.sql"),
        "{said}"
    );
    std::fs::write(migrations.join("20260602000000_new.sql"), "").unwrap();
    let (code, _, said) = now().await;
    assert!(code == 1 && said.contains("20260602000000_new.sql has not been applied"), "{said}");
}

#[tokio::test]
async fn a_row_from_the_future_does_not_hide_that_the_others_are_old() {
    let product = AgentZero::with_users(300).await;
    product.execute("UPDATE messages SET created_at = now() + interval '1 day' WHERE id = 3").await;
    let (code, document) = json(&product.scanner, &[SUITE]).await;
    assert_eq!((code, keys(&document, "warn")), (0, vec!["messages.freshness.created_at"]));
    let said = message(&document, "messages.freshness.created_at");
    assert!(said.contains("in the future"), "{said}");
}

#[tokio::test]
async fn sqlite_is_told_what_it_cannot_answer_before_anything_runs() {
    let folder = temp_dir();
    let suite = folder.path().join("s.yaml");
    std::fs::write(&suite, "suite: s\nschema:\n  - rls: { schema: main }\n    key: protected\n").unwrap();
    let url = format!("sqlite:{}", folder.path().join("not-there.db").display());
    let finished = check(&url, &[suite.to_str().unwrap()]).await;
    assert_eq!(finished.code, 2, "{}", finished.stderr);
    assert!(finished.stderr.contains("protected") && finished.stderr.contains("no row-level security"));
}
