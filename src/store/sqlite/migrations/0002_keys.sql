CREATE TABLE keys (
    id           TEXT PRIMARY KEY,     -- stands in the key in clear
    name         TEXT NOT NULL UNIQUE,
    hash         BLOB NOT NULL,        -- SHA-256 of the whole key, which is kept nowhere
    persons      TEXT,                 -- person ids, one on a line; NULL: all persons
    rights       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER
) STRICT;

CREATE INDEX grants_email ON grants (integration, email);
