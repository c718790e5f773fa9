//! What a bad migration, a bad backfill or a bad policy does to the AgentZero database, and which check of the
//! shipped suite says so: that one, and no other.

use std::sync::Arc;

use deploywatch::domain::blame::judge_all;
use deploywatch::domain::check::Check;
use deploywatch::domain::evaluate::{BaselineFor, SlotFacts, evaluate};
use deploywatch::domain::measurement::Measurement;
use deploywatch::domain::observation::{Observation, Outcome};
use deploywatch::target::{Params, Scan, ScanRequest, Target, TargetOptions};

use crate::support::AgentZero;

fn checks() -> Vec<Arc<Check>> {
    let suite = deploywatch::suite::embedded("agentzero").expect("it is shipped").expect("it is valid");
    suite.checks.into_iter().map(Arc::new).collect()
}

async fn scan(az: &AgentZero, proofs: bool) -> Scan {
    let mut options = TargetOptions::new(az.admin.as_str().into());
    options.proofs = proofs;
    let request = ScanRequest { checks: checks(), params: Params::default(), carry: None };
    Target::new(options).scan(&request).await.expect("the target can be scanned")
}

/// What is neither a pass nor skipped, for want of a deploy or because another check tells it.
fn blamed(now: &Scan, before: Option<&Scan>) -> Vec<Observation> {
    let slot = SlotFacts { slot_at: now.as_of, observed_at: now.as_of, confirm: false, finished_at: None };
    let checks = checks();
    let judge = |index: usize, measurement: &Measurement| {
        let baseline =
            before.map_or(BaselineFor::Missing, |scan| BaselineFor::Usable(&scan.measurements[index]));
        evaluate(&checks[index].policy, measurement, baseline, slot)
    };
    judge_all(checks.iter().map(Arc::as_ref), &now.measurements, |_| false, judge)
        .into_iter()
        .filter(|observation| !matches!(observation.outcome, Outcome::Pass | Outcome::Skipped))
        .collect()
}

fn keys(observations: &[Observation]) -> Vec<&str> {
    observations.iter().map(|o| o.key.as_str()).collect()
}

/// A defect, the check to blame, and a word of the cause that its message must say.
async fn defect(sql: &str, expected: &str, says: &str) {
    for proofs in [true, false] {
        let az = AgentZero::with_users(1000).await;
        let before = scan(&az, proofs).await;
        assert_eq!(keys(&blamed(&before, None)), Vec::<&str>::new(), "the healthy database is healthy");
        az.execute(sql).await;
        let observations = blamed(&scan(&az, proofs).await, Some(&before));
        let told: Vec<String> = observations.iter().map(|o| format!("{}: {}", o.key, o.message)).collect();
        assert_eq!(keys(&observations), [expected], "{sql}\nproofs: {proofs}\n{told:#?}");
        assert_eq!(observations[0].outcome, Outcome::Fail, "{told:?}");
        assert!(observations[0].message.contains(says), "{told:?}");
    }
}

macro_rules! defects {
    ($($name:ident: $sql:literal => $key:literal; $says:literal;)*) => {
        $(#[tokio::test]
        async fn $name() {
            defect($sql, $key, $says).await;
        })*
    };
}

defects! {
    a_lost_credits_row:
        "DELETE FROM user_credits WHERE user_id = '00000002-0000-4000-8000-000000000007'"
        => "users.credits"; "1";
    null_emails:
        "UPDATE users SET email = NULL WHERE display_name = 'User 7'" => "users.not_null.email"; "1";
    an_orphan_message:
        "INSERT INTO messages VALUES (100000, gen_random_uuid(), 'user', 'hello', 3, now())"
        => "messages.join_integrity.conversation_id.conversations"; "1";
    negative_credits:
        "UPDATE user_credits SET credits_remaining = -5 WHERE user_id = '00000002-0000-4000-8000-000000000007'"
        => "user_credits.not_negative"; "1";
    row_level_security_off:
        "ALTER TABLE agents DISABLE ROW LEVEL SECURITY" => "agentzero.rls"; "row-level security is off on agents";
    a_policy_that_lets_nothing_through:
        "ALTER POLICY \"Users can read their org's agents\" ON agents USING (false)"
        => "agentzero.rls"; "lets no row through";
    a_policy_that_lets_everything_through:
        "ALTER POLICY \"Users can read their org's agents\" ON agents USING (true)"
        => "agentzero.rls"; "lets every row through";
    a_dropped_policy:
        "DROP POLICY \"Users can read their org's agents\" ON agents" => "agentzero.rls"; "does not exist";
    a_dropped_column:
        "ALTER TABLE organisations DROP COLUMN slug" => "agentzero.columns"; "organisations.slug does not exist";
    stale_messages:
        "UPDATE messages SET created_at = created_at - interval '3 days'" => "messages.freshness.created_at"; "";
    a_dropped_index:
        "DROP INDEX idx_agents_status" => "agentzero.indexes"; "idx_agents_status";
    lost_chunks:
        "DELETE FROM document_chunks WHERE id % 5 < 2" => "document_chunks.row_count"; "";
    a_ledger_that_no_longer_adds_up:
        "UPDATE credit_ledger SET delta = delta - 5 WHERE id = 20" => "user_credits.ledger"; "1";
    a_truncated_table:
        "TRUNCATE founding_grants" => "founding_grants.row_count"; "10";
    duplicate_emails_after_their_index_went:
        "DROP INDEX users_email_key; UPDATE users SET email = 'user2@example.com' WHERE display_name = 'User 3'"
        => "users.unique.email"; "cause: index users_email_key does not exist";
    an_invalid_tier_after_its_constraint_went:
        "ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_tier_check;
         UPDATE subscriptions SET tier = 'gold' WHERE id = 5"
        => "subscriptions.accepted_values.tier"; "cause: constraint subscriptions_tier_check does not exist";
    a_dropped_trigger:
        "DROP TRIGGER users_create_credits ON users" => "agentzero.triggers"; "users_create_credits";
    a_disabled_foreign_key:
        "ALTER TABLE users DISABLE TRIGGER ALL; ALTER TABLE users ENABLE TRIGGER users_create_credits"
        => "agentzero.foreign_keys"; "not enforced";
}
