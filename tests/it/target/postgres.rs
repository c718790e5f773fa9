//! The kinds that read rows, on the AgentZero database.

use deploywatch::domain::measure::{Partners, RowAggregate, Scalar};
use deploywatch::domain::measurement::MeasureErrorCode;

use super::*;
use crate::support::AgentZero;

#[tokio::test]
async fn healthy_rows_measure_as_healthy_and_broken_ones_are_counted() {
    let az = AgentZero::with_users(100).await;
    let checks = || {
        vec![
            rows("users.row_count", "users", RowAggregate::RowCount),
            not_null("users", "email"),
            unique("users", &["email"]),
            accepted("subscriptions", "tier", &["pro", "founding", "trial"]),
            rule("user_credits", "credits_remaining >= 0 AND credits_used >= 0"),
            join("users", "id", "user_credits", "user_id", Partners::ExactlyOne),
            join("messages", "conversation_id", "conversations", "id", Partners::AtLeastOne),
            rows("messages.freshness", "messages", RowAggregate::Freshness { column: "created_at".into() }),
            failed_rows("SELECT id FROM agents WHERE name = ''"),
            value("SELECT 100.0 * count(*) FILTER (WHERE tier = 'pro') / count(*) FROM subscriptions"),
            rows(
                "user_credits.reconcile",
                "user_credits",
                RowAggregate::Reconcile {
                    key: "user_id".into(),
                    value: "credits_used".into(),
                    equals:
                        "SELECT user_id, -sum(delta) FROM credit_ledger WHERE reason = 'usage' GROUP BY 1;"
                            .into(),
                },
            ),
            rows(
                "agents.pattern",
                "agents",
                RowAggregate::MatchesPattern { column: "name".into(), pattern: r"^Agent \d{1,9}$".into() },
            ),
            rows(
                "messages.range",
                "messages",
                RowAggregate::InRange {
                    column: "tokens".into(),
                    min: Some(Scalar::Number("0".into())),
                    max: Some(Scalar::Number("899".into())),
                },
            ),
            rows("agents.backfill", "agents", RowAggregate::Backfill { column: "new_feature".into() }),
            filtered(not_null("agents", "new_feature"), "status <> 'active' -- comment"),
            rows(
                "users.equal",
                "users",
                RowAggregate::ColumnsEqual { left: "email".into(), right: "email".into() },
            ),
            join("messages", "id", "document_chunks", "document_id", Partners::AtLeastOne),
        ]
    };
    let mut reading = options(&az.scanner);
    reading.proofs = false;
    let healthy = scan(reading.clone(), checks()).await;
    let values: Vec<Option<f64>> =
        healthy.measurements[..16].iter().map(|m| measured(m).value.map(f64::round)).collect();
    let zero = Some(0.0);
    assert_eq!(values[..7], [Some(100.0), zero, zero, zero, zero, zero, zero]);
    assert!(values[7].is_some_and(|age| (0.0..600.0).contains(&age)), "{values:?}");
    assert_eq!(values[8..], [zero, Some(30.0), zero, zero, zero, Some(200.0), zero, zero]);
    // A bigint beside a uuid: the one wrong check of a fused statement is blamed, its neighbours are measured.
    let wrong = refused(&healthy.measurements[16]);
    assert_eq!(wrong.code, MeasureErrorCode::Sql);
    assert!(wrong.message.contains("uuid"), "{}", wrong.message);
    assert_eq!(
        measured(&healthy.measurements[13]).detail.as_deref(),
        Some("0.0 % done, 200 of 200 rows left")
    );

    az.execute(
        "ALTER TABLE subscriptions DROP CONSTRAINT subscriptions_tier_check; DROP INDEX users_email_key;
         UPDATE users SET email = NULL WHERE display_name = 'User 1';
         UPDATE users SET email = 'user2@example.com' WHERE display_name IN ('User 3', 'User 4');
         UPDATE subscriptions SET tier = 'gold' WHERE id = 1;
         UPDATE user_credits SET credits_remaining = -1 WHERE credits_used = 5;
         DELETE FROM user_credits WHERE credits_used IN (7, 8);
         DELETE FROM conversations WHERE id = (SELECT conversation_id FROM messages WHERE id = 1);
         UPDATE agents SET name = '' WHERE name = 'Agent 5'",
    )
    .await;
    let broken = scan(reading, checks()).await;
    let values: Vec<f64> =
        [0, 1, 2, 3, 4, 5, 6, 8, 10, 11].iter().map(|i| number(&broken.measurements[*i])).collect();
    // Users 7, 8, 97 and 98 used 7 or 8 credits; a deleted one with usage no longer adds up.
    assert_eq!(values, [100.0, 1.0, 2.0, 1.0, 2.0, 4.0, 5.0, 1.0, 4.0, 1.0]);
    assert_eq!(
        broken.measurements[1].statement.as_deref(),
        Some(r#"SELECT "users".* FROM "public"."users" WHERE "email" IS NULL;"#)
    );
}
