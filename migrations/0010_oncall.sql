-- What a mail waited for, which digest carries it, and who stands in for whom on call.

ALTER TABLE notifications ADD COLUMN held TEXT;          -- storm or quiet: why it waits although the path works
ALTER TABLE notifications ADD COLUMN note TEXT;          -- why it is late, as it is told in the mail
ALTER TABLE notifications ADD COLUMN digest_id TEXT;     -- the mail that tells it instead
ALTER TABLE notifications ADD COLUMN tried_from BIGINT;  -- the age limit counts from here once a person tries it again
CREATE INDEX notifications_sent ON notifications (channel, finished_at) WHERE state = 'sent';

CREATE TABLE oncall_overrides (
  id         TEXT PRIMARY KEY,
  rotation   TEXT NOT NULL,
  person     TEXT NOT NULL,
  from_at    BIGINT NOT NULL,
  until_at   BIGINT NOT NULL,
  reason     TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE INDEX oncall_overrides_until ON oncall_overrides (until_at);
