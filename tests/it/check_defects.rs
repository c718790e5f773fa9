//! What breaks a product, and which check of the shipped suite `agentzero` says so in a single `deploywatch check`.

use serde_json::Value;

use crate::check_cli::{SUITE, json, message};
use crate::support::AgentZero;

/// Keys of the checks that are not well, whether they fail a deploy or not.
fn unwell(document: &Value) -> Vec<&str> {
    let checks = document["checks"].as_array().unwrap();
    checks
        .iter()
        .filter(|check| !["pass", "skipped"].contains(&check["outcome"].as_str().unwrap()))
        .map(|check| check["key"].as_str().unwrap())
        .collect()
}

/// What a migration, a backfill or a policy can break, and the check that says so without any baseline.
const DEFECTS: &[(&str, &str, &[&str], &str)] = &[
    (
        "an organisation without a slug",
        "UPDATE organisations SET slug = NULL WHERE name = 'Org 3'",
        &["organisations.not_null.slug"],
        "1 of 30 rows of organisations has no slug",
    ),
    (
        "an empty message",
        "UPDATE messages SET content = '' WHERE id = 9",
        &["messages.not_empty"],
        "1 of 3,000 rows of messages",
    ),
    (
        "a column that much hangs on",
        "ALTER TABLE users DROP COLUMN email",
        &["agentzero.columns"],
        "4 checks cannot be measured without it: users.not_null.email, users.unique.email, users.matches_pattern.email",
    ),
    (
        "a policy on users that is always true",
        "ALTER POLICY \"Users can read themselves\" ON users USING (true)",
        &["agentzero.rls"],
        "USING (true); with it, authenticated sees 300 rows of users",
    ),
    (
        "users that are lost",
        "SET session_replication_role = replica; DELETE FROM users WHERE email = 'user7@example.com'",
        &["user_credits.join_integrity.user_id.users"],
        "1 of 300 rows of user_credits has no row in users with its user_id; with it, ",
    ),
    (
        "a dropped table",
        "DROP TABLE memo_summaries",
        &["agentzero.columns"],
        "table memo_summaries does not exist; with it, constraint memo_summaries_pkey does not exist",
    ),
    (
        "a truncated table that others need",
        "TRUNCATE user_credits",
        &["user_credits.row_count"],
        "at least 1 is required; with it, all 300 rows of users do not have exactly one row in user_credits",
    ),
    (
        "a lost credits row",
        "DELETE FROM user_credits WHERE user_id = (SELECT id FROM users WHERE email = 'user7@example.com')",
        &["users.credits"],
        "1 of 300 rows of users",
    ),
    (
        "NULL e-mails",
        "UPDATE users SET email = NULL WHERE email LIKE 'user1%'",
        &["users.not_null.email"],
        "rows of users have no email",
    ),
    (
        "a doubled e-mail after its index went",
        "DROP INDEX users_email_key; UPDATE users SET email = 'user1@example.com' WHERE email = 'user2@example.com'",
        &["users.unique.email"],
        "1 of 300 rows of users repeats the email of another; cause: index users_email_key does not exist; index",
    ),
    (
        "orphaned messages",
        "UPDATE messages SET conversation_id = gen_random_uuid() WHERE id <= 3",
        &["messages.join_integrity.conversation_id.conversations"],
        "3 of 3,000 rows of messages have no row in conversations",
    ),
    (
        "negative credits",
        "UPDATE user_credits SET credits_remaining = -5 WHERE credits_remaining = 99",
        &["user_credits.not_negative"],
        "break",
    ),
    ("row-level security off", "ALTER TABLE agents DISABLE ROW LEVEL SECURITY", &["agentzero.rls"], "agents"),
    (
        "a policy that is always false",
        "DROP POLICY \"Users can read their org's agents\" ON agents; \
         CREATE POLICY \"Users can read their org's agents\" ON agents FOR SELECT TO authenticated USING (false)",
        &["agentzero.rls"],
        "USING (false)",
    ),
    (
        "a policy that is always true",
        "DROP POLICY \"Users can read their org's agents\" ON agents; \
         CREATE POLICY \"Users can read their org's agents\" ON agents FOR SELECT TO authenticated USING (true)",
        &["agentzero.rls"],
        "USING (true)",
    ),
    (
        "a dropped policy",
        "DROP POLICY \"Users can read themselves\" ON users",
        &["agentzero.rls"],
        "Users can read themselves",
    ),
    (
        "an invalid tier after its constraint went",
        "ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_tier_check; \
         UPDATE subscriptions SET tier = 'gold' WHERE id = 1",
        &["subscriptions.accepted_values.tier"],
        "other than 'pro', 'founding' and 'trial'; cause: constraint subscriptions_tier_check does not exist",
    ),
    (
        "a dropped column",
        "ALTER TABLE users DROP COLUMN display_name",
        &["agentzero.columns"],
        "display_name",
    ),
    (
        "a truncated table",
        "TRUNCATE memo_summaries",
        &["memo_summaries.row_count"],
        "memo_summaries has 0 rows",
    ),
    (
        "stale messages",
        "UPDATE messages SET created_at = created_at - interval '2 days'",
        &["messages.freshness.created_at"],
        "2 d old",
    ),
    ("a dropped index", "DROP INDEX idx_agents_status", &["agentzero.indexes"], "idx_agents_status"),
    (
        "a ledger that no longer adds up",
        "UPDATE credit_ledger SET delta = delta - 7 WHERE id = 4",
        &["user_credits.ledger"],
        "does not add up",
    ),
    (
        "a backfill that stopped halfway",
        "UPDATE user_credits SET monthly_budget = NULL WHERE credits_used > 40",
        &["user_credits.backfill.monthly_budget"],
        "have no monthly_budget yet",
    ),
    (
        "a dropped trigger",
        "DROP TRIGGER users_create_credits ON users",
        &["agentzero.triggers"],
        "users_create_credits",
    ),
    ("a dropped function", "DROP FUNCTION refund_credits", &["agentzero.functions"], "refund_credits"),
    (
        "a doubled credits row",
        "ALTER TABLE user_credits DROP CONSTRAINT user_credits_pkey; INSERT INTO user_credits SELECT * FROM user_credits LIMIT 1",
        &["users.credits"],
        "1 with several; cause: constraint user_credits_pkey does not exist",
    ),
    (
        "a policy for another role",
        "ALTER POLICY \"Users can read their org's agents\" ON agents TO anon",
        &["agentzero.rls"],
        "is for the role anon, not authenticated",
    ),
    (
        "a policy that lets in everybody who signed in",
        "ALTER POLICY \"Users can read their org's agents\" ON agents USING (auth.uid() IS NOT NULL)",
        &["agentzero.rls"],
        "has USING (auth.uid() IS NOT NULL), not",
    ),
    (
        "a policy for another command",
        "DROP POLICY \"Users can read themselves\" ON users; \
         CREATE POLICY \"Users can read themselves\" ON users FOR UPDATE TO authenticated USING (id = auth.uid())",
        &["agentzero.rls"],
        "is for UPDATE, not SELECT",
    ),
    (
        "a dropped default",
        "ALTER TABLE agents ALTER status DROP DEFAULT",
        &["agentzero.columns"],
        "agents.status has no default, not the default active",
    ),
    (
        "a column that may be NULL",
        "ALTER TABLE messages ALTER role DROP NOT NULL",
        &["agentzero.columns"],
        "messages.role may be NULL",
    ),
    (
        "an index that is no longer unique",
        "DROP INDEX users_email_key; CREATE INDEX users_email_key ON users (email)",
        &["agentzero.indexes"],
        "index unique users(email) does not exist",
    ),
    (
        "rights for everybody",
        "GRANT SELECT ON user_credits TO anon",
        &["agentzero.grants"],
        "anon may SELECT user_credits",
    ),
    (
        "rights that were taken away",
        "REVOKE SELECT ON agents FROM authenticated",
        &["agentzero.grants"],
        "authenticated may no longer SELECT agents",
    ),
    (
        "a webhook that is booked twice",
        "INSERT INTO webhook_events SELECT 100000, event_name, body_sha256, processed_at, error, received_at \
         FROM webhook_events WHERE id = 1",
        &["agentzero.webhooks_once"],
        "is booked 2 times",
    ),
    (
        "a policy more",
        "CREATE POLICY active ON agents FOR SELECT TO anon USING (status = 'active')",
        &["agentzero.rls"],
        "policy \"active\" on agents is none of those that the suite names: SELECT to anon USING",
    ),
    (
        "a policy that narrows where it should open",
        "DROP POLICY \"Users can read their org's agents\" ON agents; CREATE POLICY \"Users can read their org's \
         agents\" ON agents AS RESTRICTIVE FOR SELECT TO authenticated USING (organisation_id IN (SELECT \
         organisation_id FROM users WHERE id = auth.uid()))",
        &["agentzero.rls"],
        "is restrictive, not permissive",
    ),
    (
        "a constraint that lets more in",
        "ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_tier_check; ALTER TABLE subscriptions \
         ADD CONSTRAINT subscriptions_tier_check CHECK (tier IN ('pro', 'founding', 'trial', 'gold'))",
        &["agentzero.constraints"],
        "'gold'::text]))), not CHECK",
    ),
    (
        "a foreign key that was not validated",
        "ALTER TABLE users DROP CONSTRAINT users_organisation_id_fkey; ALTER TABLE users ADD CONSTRAINT \
         users_organisation_id_fkey FOREIGN KEY (organisation_id) REFERENCES organisations NOT VALID",
        &["agentzero.foreign_keys"],
        "has not been validated",
    ),
    (
        "a trigger that calls something else",
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
         DROP TRIGGER users_create_credits ON users; CREATE TRIGGER users_create_credits AFTER INSERT ON users \
         FOR EACH ROW EXECUTE FUNCTION nothing()",
        &["agentzero.triggers"],
        "calls nothing, not create_user_credits",
    ),
    (
        "a trigger that fires in replication only",
        "ALTER TABLE users ENABLE REPLICA TRIGGER users_create_credits",
        &["agentzero.triggers"],
        "fires in replication only",
    ),
    (
        "a function that lost its rights",
        "ALTER FUNCTION deduct_credits SECURITY INVOKER",
        &["agentzero.functions"],
        "is SECURITY INVOKER, not SECURITY DEFINER",
    ),
    (
        "a function that shows every user",
        "CREATE FUNCTION everybody() RETURNS SETOF users LANGUAGE sql SECURITY DEFINER AS 'SELECT * FROM users'",
        &["agentzero.definer_functions"],
        "function everybody() is SECURITY DEFINER",
    ),
    (
        "a column for everybody",
        "GRANT SELECT (email) ON users TO anon",
        &["agentzero.grants"],
        "anon may SELECT users.email",
    ),
    (
        "the product's server without its rights",
        "REVOKE SELECT ON user_credits FROM service_role",
        &["agentzero.grants"],
        "service_role may no longer SELECT user_credits",
    ),
    (
        "a slug of two organisations",
        "UPDATE organisations SET slug = 'org-1' WHERE slug = 'org-2'",
        &["organisations.unique.slug"],
        "repeats the slug of another",
    ),
    (
        "two subscriptions of one person",
        "INSERT INTO subscriptions SELECT 1000, user_id, 'ls_again', tier, status, renews_at, created_at \
         FROM subscriptions WHERE id = 3",
        &["agentzero.one_subscription"],
        "a user has 2 active subscriptions",
    ),
    (
        "chunks that were imported twice",
        "INSERT INTO document_chunks SELECT id + 100000, document_id, position, content, embedding FROM document_chunks",
        &["document_chunks.unique.document_id_position"],
        "repeat the document_id and position of another",
    ),
    (
        "credits that were given twice",
        "INSERT INTO credit_ledger SELECT id + 100000, user_id, delta, reason, created_at FROM credit_ledger WHERE id = 19",
        &["credit_ledger.one_signup"],
        "repeats the user_id of another",
    ),
    (
        "webhooks that end in errors",
        "UPDATE webhook_events SET error = 'no such user' WHERE id < 20",
        &["agentzero.webhook_errors"],
        "at most 1 is allowed",
    ),
    (
        "a dropped foreign key",
        "ALTER TABLE agents DROP CONSTRAINT agents_organisation_id_fkey",
        &["agentzero.foreign_keys"],
        "agents_organisation_id_fkey",
    ),
];

#[tokio::test]
async fn every_defect_is_blamed_on_its_own_check() {
    let mut wrong = Vec::new();
    for (name, sql, blamed, said) in DEFECTS {
        let product = AgentZero::with_users(300).await;
        product.execute(sql).await;
        let (code, document) = json(&product.scanner, &[SUITE]).await;
        let found = unwell(&document);
        let messages: Vec<&str> = found.iter().map(|key| message(&document, key)).collect();
        if found != *blamed || code != 1 || !messages.last().is_some_and(|message| message.contains(said)) {
            wrong.push(format!("{name}: {code} {found:?}\n  {}", messages.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
