-- Signing secrets, what arrived, and what became of it. Keys and bodies are sealed with the master key
-- before they come here.

CREATE TABLE secret_versions (
  id                   TEXT PRIMARY KEY,
  source               TEXT NOT NULL,
  mode                 TEXT NOT NULL,     -- live, test
  number               BIGINT NOT NULL,   -- 1, 2, 3 … within the slot
  fingerprint          TEXT NOT NULL,     -- keyed hash, 12 hex digits
  length               BIGINT NOT NULL,
  warnings             TEXT NOT NULL DEFAULT '[]',
  origin               TEXT NOT NULL,
  sealed               BYTEA,             -- NULL once purged
  state                TEXT NOT NULL,
  state_at             BIGINT NOT NULL,
  until_at             BIGINT,            -- what the state waits for: deadline, end of overlap, end of detection
  reason               TEXT NOT NULL DEFAULT '',
  added_at             BIGINT NOT NULL,
  matches              BIGINT NOT NULL DEFAULT 0,
  first_match_at       BIGINT,
  last_match_at        BIGINT,
  state_matches        BIGINT NOT NULL DEFAULT 0,
  state_first_match_at BIGINT,
  stale_since          BIGINT,            -- on-call was told; NULL while there is nothing to tell
  UNIQUE (source, mode, number)
);
CREATE UNIQUE INDEX secret_versions_one_active ON secret_versions (source, mode) WHERE state = 'active';
CREATE UNIQUE INDEX secret_versions_one_staged ON secret_versions (source, mode) WHERE state = 'staged';

CREATE TABLE rotations (
  id          TEXT PRIMARY KEY,
  source      TEXT NOT NULL,
  mode        TEXT NOT NULL,
  from_id     TEXT,
  to_id       TEXT,
  started_at  BIGINT NOT NULL,
  started_by  TEXT NOT NULL,
  deadline_at BIGINT NOT NULL,
  provider    TEXT,                       -- proof as JSON
  product     TEXT,
  ended       TEXT,                       -- how, when and why as JSON
  told_at     BIGINT,                     -- on-call was told that it is stuck
  version     BIGINT NOT NULL DEFAULT 0   -- compare-and-set
);
CREATE UNIQUE INDEX rotations_one_open ON rotations (source, mode) WHERE ended IS NULL;
CREATE INDEX rotations_started ON rotations (started_at);

-- One row for each event, whoever delivered it how often.
CREATE TABLE webhook_events (
  id           TEXT PRIMARY KEY,
  source       TEXT NOT NULL,
  dedup_key    TEXT NOT NULL,             -- id:<webhook id>, else key:<business key>
  business_key TEXT NOT NULL,
  mode         TEXT NOT NULL,
  event_name   TEXT NOT NULL,
  data_type    TEXT NOT NULL,
  data_id      TEXT NOT NULL,
  store_id     BIGINT,
  received_at  BIGINT NOT NULL,
  delivery_id  TEXT NOT NULL,             -- the first one
  late         BIGINT NOT NULL DEFAULT 0, -- verified after it was refused
  deliveries   BIGINT NOT NULL DEFAULT 1,
  UNIQUE (source, dedup_key)
);
CREATE INDEX webhook_events_received ON webhook_events (received_at);

-- Every request.
CREATE TABLE webhook_deliveries (
  id          TEXT PRIMARY KEY,
  source      TEXT NOT NULL,
  received_at BIGINT NOT NULL,
  status      BIGINT NOT NULL,            -- what we answered
  class       TEXT NOT NULL,
  standing    TEXT NOT NULL,              -- good, bad, noise
  mode        TEXT,
  version_id  TEXT,
  event_id    TEXT,
  event_name  TEXT,
  duplicate   BIGINT NOT NULL DEFAULT 0,
  late        BIGINT NOT NULL DEFAULT 0,
  flags       TEXT NOT NULL DEFAULT '[]',
  sender      TEXT NOT NULL,              -- a keyed hash of the address
  user_agent  TEXT,
  body_bytes  BIGINT NOT NULL,
  body_digest TEXT NOT NULL
);
CREATE INDEX webhook_deliveries_received ON webhook_deliveries (received_at);
CREATE INDEX webhook_deliveries_source ON webhook_deliveries (source, standing, received_at);
CREATE INDEX webhook_deliveries_event ON webhook_deliveries (event_id) WHERE event_id IS NOT NULL;

-- The exact bytes of what was accepted first, or kept because it differed.
CREATE TABLE webhook_bodies (
  delivery_id TEXT PRIMARY KEY,
  sealed      BYTEA NOT NULL
);

-- Refused but well-formed: verified again when a secret is added.
CREATE TABLE quarantine (
  delivery_id TEXT PRIMARY KEY,
  source      TEXT NOT NULL,
  received_at BIGINT NOT NULL,
  expires_at  BIGINT NOT NULL,
  sender      TEXT NOT NULL,
  body_digest TEXT NOT NULL,
  attempts    BIGINT NOT NULL DEFAULT 1,
  encoding    TEXT,                       -- Content-Encoding as received
  event_header TEXT,
  diagnosis   TEXT,                       -- NULL until it was looked at
  sealed      BYTEA NOT NULL,             -- 32 bytes of signature, then the body
  UNIQUE (source, body_digest)
);
CREATE INDEX quarantine_sender ON quarantine (sender);
CREATE INDEX quarantine_expires ON quarantine (expires_at);

CREATE TABLE source_health (
  source       TEXT PRIMARY KEY,
  last_good_at BIGINT,
  failing      TEXT,                      -- since when and how, as JSON; NULL while all is well
  updated_at   BIGINT NOT NULL
);

-- Accepted events on their way to the product.
CREATE TABLE relays (
  delivery_id   TEXT PRIMARY KEY,
  source        TEXT NOT NULL,
  event_id      TEXT NOT NULL UNIQUE,
  version_id    TEXT NOT NULL,
  created_at    BIGINT NOT NULL,
  next_at       BIGINT,                   -- NULL when it is over
  attempts      BIGINT NOT NULL DEFAULT 0,
  state         TEXT NOT NULL,            -- queued, delivered, dead
  last_status   BIGINT,
  last_error    TEXT,
  last_at       BIGINT
);
CREATE INDEX relays_due ON relays (next_at) WHERE next_at IS NOT NULL;
