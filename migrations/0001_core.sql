-- What every other table leans on. Instants are microseconds since the epoch, booleans 0 or 1, structures
-- JSON text, so that one text serves SQLite and PostgreSQL.

-- A time-limited claim of a name by one process: scheduler jobs, environments, the mail sender.
CREATE TABLE leases (
  name       TEXT PRIMARY KEY,
  holder     TEXT NOT NULL,
  token      BIGINT NOT NULL,          -- grows with each take-over: a fencing token
  expires_at BIGINT NOT NULL
);

-- API tokens: only the SHA-256 of the secret part is kept.
CREATE TABLE tokens (
  id           TEXT PRIMARY KEY,
  name         TEXT NOT NULL,
  hash         TEXT NOT NULL UNIQUE,
  scopes       TEXT NOT NULL,          -- space-separated: deploy gate read ack admin
  created_at   BIGINT NOT NULL,
  expires_at   BIGINT,
  revoked_at   BIGINT,
  last_used_at BIGINT
);

-- Browser sessions, obtained with a token; they end with it.
CREATE TABLE sessions (
  hash       TEXT PRIMARY KEY,
  token_id   TEXT NOT NULL REFERENCES tokens (id),
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  csrf       TEXT NOT NULL
);

-- Who did what: append only.
CREATE TABLE audit (
  id      TEXT PRIMARY KEY,
  at      BIGINT NOT NULL,
  actor   TEXT NOT NULL,
  action  TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail  TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_at ON audit (at);

-- Small facts that must survive a restart: the instance key's check value, the last tick.
CREATE TABLE meta (
  name       TEXT PRIMARY KEY,
  value      TEXT NOT NULL,
  updated_at BIGINT NOT NULL
);

-- Answers to requests that carried an Idempotency-Key.
CREATE TABLE idempotency (
  scope        TEXT NOT NULL,
  key          TEXT NOT NULL,
  request_hash TEXT NOT NULL,
  status       BIGINT,                 -- NULL while in flight
  body         TEXT,
  created_at   BIGINT NOT NULL,
  PRIMARY KEY (scope, key)
);
