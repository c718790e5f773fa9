-- Deploys, what they are held against, what was seen, and what it adds up to.

-- One row for each environment, locked while a deploy of it starts, finishes or ends, so that two of them
-- never both believe to be the newest.
CREATE TABLE environment_turns (
  environment TEXT PRIMARY KEY,
  turn        BIGINT NOT NULL
);

-- Checks as loaded when a deploy was announced, by the digest of their text: a verdict is replayed with the
-- rules it was made by, and a thousand deploys with the same suite share one row.
CREATE TABLE check_sets (
  digest TEXT PRIMARY KEY,
  checks TEXT NOT NULL
);

-- Immutable.
CREATE TABLE baselines (
  id           TEXT PRIMARY KEY,
  environment  TEXT NOT NULL,
  captured_at  BIGINT NOT NULL,
  source       TEXT NOT NULL,          -- captured, latest_scan
  measurements TEXT NOT NULL
);

-- The newest clean measurements of an environment: the baseline of a deploy that nobody announced.
CREATE TABLE clean_scans (
  environment  TEXT PRIMARY KEY,
  captured_at  BIGINT NOT NULL,
  measurements TEXT NOT NULL
);

CREATE TABLE deploys (
  id                TEXT PRIMARY KEY,
  environment       TEXT NOT NULL,
  version           TEXT NOT NULL,
  attempt           BIGINT NOT NULL,
  commit_id         TEXT,
  kind              TEXT NOT NULL,
  actor             TEXT,
  link              TEXT,
  state             TEXT NOT NULL,     -- deploying, verifying, closed, superseded, cancelled
  started_at        BIGINT NOT NULL,
  finished_at       BIGINT,
  ended_at          BIGINT,
  superseded_by     TEXT,
  cancel_reason     TEXT,
  baseline_id       TEXT REFERENCES baselines (id),
  baseline_at       BIGINT,
  clean_baseline_id TEXT REFERENCES baselines (id),
  both_baselines    BIGINT NOT NULL DEFAULT 0,  -- the deploy before was not clean
  plan              TEXT NOT NULL,
  check_set         TEXT NOT NULL REFERENCES check_sets (digest),
  override          TEXT,
  -- What the observations add up to.
  verdict           TEXT NOT NULL,
  verdict_state     TEXT NOT NULL,
  clean             BIGINT NOT NULL DEFAULT 0,
  verdict_at        BIGINT NOT NULL,   -- when it last changed
  target_health     TEXT NOT NULL DEFAULT '{"unmeasured":0}',
  announced         TEXT NOT NULL DEFAULT '{}', -- what on-call was last told
  scans             BIGINT NOT NULL DEFAULT 0,
  scanned_at        BIGINT,
  read_fully_at     BIGINT,
  -- When it next wants something, and which process is at it.
  next_due_at       BIGINT,
  lease_token       BIGINT NOT NULL DEFAULT 0,  -- grows with each claim: a fencing token
  lease_until       BIGINT NOT NULL DEFAULT 0,
  UNIQUE (environment, version, attempt)
);
CREATE INDEX deploys_due ON deploys (next_due_at) WHERE next_due_at IS NOT NULL;
CREATE INDEX deploys_of_environment ON deploys (environment, started_at);

-- One row for each check of an open window: counters, the next slot, what is pending.
CREATE TABLE check_states (
  deploy_id TEXT NOT NULL REFERENCES deploys (id),
  check_key TEXT NOT NULL,
  state     TEXT NOT NULL,
  PRIMARY KEY (deploy_id, check_key)
);

-- One row for each planned slot of each check, and for each extra sample of it.
CREATE TABLE observations (
  deploy_id   TEXT NOT NULL REFERENCES deploys (id),
  check_key   TEXT NOT NULL,
  slot_at     BIGINT NOT NULL,
  sample      BIGINT NOT NULL,         -- 0 is the slot itself, 1 and on confirm it or try again
  scan        BIGINT NOT NULL,         -- the order they were made in, whatever the clock did
  observed_at BIGINT NOT NULL,
  outcome     TEXT NOT NULL,
  body        TEXT NOT NULL,
  PRIMARY KEY (deploy_id, check_key, slot_at, sample)
);
CREATE INDEX observations_in_order ON observations (deploy_id, scan);

-- Each pass over a target, for the page and for the question what a scan costs.
CREATE TABLE scans (
  id          TEXT PRIMARY KEY,
  deploy_id   TEXT NOT NULL REFERENCES deploys (id),
  scan        BIGINT NOT NULL,
  at          BIGINT NOT NULL,
  late_ms     BIGINT NOT NULL,         -- after the slot's instant
  duration_ms BIGINT NOT NULL,
  checks      BIGINT NOT NULL,
  carried     BIGINT NOT NULL,
  statements  BIGINT NOT NULL,
  server      TEXT,
  error       TEXT
);
CREATE INDEX scans_of_deploy ON scans (deploy_id, scan);
