-- What the provider's own API says about our webhooks, how long it may stay silent, and what was found out
-- about it by trying.

-- One row for each source whose API is asked.
CREATE TABLE provider_audits (
  source     TEXT PRIMARY KEY,
  next_at    BIGINT NOT NULL,          -- when to ask again; also the claim: whoever moves it, asks
  asked_at   BIGINT,
  answered_at BIGINT,                  -- the last time that there was an answer
  webhooks   BIGINT NOT NULL DEFAULT 0,
  findings   TEXT NOT NULL DEFAULT '[]',
  problem    TEXT                      -- why there was no answer; NULL when there was
);

-- One row for each source whose orders are counted in the watched database.
CREATE TABLE order_watches (
  source      TEXT PRIMARY KEY,
  next_at     BIGINT NOT NULL,
  received_at BIGINT,                  -- the newest webhook when the counting began
  counted     DOUBLE PRECISION,        -- what the query gave then
  latest      DOUBLE PRECISION,        -- and what it gave last
  grown_at    BIGINT,                  -- since when there is more than a webhook told us
  problem     TEXT
);

-- Answers to the open questions about a provider, with their evidence.
CREATE TABLE provider_answers (
  question    TEXT PRIMARY KEY,
  answer      TEXT NOT NULL,
  evidence    TEXT NOT NULL,
  recorded_at BIGINT NOT NULL,
  recorded_by TEXT NOT NULL
);
