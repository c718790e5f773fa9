-- Passing on with the headers as received, and what is known of the product's secret.

-- The request's own headers, sealed, where a product is told.
ALTER TABLE webhook_bodies ADD COLUMN headers BYTEA;
ALTER TABLE quarantine ADD COLUMN headers BYTEA;

-- The version that the product took last, which may be another than the one that signed.
ALTER TABLE relays ADD COLUMN signed_with TEXT;
CREATE INDEX relays_source ON relays (source, state);

-- Which version the product holds, as far as it showed: by what it took, a probe, or its own report.
CREATE TABLE product_secrets (
  source     TEXT NOT NULL,
  mode       TEXT NOT NULL,
  version_id TEXT NOT NULL,
  seen_at    BIGINT NOT NULL,
  how        TEXT NOT NULL,              -- relay, probe, fingerprint
  PRIMARY KEY (source, mode)
);
