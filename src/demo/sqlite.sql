-- AgentZero in SQLite: the fourteen tables of checks/agentzero/schema.sql with healthy data. :users is the number of users.
CREATE TABLE organisations (id TEXT PRIMARY KEY, name TEXT NOT NULL, slug TEXT, created_at TEXT NOT NULL);
CREATE TABLE users (id TEXT PRIMARY KEY, organisation_id TEXT REFERENCES organisations (id), email TEXT, display_name TEXT,
  verified_email_sent_at TEXT, created_at TEXT NOT NULL);
CREATE TABLE user_credits (user_id TEXT PRIMARY KEY, credits_remaining INTEGER NOT NULL, credits_used INTEGER NOT NULL,
  monthly_budget INTEGER, updated_at TEXT NOT NULL);
CREATE TABLE credit_ledger (id INTEGER PRIMARY KEY, user_id TEXT NOT NULL, delta INTEGER NOT NULL, reason TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE TABLE agents (id TEXT PRIMARY KEY, organisation_id TEXT NOT NULL REFERENCES organisations (id), owner_id TEXT, name TEXT NOT NULL,
  status TEXT DEFAULT 'active', new_feature TEXT, created_at TEXT NOT NULL);
CREATE TABLE documents (id TEXT PRIMARY KEY, organisation_id TEXT NOT NULL, agent_id TEXT, title TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE TABLE document_chunks (id INTEGER PRIMARY KEY, document_id TEXT NOT NULL, position INTEGER NOT NULL, content TEXT NOT NULL, embedding TEXT);
CREATE TABLE subscriptions (id INTEGER PRIMARY KEY, user_id TEXT NOT NULL, lemonsqueezy_id TEXT, tier TEXT NOT NULL, status TEXT NOT NULL,
  renews_at TEXT, created_at TEXT NOT NULL);
CREATE TABLE founding_grants (id INTEGER PRIMARY KEY, user_id TEXT NOT NULL, credits INTEGER NOT NULL, order_id TEXT NOT NULL UNIQUE, created_at TEXT NOT NULL);
CREATE TABLE webhook_events (id INTEGER PRIMARY KEY, event_name TEXT NOT NULL, body_sha256 TEXT NOT NULL, processed_at TEXT, error TEXT, received_at TEXT NOT NULL);
CREATE TABLE conversations (id TEXT PRIMARY KEY, user_id TEXT NOT NULL, agent_id TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE TABLE messages (id INTEGER PRIMARY KEY, conversation_id TEXT NOT NULL, role TEXT NOT NULL, content TEXT, tokens INTEGER, created_at TEXT NOT NULL);
CREATE TABLE memo_summaries (id INTEGER PRIMARY KEY, user_id TEXT NOT NULL, summary TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE TABLE waitlist (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, created_at TEXT NOT NULL);

CREATE TEMP TABLE g (n INTEGER PRIMARY KEY);
INSERT INTO g WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 2 * :users) SELECT n FROM r;

INSERT INTO organisations SELECT printf('00000001-0000-4000-8000-%012x', n), 'Org ' || n, 'org-' || n, datetime('now', '-90 days') FROM g WHERE n <= max(1, :users / 10);
INSERT INTO users SELECT printf('00000002-0000-4000-8000-%012x', n), printf('00000001-0000-4000-8000-%012x', 1 + n % max(1, :users / 10)), 'user' || n || '@example.com', 'User ' || n, datetime('now', '-60 days'), datetime('now', '-' || n || ' seconds') FROM g WHERE n <= :users;
INSERT INTO user_credits SELECT printf('00000002-0000-4000-8000-%012x', n), 100 - n % 90, n % 90, 1000, datetime('now', '-1 day') FROM g WHERE n <= :users;
INSERT INTO credit_ledger SELECT 2 * n - 1, printf('00000002-0000-4000-8000-%012x', n), 100, 'signup', datetime('now', '-60 days') FROM g WHERE n <= :users;
INSERT INTO credit_ledger SELECT 2 * n, printf('00000002-0000-4000-8000-%012x', n), -(n % 90), 'usage', datetime('now', '-1 day') FROM g WHERE n <= :users;
INSERT INTO agents SELECT printf('00000003-0000-4000-8000-%012x', n), printf('00000001-0000-4000-8000-%012x', 1 + n % max(1, :users / 10)), printf('00000002-0000-4000-8000-%012x', 1 + n % :users), 'Agent ' || n, 'active', NULL, datetime('now', '-30 days') FROM g;
INSERT INTO documents SELECT printf('00000004-0000-4000-8000-%012x', n), printf('00000001-0000-4000-8000-%012x', 1 + n % max(1, :users / 10)), printf('00000003-0000-4000-8000-%012x', 1 + n % (2 * :users)), 'Document ' || n, datetime('now', '-20 days') FROM g;
INSERT INTO document_chunks SELECT n, printf('00000004-0000-4000-8000-%012x', 1 + n % (2 * :users)), 0, 'chunk text ' || n, NULL FROM g;
INSERT INTO subscriptions SELECT n, printf('00000002-0000-4000-8000-%012x', n), 'ls_' || n, CASE n % 3 WHEN 0 THEN 'pro' WHEN 1 THEN 'founding' ELSE 'trial' END, 'active', datetime('now', '+20 days'), datetime('now', '-40 days') FROM g WHERE n <= max(1, :users / 5);
INSERT INTO founding_grants SELECT n, printf('00000002-0000-4000-8000-%012x', n), 500, 'order_' || n, datetime('now', '-40 days') FROM g WHERE n <= max(1, :users / 100);
INSERT INTO webhook_events SELECT n, 'subscription_updated', printf('%064x', n), datetime('now', '-' || n || ' seconds'), NULL, datetime('now', '-' || n || ' seconds') FROM g WHERE n <= max(1, :users / 2);
INSERT INTO conversations SELECT printf('00000005-0000-4000-8000-%012x', n), printf('00000002-0000-4000-8000-%012x', 1 + n % :users), printf('00000003-0000-4000-8000-%012x', 1 + n % (2 * :users)), datetime('now', '-5 days') FROM g;
INSERT INTO messages SELECT n, printf('00000005-0000-4000-8000-%012x', 1 + n % (2 * :users)), CASE n % 2 WHEN 0 THEN 'user' ELSE 'assistant' END, 'message body number ' || n, n % 900, datetime('now', '-' || n || ' seconds') FROM g;
INSERT INTO memo_summaries SELECT n, printf('00000002-0000-4000-8000-%012x', n), 'summary ' || n, datetime('now') FROM g WHERE n <= max(1, :users / 10);
INSERT INTO waitlist SELECT n, 'wait' || n || '@example.com', datetime('now') FROM g WHERE n <= max(1, :users / 50);

CREATE UNIQUE INDEX users_email_key ON users (email);
CREATE INDEX idx_agents_status ON agents (status);
DROP TABLE g;
