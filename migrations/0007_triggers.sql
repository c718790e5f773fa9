-- What systems outside tell us of releases, and what they are told back.

-- A provider's request that was verified and means something to us. It is stored before it is answered, and
-- carried out by the job `triggers`.
CREATE TABLE trigger_events (
  id           TEXT PRIMARY KEY,
  source       TEXT NOT NULL,           -- the trigger's name in the settings
  delivery     TEXT NOT NULL,           -- the provider's own id of the delivery
  event        TEXT NOT NULL,           -- as the provider calls it
  environment  TEXT NOT NULL,
  subject      TEXT NOT NULL,           -- the version; events of one subject are carried out in order
  wish         TEXT NOT NULL,           -- JSON: what to do
  answers      TEXT NOT NULL,           -- JSON: where the verdict is answered to
  received_at  BIGINT NOT NULL,
  turn         BIGINT NOT NULL,         -- the order of arrival, whatever the clock did
  next_at      BIGINT,                  -- NULL when it is over
  attempts     BIGINT NOT NULL,
  lease        TEXT,
  lease_until  BIGINT,
  outcome      TEXT,                    -- what came of it, a sentence
  deploy_id    TEXT,
  finished_at  BIGINT,
  UNIQUE (source, delivery)
);
CREATE INDEX trigger_events_due ON trigger_events (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX trigger_events_subject ON trigger_events (environment, subject) WHERE next_at IS NOT NULL;
CREATE INDEX trigger_events_received ON trigger_events (received_at);
CREATE INDEX trigger_events_turn ON trigger_events (turn);

-- A place where a verdict is shown by somebody else. The row holds what it was told last; a change of the
-- verdict makes it due in the same transaction, and what is sent is the verdict as it is then. So a place
-- that could not be reached for an hour is told the newest, once, and never in the wrong order.
CREATE TABLE answers (
  id           TEXT PRIMARY KEY,
  dedupe       TEXT NOT NULL UNIQUE,    -- channel, place, deploy
  deploy_id    TEXT,                    -- NULL: asked before the next release, about the last one
  environment  TEXT NOT NULL,
  source       TEXT NOT NULL,           -- the trigger whose credentials are used
  channel      TEXT NOT NULL,
  address      TEXT NOT NULL,           -- JSON
  asked        TEXT,                    -- of a question without a deploy: the kind of release that asks
  remote_id    TEXT,                    -- what the provider calls the thing that we made there
  state        TEXT NOT NULL,           -- open, done, dead
  revision     BIGINT NOT NULL,         -- grows with each change of the verdict
  told         TEXT,                    -- the text that was taken last
  told_at      BIGINT,
  created_at   BIGINT NOT NULL,
  next_at      BIGINT,                  -- NULL while there is nothing to tell
  attempts     BIGINT NOT NULL,         -- failures in a row
  lease        TEXT,
  lease_until  BIGINT,
  failure      TEXT                     -- the last failure, a sentence
);
CREATE INDEX answers_due ON answers (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX answers_deploy ON answers (deploy_id);
CREATE INDEX answers_environment ON answers (environment) WHERE deploy_id IS NULL;

-- Each try at telling.
CREATE TABLE answer_attempts (
  id          TEXT PRIMARY KEY,
  answer_id   TEXT NOT NULL,
  at          BIGINT NOT NULL,
  duration_ms BIGINT NOT NULL,
  said        TEXT NOT NULL,            -- in_progress, success, failure …
  status      BIGINT,                   -- the provider's HTTP status
  failure     TEXT
);
CREATE INDEX answer_attempts_answer ON answer_attempts (answer_id, at);
