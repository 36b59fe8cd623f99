-- When a delivery is tried, apart from when it was planned.
ALTER TABLE deliveries ADD COLUMN planned_at INTEGER NOT NULL DEFAULT 0; -- from when on a try counts; next_at may be earlier
ALTER TABLE deliveries ADD COLUMN postponed INTEGER NOT NULL DEFAULT 0;  -- must not be tried before planned_at
UPDATE deliveries SET planned_at = next_at;

DROP INDEX deliveries_due;
CREATE INDEX deliveries_due ON deliveries (sink, next_at, notice, chain) WHERE state = 'waiting';
