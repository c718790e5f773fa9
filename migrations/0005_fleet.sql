-- A release that is verified again keeps the instant at which it went out, and what it is compared with.

ALTER TABLE deploys ADD COLUMN released_at BIGINT;   -- the finish of the first attempt, where it was another
ALTER TABLE deploys ADD COLUMN reverifies TEXT;      -- the attempt that this one verifies again

-- What retention looks for, oldest first; and what the list of all deploys shows, newest first. Without them
-- both read every deploy of the retention.
CREATE INDEX deploys_ended ON deploys (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX deploys_started ON deploys (started_at, id);
CREATE INDEX deploys_baseline ON deploys (baseline_id);
CREATE INDEX deploys_clean_baseline ON deploys (clean_baseline_id);
CREATE INDEX baselines_captured ON baselines (captured_at);
