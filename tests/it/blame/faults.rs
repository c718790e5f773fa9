//! What can go wrong with the CRM, and which check tells it: here with its rows, in `objects` with what holds them.

pub struct Fault {
    pub sql: &'static str,
    /// By the makers' own suite, a drafted one, `supabase`, a drafted one with `supabase` against a baseline, and the
    /// own one with `supabase` and `core` against a baseline. Empty where nothing is to be told.
    pub blamed: [&'static str; 5],
    /// A part of every message.
    pub said: &'static str,
}

pub const fn fault(sql: &'static str, blamed: [&'static str; 5], said: &'static str) -> Fault {
    Fault { sql, blamed, said }
}

pub const ROWS: &[Fault] = &[
    fault(
        "DELETE FROM accounts WHERE workspace_id = (SELECT id FROM workspaces WHERE slug = 'ws-3')",
        [
            "crm.accounts",
            "workspaces.join_integrity.id.accounts",
            "",
            "workspaces.join_integrity.id.accounts",
            "crm.accounts",
        ],
        "1 of 30 rows of workspaces does not have exactly one row in accounts with its id: 1 without any",
    ),
    fault(
        "SET session_replication_role = replica; DELETE FROM profiles WHERE full_name = 'Person 7'",
        [
            "crm.sign_ups",
            "auth.users.join_integrity.id.profiles",
            "",
            "auth.users.join_integrity.id.profiles",
            "crm.sign_ups",
        ],
        "1 of 120 rows of auth.users does not have exactly one row in profiles",
    ),
    fault(
        "SET session_replication_role = replica; DELETE FROM workspaces WHERE slug = 'ws-3'",
        [
            "",
            "audit_log.join_integrity.workspace_id.workspaces",
            "",
            "audit_log.join_integrity.workspace_id.workspaces",
            "workspaces.row_count",
        ],
        "workspaces",
    ),
    fault(
        "DELETE FROM invoice_lines WHERE invoice_id % 5 < 2",
        ["crm.totals", "", "", "invoice_lines.row_count", "invoice_lines.row_count"],
        "invoice",
    ),
    fault(
        "SET session_replication_role = replica; DELETE FROM contacts WHERE id % 2 = 0",
        [
            "deals.join_integrity.contact_id.contacts",
            "deals.join_integrity.contact_id.contacts",
            "",
            "contacts.row_count",
            "contacts.row_count",
        ],
        "200 of 400 rows of deals have no row in contacts with its contact_id",
    ),
    fault(
        "TRUNCATE comments",
        ["comments.row_count", "comments.row_count", "", "comments.row_count", "comments.row_count"],
        "at least 1 is required",
    ),
    fault(
        "TRUNCATE invoice_lines",
        [
            "invoice_lines.row_count",
            "invoice_lines.row_count",
            "",
            "invoice_lines.row_count",
            "invoice_lines.row_count",
        ],
        "invoice_lines has 0 rows",
    ),
    fault(
        "TRUNCATE ledger_entries",
        [
            "ledger_entries.row_count",
            "ledger_entries.row_count",
            "",
            "ledger_entries.row_count",
            "ledger_entries.row_count",
        ],
        "ledger_entries has 0 rows",
    ),
    fault(
        "SET session_replication_role = replica; DELETE FROM tickets",
        [
            "comments.join_integrity.ticket_id.tickets",
            "tickets.row_count",
            "",
            "tickets.row_count",
            "comments.join_integrity.ticket_id.tickets",
        ],
        "tickets",
    ),
    fault(
        "UPDATE contacts SET email = NULL WHERE id < 20",
        [
            "contacts.not_null.email",
            "contacts.not_null.email",
            "",
            "contacts.not_null.email",
            "contacts.not_null.email",
        ],
        "19 of 600 rows of contacts have no email",
    ),
    fault(
        "UPDATE contacts SET owner_id = NULL WHERE id = 3",
        [
            "contacts.not_null.owner_id",
            "contacts.not_null.owner_id",
            "",
            "contacts.not_null.owner_id",
            "contacts.not_null.owner_id",
        ],
        "1 of 600 rows of contacts has no owner_id",
    ),
    fault(
        "UPDATE contacts SET email = '' WHERE id = 5",
        [
            "contacts.matches_pattern.email",
            "contacts.matches_pattern.email",
            "",
            "contacts.matches_pattern.email",
            "contacts.matches_pattern.email",
        ],
        "1 of 600 rows of contacts has email that does not match",
    ),
    fault(
        "UPDATE contacts SET score = 250 WHERE id = 5",
        ["contacts.in_range.score", "", "", "", "contacts.in_range.score"],
        "1 of 600 rows of contacts has score outside 0 to 100",
    ),
    fault(
        "UPDATE deals SET contact_id = 99999 WHERE id < 4",
        [
            "deals.join_integrity.contact_id.contacts",
            "deals.join_integrity.contact_id.contacts",
            "",
            "deals.join_integrity.contact_id.contacts",
            "deals.join_integrity.contact_id.contacts",
        ],
        "3 of 400 rows of deals have no row in contacts with its contact_id",
    ),
    fault(
        "UPDATE tickets SET assignee_id = gen_random_uuid() WHERE id = 4",
        [
            "tickets.join_integrity.assignee_id.profiles",
            "tickets.join_integrity.assignee_id.profiles",
            "",
            "tickets.join_integrity.assignee_id.profiles",
            "tickets.join_integrity.assignee_id.profiles",
        ],
        "1 of 300 rows of tickets has no row in profiles with its assignee_id",
    ),
    fault(
        "UPDATE files SET object_id = gen_random_uuid() WHERE id = 4",
        [
            "files.join_integrity.object_id.storage.objects",
            "",
            "",
            "",
            "files.join_integrity.object_id.storage.objects",
        ],
        "1 of 200 rows of files has no row in storage.objects with its object_id",
    ),
    fault(
        "DELETE FROM storage.objects WHERE name = 'f9'",
        [
            "files.join_integrity.object_id.storage.objects",
            "",
            "",
            "",
            "files.join_integrity.object_id.storage.objects",
        ],
        "1 of 200 rows of files has no row in storage.objects with its object_id",
    ),
    fault(
        "UPDATE contacts SET created_at = created_at - interval '3 days'",
        [
            "contacts.freshness.created_at",
            "contacts.freshness.created_at",
            "",
            "contacts.freshness.created_at",
            "contacts.freshness.created_at",
        ],
        "the newest created_at of contacts is 3 d old",
    ),
    fault(
        "UPDATE audit_log SET created_at = created_at - interval '30 days'",
        ["", "audit_log.freshness.created_at", "", "audit_log.freshness.created_at", ""],
        "the newest created_at of audit_log is 30 d old",
    ),
    fault(
        "UPDATE ledger_entries SET amount_cents = amount_cents + 7 WHERE id = 4",
        ["crm.balances", "", "", "", "crm.balances"],
        "1 of 30 rows of accounts has balance_cents that does not add up",
    ),
    fault(
        "UPDATE accounts SET balance_cents = 0 WHERE workspace_id = (SELECT id FROM workspaces WHERE slug = 'ws-3')",
        ["crm.balances", "", "", "", "crm.balances"],
        "1 of 30 rows of accounts has balance_cents that does not add up",
    ),
    fault(
        "UPDATE invoices SET total_cents = 1 WHERE id = 9",
        ["crm.totals", "", "", "", "crm.totals"],
        "1 of 300 rows of invoices has total_cents that does not add up",
    ),
    fault(
        "UPDATE deals SET region = NULL WHERE id > 200",
        [
            "deals.backfill.region",
            "deals.not_null.region",
            "",
            "deals.not_null.region",
            "deals.backfill.region",
        ],
        "200 of 400 rows of deals have no region",
    ),
    fault(
        "UPDATE tickets SET status = 'closed' WHERE id = 9",
        [
            "tickets.accepted_values.status",
            "tickets.accepted_values.status",
            "",
            "tickets.accepted_values.status",
            "tickets.accepted_values.status",
        ],
        "1 of 300 rows of tickets has status other than 'open', 'pending' and 'solve",
    ),
    fault(
        "UPDATE members SET role = 'superuser' WHERE user_id = (SELECT id FROM profiles WHERE full_name = 'Person 9')",
        [
            "members.accepted_values.role",
            "members.accepted_values.role",
            "",
            "members.accepted_values.role",
            "members.accepted_values.role",
        ],
        "1 of 120 rows of members has role other than",
    ),
    fault(
        "UPDATE invoice_lines SET quantity = -1, unit_cents = -1000 WHERE invoice_id = 3 AND line = 1",
        [
            "invoice_lines.in_range.quantity",
            "invoice_lines.in_range.quantity",
            "",
            "invoice_lines.in_range.quantity",
            "invoice_lines.in_range.quantity",
        ],
        "1 of 600 rows of invoice_lines has quantity below",
    ),
    fault(
        "UPDATE tickets SET priority = 9 WHERE id = 9",
        ["tickets.in_range.priority", "", "", "", "tickets.in_range.priority"],
        "1 of 300 rows of tickets has priority outside 1 to 5",
    ),
    fault(
        "UPDATE comments SET body = '' WHERE id = 9",
        [
            "crm.empty_comments",
            "comments.accepted_values.body",
            "",
            "comments.accepted_values.body",
            "crm.empty_comments",
        ],
        "1 of 900 rows of comments",
    ),
    fault(
        "INSERT INTO invoice_lines SELECT invoice_id, line + 10, description, quantity, unit_cents FROM invoice_lines WHERE invoice_id < 20",
        ["crm.totals", "", "", "", "crm.totals"],
        "19 of 300 rows of invoices have total_cents that does not add up",
    ),
];
