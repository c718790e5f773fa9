-- Problems with a dedup key, what was written about them, and every try at sending it.

CREATE TABLE incidents (
  id            TEXT PRIMARY KEY,
  environment   TEXT NOT NULL,
  scope         TEXT NOT NULL,           -- a deploy's id, a webhook source's name, or empty
  kind          TEXT NOT NULL,
  state         TEXT NOT NULL,           -- JSON, an enum that carries its facts
  resolved      BIGINT NOT NULL,         -- 0 or 1, the state's part that queries need
  facts         TEXT NOT NULL,           -- JSON, the latest report
  told          TEXT NOT NULL,           -- JSON, what on-call knows
  opened_at     BIGINT NOT NULL,
  updated_at    BIGINT NOT NULL,
  reopened      BIGINT NOT NULL,
  snoozed_until BIGINT,
  version       BIGINT NOT NULL          -- grows with each write: compare-and-set
);
CREATE UNIQUE INDEX incidents_open ON incidents (environment, scope, kind) WHERE resolved = 0;
CREATE INDEX incidents_key ON incidents (environment, scope, kind, opened_at);
CREATE INDEX incidents_opened ON incidents (opened_at);

-- What happened to an incident: append only.
CREATE TABLE incident_events (
  id          TEXT PRIMARY KEY,
  incident_id TEXT NOT NULL REFERENCES incidents (id),
  at          BIGINT NOT NULL,
  actor       TEXT NOT NULL,
  event       TEXT NOT NULL,             -- opened updated reopened escalated resolved acknowledged snoozed told
  detail      TEXT NOT NULL
);
CREATE INDEX incident_events_incident ON incident_events (incident_id, at);

-- One message to one recipient, rendered when its cause was recorded.
CREATE TABLE notifications (
  id             TEXT PRIMARY KEY,
  dedupe         TEXT NOT NULL UNIQUE,
  channel        TEXT NOT NULL,          -- email, or the name of a second channel
  incident_id    TEXT REFERENCES incidents (id),
  environment    TEXT NOT NULL,
  notice         TEXT NOT NULL,
  severity       TEXT NOT NULL,
  recipient      TEXT NOT NULL,
  message_id     TEXT NOT NULL,          -- fixed here, the same on every attempt
  subject        TEXT NOT NULL,
  headers        TEXT NOT NULL,          -- JSON list of [name, value]
  text_body      TEXT NOT NULL,
  html_body      TEXT NOT NULL,
  state          TEXT NOT NULL,          -- pending sending sent dead cancelled
  created_at     BIGINT NOT NULL,
  not_before     BIGINT NOT NULL,
  attempts       BIGINT NOT NULL,
  lease          TEXT,                   -- the claim's token while sending
  lease_until    BIGINT,
  turn           BIGINT NOT NULL,        -- the order within an incident: RESOLVED never overtakes FAIL
  maybe_taken    BIGINT NOT NULL,        -- 1 once an attempt ended without knowing whether the server took it
  finished_at    BIGINT,
  failure        TEXT                    -- the last failure's class
);
CREATE INDEX notifications_due ON notifications (not_before) WHERE state IN ('pending', 'sending');
CREATE INDEX notifications_incident ON notifications (incident_id, recipient);
CREATE INDEX notifications_created ON notifications (created_at);

-- Each try at sending, with the server's answer.
CREATE TABLE notification_attempts (
  id              TEXT PRIMARY KEY,
  notification_id TEXT NOT NULL REFERENCES notifications (id),
  at              BIGINT NOT NULL,
  duration_ms     BIGINT NOT NULL,
  sent            BIGINT NOT NULL,
  stage           TEXT,                  -- how far it came, where it failed
  class           TEXT,
  code            BIGINT,
  answer          TEXT NOT NULL
);
CREATE INDEX notification_attempts_notification ON notification_attempts (notification_id, at);
