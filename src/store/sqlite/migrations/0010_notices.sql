-- What was told of a grant.
ALTER TABLE grants ADD COLUMN horizon TEXT NOT NULL DEFAULT 'unknown'; -- whether refreshes move the end of the refresh token
ALTER TABLE grants ADD COLUMN expiring_told INTEGER;                   -- the last step told, in days before that end
ALTER TABLE grants ADD COLUMN at_risk INTEGER NOT NULL DEFAULT 0;      -- told, and not recovered since

-- What must be told. Nothing here is secret.
CREATE TABLE notices (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL UNIQUE, -- a function of the fact
    type         TEXT NOT NULL,
    at           INTEGER NOT NULL,
    person_id    TEXT,
    email        TEXT,
    display_name TEXT,
    data         TEXT NOT NULL, -- a JSON object
    held_until   INTEGER        -- waits for others of its type; NULL: no more
) STRICT;

CREATE INDEX notices_held ON notices (type, number) WHERE held_until IS NOT NULL;

-- One row for each notice and sink.
CREATE TABLE deliveries (
    sink    TEXT NOT NULL,
    notice  INTEGER NOT NULL, -- its number
    chain   TEXT NOT NULL,    -- what is told in order
    state   TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'given_up', 'outdated')),
    tries   INTEGER NOT NULL,
    attempt INTEGER NOT NULL, -- grows with each claim
    claimed INTEGER NOT NULL,
    next_at INTEGER NOT NULL, -- while claimed: the end of the lease; while held: never
    done_at INTEGER,
    why     TEXT,
    PRIMARY KEY (sink, notice)
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_due ON deliveries (sink, next_at) WHERE state = 'waiting';
CREATE INDEX deliveries_chain ON deliveries (sink, chain, notice);
CREATE INDEX deliveries_notice ON deliveries (notice);

-- What happened. No names or addresses: only the person's id.
CREATE TABLE history (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    person_id TEXT,
    what      TEXT NOT NULL,
    detail    TEXT NOT NULL
) STRICT;

CREATE INDEX history_person ON history (person_id, number) WHERE person_id IS NOT NULL;

-- Refreshes that are no entry of their own, by day (counted from 1970, UTC).
CREATE TABLE daily_counts (
    day       INTEGER NOT NULL,
    outcome   TEXT NOT NULL,
    refreshes INTEGER NOT NULL,
    PRIMARY KEY (day, outcome)
) STRICT, WITHOUT ROWID;
