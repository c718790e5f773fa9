//! What a migration can do to the tables, policies, rights and functions of the CRM, and which check tells it.

use super::faults::{Fault, fault};

pub const OBJECTS: &[Fault] = &[
    fault(
        "DROP INDEX contacts_workspace_id_email_key",
        ["crm.indexes", "public.indexes", "", "public.indexes", "crm.indexes"],
        "1 index of public is invalid or missing: index unique contacts(workspace_id",
    ),
    fault(
        "DROP INDEX contacts_workspace_id_email_key; UPDATE contacts SET email = (SELECT email FROM contacts WHERE id = 31) WHERE id = 61",
        [
            "contacts.unique.workspace_id_email",
            "contacts.unique.email",
            "",
            "contacts.unique.email",
            "contacts.unique.workspace_id_email",
        ],
        "cause: index unique contacts(workspace_id, email) does not exist",
    ),
    fault(
        "ALTER TABLE invoices DROP CONSTRAINT invoices_number_key",
        ["crm.constraints", "public.constraints", "", "public.constraints", "crm.constraints"],
        "1 constraint of public is not as it should be: constraint invoices",
    ),
    fault(
        "ALTER TABLE invoices DROP CONSTRAINT invoices_number_key; UPDATE invoices SET number = 'INV-00001' WHERE id = 2",
        ["invoices.unique.number", "public.constraints", "", "public.constraints", "invoices.unique.number"],
        "constraint invoices",
    ),
    fault(
        "ALTER TABLE contacts DISABLE ROW LEVEL SECURITY",
        ["crm.rls", "public.row_level_security", "public.rls", "public.row_level_security", "crm.rls"],
        "row-level security is off on contacts",
    ),
    fault(
        "ALTER TABLE contacts FORCE ROW LEVEL SECURITY",
        ["", "", "", "public.drift", "public.drift"],
        "table contacts: row-level security on became row-level security forced",
    ),
    fault(
        "ALTER POLICY \"contacts of my workspaces\" ON contacts USING (true)",
        ["crm.rls", "public.row_level_security", "public.rls", "public.row_level_security", "crm.rls"],
        "on contacts lets every row through: USING (true)",
    ),
    fault(
        "ALTER POLICY \"contacts of my workspaces\" ON contacts USING (false)",
        ["crm.rls", "public.row_level_security", "public.rls", "public.row_level_security", "crm.rls"],
        "on contacts lets no row through: USING (false)",
    ),
    fault(
        "ALTER POLICY \"contacts of my workspaces\" ON contacts WITH CHECK (true)",
        ["crm.rls", "public.row_level_security", "public.rls", "public.row_level_security", "crm.rls"],
        "on contacts lets every row through: WITH CHECK (true)",
    ),
    fault(
        "ALTER POLICY \"deals of my workspaces\" ON deals TO public",
        ["", "public.row_level_security", "", "public.row_level_security", "public.drift"],
        "deals of my workspaces",
    ),
    fault(
        "DROP POLICY \"contacts of my workspaces\" ON contacts",
        ["crm.rls", "public.row_level_security", "", "public.row_level_security", "crm.rls"],
        "policy \"contacts of my workspaces\" on contacts does not exist",
    ),
    fault(
        "DROP POLICY \"deals of my workspaces\" ON deals; CREATE POLICY \"deals of my workspaces\" ON deals FOR ALL TO authenticated USING (workspace_id IN (SELECT my_workspaces()))",
        ["", "public.row_level_security", "", "public.row_level_security", "public.drift"],
        "deals of my workspaces",
    ),
    fault(
        "ALTER POLICY \"own profile\" ON profiles USING (auth.uid() IS NOT NULL)",
        ["", "public.row_level_security", "", "public.row_level_security", "public.drift"],
        "(auth.uid() IS NOT NULL)",
    ),
    fault(
        "CREATE POLICY everybody ON invoices FOR SELECT TO anon USING (1 = 1)",
        ["crm.rls", "public.row_level_security", "public.rls", "public.row_level_security", "crm.rls"],
        "policy \"everybody\" on invoices lets every row through: USING",
    ),
    fault(
        "CREATE POLICY narrow ON invoices AS RESTRICTIVE FOR SELECT TO authenticated USING (status = 'none')",
        ["", "public.row_level_security", "", "public.row_level_security", ""],
        "policy \"narrow\" on invoices is none of those that the suite names",
    ),
    fault(
        "CREATE TABLE notes (id bigint PRIMARY KEY, body text); GRANT ALL ON notes TO anon, authenticated",
        ["crm.rls", "public.row_level_security", "public.rls", "public.row_level_security", "crm.rls"],
        "row-level security is off on notes",
    ),
    fault(
        "GRANT SELECT ON contacts TO anon",
        ["", "public.grants", "", "public.grants", ""],
        "1 row fails: anon may now SELECT contacts",
    ),
    fault(
        "GRANT ALL ON contacts TO public",
        ["", "public.grants", "", "public.grants", ""],
        "1 row fails: public may now DELETE, INSERT, REFERENCES, SELECT, TRIGGER, TR",
    ),
    fault(
        "REVOKE SELECT ON contacts FROM authenticated",
        ["crm.sees", "public.grants", "", "public.grants", "crm.sees"],
        "authenticated may no",
    ),
    fault(
        "REVOKE ALL ON deals FROM service_role",
        ["", "public.grants", "", "public.grants", "public.drift"],
        "DELETE, INSERT, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE",
    ),
    fault(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'deals_contact_id_idx'::regclass",
        ["crm.indexes", "public.indexes", "", "public.indexes", "crm.indexes"],
        "index deals_contact_id_idx on deals is invalid",
    ),
    fault(
        "DROP INDEX deals_contact_id_idx",
        ["crm.indexes", "public.indexes", "", "public.indexes", "crm.indexes"],
        "1 index of public is invalid or missing: index deals",
    ),
    fault(
        "ALTER TABLE deals DROP CONSTRAINT deals_amount_cents_check",
        ["crm.constraints", "public.constraints", "", "public.constraints", "crm.constraints"],
        "1 constraint of public is not as it should be: constraint deals",
    ),
    fault(
        "ALTER TABLE deals DROP CONSTRAINT deals_amount_cents_check; ALTER TABLE deals ADD CONSTRAINT deals_amount_cents_check CHECK (amount_cents >= 0) NOT VALID",
        ["crm.constraints", "public.constraints", "", "public.constraints", "crm.constraints"],
        "constraint deals_amount_cents_check on deals has not been validated",
    ),
    fault(
        "ALTER TABLE deals DROP CONSTRAINT deals_amount_cents_check; UPDATE deals SET amount_cents = -5 WHERE id = 7",
        [
            "deals.in_range.amount_cents",
            "public.constraints",
            "",
            "public.constraints",
            "deals.in_range.amount_cents",
        ],
        "deals_amount_cents_check does not exist",
    ),
    fault(
        "ALTER TABLE workspaces DROP CONSTRAINT workspaces_plan_check; UPDATE workspaces SET plan = 'gold' WHERE slug = 'ws-3'",
        [
            "workspaces.accepted_values.plan",
            "public.constraints",
            "",
            "public.constraints",
            "workspaces.accepted_values.plan",
        ],
        "workspaces_plan_check does not exist",
    ),
    fault(
        "ALTER TABLE tickets DROP CONSTRAINT tickets_contact_id_fkey",
        ["crm.foreign_keys", "public.constraints", "", "public.constraints", "crm.foreign_keys"],
        "tickets_contact_id_fkey",
    ),
    fault(
        "ALTER TABLE tickets DROP CONSTRAINT tickets_contact_id_fkey; UPDATE tickets SET contact_id = 99999 WHERE id = 4",
        [
            "tickets.join_integrity.contact_id.contacts",
            "public.constraints",
            "",
            "public.constraints",
            "tickets.join_integrity.contact_id.contacts",
        ],
        "tickets_contact_id_fkey",
    ),
    fault(
        "ALTER TABLE tickets DROP CONSTRAINT tickets_contact_id_fkey; ALTER TABLE tickets ADD CONSTRAINT tickets_contact_id_fkey FOREIGN KEY (contact_id) REFERENCES contacts NOT VALID",
        ["crm.foreign_keys", "public.constraints", "", "public.constraints", "crm.foreign_keys"],
        "tickets has not been validated",
    ),
    fault(
        "ALTER TABLE ledger_entries DISABLE TRIGGER ledger_books",
        ["crm.triggers", "public.triggers", "", "public.triggers", "crm.triggers"],
        "trigger ledger_books on ledger_entries is disabled",
    ),
    fault(
        "DROP TRIGGER ledger_books ON ledger_entries",
        ["crm.triggers", "public.triggers", "", "public.triggers", "crm.triggers"],
        "trigger ledger_books on ledger_entries does not exist",
    ),
    fault(
        "DROP FUNCTION book() CASCADE",
        ["crm.triggers", "public.functions", "", "public.functions", "crm.triggers"],
        "trigger ledger_books on ledger_entries does not exist",
    ),
    fault(
        "DROP TRIGGER on_auth_user_created ON auth.users",
        ["", "public.sign_up_triggers", "", "public.sign_up_triggers", ""],
        "trigger on_auth_user_created on users does not exist",
    ),
    fault(
        "CREATE OR REPLACE FUNCTION my_workspaces() RETURNS SETOF uuid LANGUAGE sql STABLE SECURITY DEFINER AS $$ SELECT id FROM public.workspaces $$",
        ["crm.sees", "public.functions", "", "public.functions", "supabase.definer_functions"],
        "",
    ),
    fault(
        "CREATE FUNCTION everything() RETURNS SETOF contacts LANGUAGE sql SECURITY DEFINER AS 'SELECT * FROM contacts'",
        ["", "", "", "supabase.definer_functions", "supabase.definer_functions"],
        "function everything() is SECURITY DEFINER, and everybody may call it",
    ),
    fault(
        "ALTER FUNCTION my_workspaces() SECURITY INVOKER",
        ["crm.functions", "public.functions", "", "public.functions", "crm.functions"],
        "function my_workspaces() is SECURITY INVOKER, not SECURITY DEFINER",
    ),
    fault(
        "ALTER TABLE deals ALTER stage DROP DEFAULT",
        ["crm.columns", "public.columns.deals", "", "public.columns.deals", "crm.columns"],
        "deals.stage has no default, not the default",
    ),
    fault(
        "ALTER TABLE contacts ALTER workspace_id DROP NOT NULL",
        ["crm.columns", "public.columns.contacts", "", "public.columns.contacts", "crm.columns"],
        "1 column is not as declared: contacts.workspace_id may be NULL",
    ),
    fault(
        "ALTER TABLE contacts DROP COLUMN phone",
        ["", "public.columns.contacts", "", "public.columns.contacts", "public.drift"],
        "contacts.phone",
    ),
    fault(
        "ALTER TABLE contacts DROP COLUMN email",
        ["crm.columns", "public.columns.contacts", "", "public.columns.contacts", "crm.columns"],
        "contacts.email does not exist",
    ),
    fault(
        "ALTER TABLE contacts RENAME email TO mail",
        ["crm.columns", "public.columns.contacts", "", "public.columns.contacts", "crm.columns"],
        "contacts.email does not exist",
    ),
    fault(
        "ALTER TABLE contacts ALTER score TYPE text",
        ["crm.columns", "public.columns.contacts", "", "public.columns.contacts", "crm.columns"],
        "1 column is not as declared: contacts.score is text, not numeric(5,2)",
    ),
    fault(
        "ALTER TABLE deals ALTER amount_cents TYPE integer",
        ["", "public.columns.deals", "", "public.columns.deals", "public.drift"],
        "deals.amount_cents",
    ),
    fault(
        "ALTER TABLE deals ALTER currency DROP NOT NULL; UPDATE deals SET currency = NULL WHERE id = 3",
        ["crm.columns", "public.columns.deals", "", "public.columns.deals", "crm.columns"],
        "1 column is not as declared: deals.currency may be NULL",
    ),
    fault(
        "DROP TABLE comments CASCADE",
        [
            "comments.row_count",
            "public.row_level_security",
            "",
            "public.row_level_security",
            "comments.row_count",
        ],
        "table comments does not exist",
    ),
    fault(
        "ALTER TABLE comments RENAME TO remarks",
        [
            "comments.row_count",
            "public.row_level_security",
            "",
            "public.row_level_security",
            "comments.row_count",
        ],
        "table comments does not exist",
    ),
    fault(
        "SELECT setval('tickets_id_seq', 5)",
        ["crm.sequences", "public.sequences", "", "public.sequences", "crm.sequences"],
        "sequence tickets_id_seq is 295 behind tickets.id",
    ),
    fault(
        "ALTER VIEW open_tickets RESET (security_invoker)",
        ["", "", "supabase.open_views", "supabase.open_views", "supabase.open_views"],
        "view open_tickets shows authenticated all rows of tickets",
    ),
    fault(
        "DROP VIEW open_tickets",
        ["", "", "", "public.drift", "public.drift"],
        "1 change in public since the baseline: view open_tickets is gone",
    ),
    fault(
        "ALTER PUBLICATION supabase_realtime DROP TABLE tickets",
        ["", "public.publications", "", "public.publications", "public.drift"],
        "publication supabase_realtime",
    ),
    fault(
        "DELETE FROM supabase_migrations.schema_migrations WHERE version = '20260305090000'",
        [
            "",
            "public.migrations",
            "supabase_migrations.schema_migrations.migrations_applied",
            "public.migrations",
            "supabase_migrations.schema_migrations.migrations_applied",
        ],
        "20260305090000_tickets.sql has not been applied",
    ),
    fault(
        "INSERT INTO supabase_migrations.schema_migrations (version) VALUES ('20260401000000')",
        [
            "",
            "public.migrations",
            "supabase_migrations.schema_migrations.migrations_applied",
            "public.migrations",
            "supabase_migrations.schema_migrations.migrations_applied",
        ],
        "migration 20260401000000 was applied, but there is no such file",
    ),
    fault(
        "ALTER TYPE deal_stage ADD VALUE 'maybe'",
        ["", "", "", "public.drift", "public.drift"],
        "1 change in public since the baseline: enum deal_stage: lead, offer, won, l",
    ),
    fault(
        "ALTER TYPE deal_stage RENAME VALUE 'won' TO 'gained'",
        ["", "", "", "public.drift", "public.drift"],
        "1 change in public since the baseline: enum deal_stage: lead, offer, won, l",
    ),
    fault(
        "ALTER TABLE contacts OWNER TO authenticated",
        ["crm.rls", "public.row_level_security", "public.rls", "public.row_level_security", "crm.rls"],
        "contacts belongs to authenticated, for whom its policies do not hold",
    ),
];
