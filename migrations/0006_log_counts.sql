-- Lines of log drains, counted and never kept.

-- What a drain was last heard of.
CREATE TABLE log_sources (
    name TEXT PRIMARY KEY,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    lines BIGINT NOT NULL
);

-- What checks ask to be counted: `filter` is its JSON, `since` when counting began.
CREATE TABLE log_filters (
    id TEXT NOT NULL,
    source TEXT NOT NULL,
    filter TEXT NOT NULL,
    since BIGINT NOT NULL,
    asked_at BIGINT NOT NULL,
    PRIMARY KEY (source, id)
);

-- Lines that matched, in buckets of ten seconds; `bucket` is the second at which it begins.
CREATE TABLE log_counts (
    source TEXT NOT NULL,
    filter_id TEXT NOT NULL,
    bucket BIGINT NOT NULL,
    lines BIGINT NOT NULL,
    PRIMARY KEY (source, filter_id, bucket)
);

-- Bodies that were counted, so that a repeated delivery counts once.
CREATE TABLE log_batches (
    source TEXT NOT NULL,
    digest TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (source, digest)
);
CREATE INDEX log_batches_by_age ON log_batches (at);
CREATE INDEX log_counts_by_age ON log_counts (bucket);
