-- What people do from mails, what they silenced, and the proof that this program itself is alive.

-- Something that is measured and shown as ever, and not mailed.
CREATE TABLE silences (
  id          TEXT PRIMARY KEY,
  environment TEXT NOT NULL,           -- empty: any
  deploy_id   TEXT NOT NULL,           -- empty: any
  check_key   TEXT NOT NULL,           -- a key, with * for any letters; empty: any
  kind        TEXT NOT NULL,           -- a kind of incident; empty: any
  owner       TEXT NOT NULL,
  reason      TEXT NOT NULL,
  starts_at   BIGINT NOT NULL,
  ends_at     BIGINT NOT NULL,
  created_by  TEXT NOT NULL,
  ended_by    TEXT NOT NULL,           -- empty: it ends by itself
  settled     BIGINT NOT NULL          -- 1 once what outlived it was told
);
CREATE INDEX silences_unsettled ON silences (ends_at) WHERE settled = 0;
CREATE INDEX silences_starts ON silences (starts_at);

-- Links of mails that were used: each changes something once.
CREATE TABLE used_links (
  digest  TEXT PRIMARY KEY,            -- SHA-256 of the token
  used_at BIGINT NOT NULL
);
CREATE INDEX used_links_at ON used_links (used_at);

-- Who wants no reports about an environment. Alerts always come.
CREATE TABLE reports_off (
  environment TEXT NOT NULL,
  recipient   TEXT NOT NULL,           -- in lower case
  since       BIGINT NOT NULL,
  PRIMARY KEY (environment, recipient)
);
