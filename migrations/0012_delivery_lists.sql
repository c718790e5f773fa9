-- Lists of deliveries go by their ids, which say the time, so that a page is found and not sorted.
DROP INDEX webhook_deliveries_received;
CREATE INDEX webhook_deliveries_of_source ON webhook_deliveries (source, id);
CREATE INDEX webhook_deliveries_of_class ON webhook_deliveries (class, id);
-- What was refused is looked for when something is wrong, and is little beside what was accepted.
CREATE INDEX webhook_deliveries_refused ON webhook_deliveries (id) WHERE status <> 200;
