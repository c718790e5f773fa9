//! `deploywatch init` as its users see it: the suite that it drafts holds, and catches what breaks.

use serde_json::Value;

use crate::support::process::{Finished, Invocation};
use crate::support::{AgentZero, temp_dir};

async fn init(url: &str, arguments: &[&str]) -> Finished {
    Invocation::new().args(["init", "--database-url", url]).args(arguments).finish().await
}

/// The exit code and the keys of the failing checks.
async fn check(url: &str, suite: &str) -> (i32, Vec<String>) {
    let finished =
        Invocation::new().args(["check", "--database-url", url, "--format", "json", suite]).finish().await;
    let document: Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", finished.stdout, finished.stderr));
    let checks = document["checks"].as_array().unwrap();
    let bad =
        checks.iter().filter(|check| !["pass", "skipped"].contains(&check["outcome"].as_str().unwrap()));
    let without_baseline = |check: &&Value| check["reason"] != "no_data.baseline_missing";
    let keys = bad.filter(without_baseline).map(|check| check["key"].as_str().unwrap().to_owned());
    (finished.code, keys.collect())
}

#[tokio::test]
async fn the_drafted_suite_holds_and_catches_what_breaks() {
    let product = AgentZero::with_users(300).await;
    let folder = temp_dir();
    let path = folder.path().join("first.yaml");
    let suite = path.to_str().unwrap();
    let written = init(&product.scanner, &["--output", suite]).await;
    assert_eq!(written.code, 0, "{}{}", written.stdout, written.stderr);
    assert!(written.stdout.is_empty(), "{}", written.stdout);
    assert!(written.stderr.contains(&format!("try it: deploywatch check {suite}")), "{}", written.stderr);
    let yaml = std::fs::read_to_string(&path).unwrap();
    assert!(!yaml.contains("Off, since"), "{yaml}");
    assert_eq!(check(&product.scanner, suite).await, (0, vec![]), "{yaml}");

    for (what, sql, key) in [
        (
            "a lost credits row",
            "DELETE FROM user_credits WHERE user_id = (SELECT id FROM users WHERE email = 'user7@example.com')",
            "users.join_integrity.id.user_credits",
        ),
        (
            "an orphaned message",
            "UPDATE messages SET conversation_id = gen_random_uuid() WHERE id = 3",
            "messages.join_integrity.conversation_id.conversations",
        ),
        (
            "a NULL e-mail",
            "UPDATE users SET email = NULL WHERE email = 'user1@example.com'",
            "users.not_null.email",
        ),
        (
            "a webhook that was booked twice",
            "UPDATE webhook_events SET body_sha256 = (SELECT body_sha256 FROM webhook_events WHERE id = 1) WHERE id = 2",
            "webhook_events.unique.body_sha256",
        ),
        (
            "a table that is open to everybody",
            "ALTER TABLE agents DISABLE ROW LEVEL SECURITY",
            "public.row_level_security",
        ),
        (
            "a policy more",
            "CREATE POLICY everyone ON agents FOR SELECT TO anon USING (status = 'active')",
            "public.row_level_security",
        ),
        ("a dropped index", "DROP INDEX messages_conversation_id_idx", "public.indexes"),
        (
            "a CHECK that lets more in",
            "ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_tier_check; ALTER TABLE subscriptions \
             ADD CONSTRAINT subscriptions_tier_check CHECK (tier IN ('pro', 'founding', 'trial', 'gold'))",
            "public.constraints",
        ),
        (
            "a foreign key that deletes along",
            "ALTER TABLE users DROP CONSTRAINT users_organisation_id_fkey; ALTER TABLE users ADD CONSTRAINT \
             users_organisation_id_fkey FOREIGN KEY (organisation_id) REFERENCES organisations ON DELETE CASCADE",
            "public.constraints",
        ),
        (
            "a function without its rights",
            "ALTER FUNCTION deduct_credits SECURITY INVOKER",
            "public.functions",
        ),
        ("a lost default", "ALTER TABLE agents ALTER status DROP DEFAULT", "public.columns.agents"),
        (
            "a trigger that fires in replication only",
            "ALTER TABLE users ENABLE REPLICA TRIGGER users_create_credits",
            "public.triggers",
        ),
        (
            "an unknown role",
            "UPDATE messages SET role = 'robot' WHERE id = 5",
            "messages.accepted_values.role",
        ),
    ] {
        let broken = AgentZero::with_users(300).await;
        broken.execute(sql).await;
        let (_, keys) = check(&broken.scanner, suite).await;
        assert_eq!(keys, [key], "{what}");
    }
}

#[tokio::test]
async fn what_does_not_hold_now_is_a_comment_that_says_why() {
    let product = AgentZero::with_users(300).await;
    product
        .execute(
            "DELETE FROM user_credits WHERE user_id = (SELECT id FROM users WHERE email = 'user7@example.com'); \
             ALTER TABLE agents DISABLE ROW LEVEL SECURITY",
        )
        .await;
    let drafted = init(&product.scanner, &[]).await;
    assert_eq!(drafted.code, 0, "{}", drafted.stderr);
    let yaml = &drafted.stdout;
    assert!(yaml.contains("# Off, since it does not hold now: 1 of 300 rows of users"), "{yaml}");
    assert!(
        yaml.contains("# - join_integrity: { columns: [id], to: user_credits(user_id), match: exactly_one }")
    );
    assert!(
        yaml.contains(
            "  # - rls:\n  #     schema: public\n  #     only: true\n  #     policies:\n  #       agents:\n"
        ),
        "{yaml}"
    );
    assert!(drafted.stderr.contains("2 more are in it as comments"), "{}", drafted.stderr);
    let folder = temp_dir();
    let path = folder.path().join("first.yaml");
    std::fs::write(&path, yaml).unwrap();
    assert_eq!(check(&product.scanner, path.to_str().unwrap()).await, (0, vec![]), "{yaml}");
}

#[tokio::test]
async fn a_file_that_is_there_is_kept() {
    let product = AgentZero::with_users(300).await;
    let folder = temp_dir();
    let path = folder.path().join("mine.yaml");
    std::fs::write(&path, "mine").unwrap();
    let suite = path.to_str().unwrap();
    let refused = init(&product.scanner, &["--output", suite]).await;
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    let replaced = init(&product.scanner, &["--output", suite, "--force"]).await;
    assert_eq!(replaced.code, 0, "{}", replaced.stderr);
    assert!(std::fs::read_to_string(&path).unwrap().contains("suite: "));
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_said() {
    let product = AgentZero::with_users(300).await;
    for (url, arguments, code, text) in [
        (product.scanner.as_str(), &["--schema", "shop"][..], 3, "there is no schema shop"),
        (product.scanner.as_str(), &["--schema", "auth"], 2, "nothing to propose for the schema auth"),
        // Row-level security hides rows from this one, so all that it could say would be wrong.
        (product.restricted.as_str(), &[], 2, "nothing to propose for the schema public"),
        ("sqlite:nothing.db", &[], 2, "only a PostgreSQL database"),
        ("http://example.com", &[], 2, "only a PostgreSQL database"),
    ] {
        let refused = init(url, arguments).await;
        assert_eq!(refused.code, code, "{arguments:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(text), "{arguments:?}: {}", refused.stderr);
    }
}
