-- Times are milliseconds since 1970, UTC; 9223372036854775807 is "never".

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT;

CREATE TABLE grants (
    serial      INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice, so that a fence never fits a later row
    integration TEXT NOT NULL,                     -- the client id that the tokens belong to
    person_id   TEXT NOT NULL,
    email        TEXT,
    display_name TEXT,
    org_id       TEXT,
    access_token  BLOB NOT NULL, -- sealed
    refresh_token BLOB NOT NULL, -- sealed
    token_type    TEXT NOT NULL,
    scope         TEXT,
    obtained_at INTEGER NOT NULL,
    renewed_at  INTEGER NOT NULL,
    answered_at INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    refresh_token_expires_at INTEGER,
    standing     TEXT NOT NULL CHECK (standing IN ('alive', 'consent_needed')),
    last_at      INTEGER NOT NULL,
    last_outcome TEXT NOT NULL,
    last_detail  TEXT NOT NULL,
    failures     INTEGER NOT NULL,
    due_at  INTEGER NOT NULL, -- while claimed: the end of the lease
    wake_at INTEGER NOT NULL, -- likewise
    version     INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    claim_owner TEXT,
    UNIQUE (integration, person_id)
) STRICT;

CREATE INDEX grants_due ON grants (integration, due_at);
CREATE INDEX grants_wake ON grants (integration, wake_at);
CREATE INDEX grants_claimed ON grants (claim_owner) WHERE claim_owner IS NOT NULL;
