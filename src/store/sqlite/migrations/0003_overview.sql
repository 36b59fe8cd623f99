-- What the dashboard and the list ask for: every order and every filter is a range of an index, every number is kept.

-- What a grant's state is made of, but for the time: 0 alive, 1 alive and retrying, 2 in need of consent.
ALTER TABLE grants ADD COLUMN kind INTEGER GENERATED ALWAYS AS
    (CASE WHEN standing = 'consent_needed' THEN 2 WHEN failures > 0 THEN 1 ELSE 0 END) VIRTUAL;
ALTER TABLE grants ADD COLUMN address TEXT GENERATED ALWAYS AS (coalesce(email, '')) VIRTUAL;
-- The day (UTC, counted from 1970) on which the refresh token ends.
ALTER TABLE grants ADD COLUMN ends_on INTEGER GENERATED ALWAYS AS
    (refresh_token_expires_at / 86400000 - (refresh_token_expires_at % 86400000 < 0)) VIRTUAL;

CREATE INDEX grants_kind ON grants (integration, kind, due_at);
CREATE INDEX grants_expires ON grants (integration, expires_at);
DROP INDEX grants_email;
CREATE INDEX grants_address ON grants (integration, address);

-- What a search may find the start of, in lower case. Follows the person; a row too many does no harm.
CREATE TABLE texts (
    text   TEXT NOT NULL,
    person INTEGER NOT NULL, -- serial of the grant
    PRIMARY KEY (text, person)
) STRICT, WITHOUT ROWID;

-- How many grants there are of each kind, and of each day on which a refresh token ends.
CREATE TABLE tallies (
    integration TEXT NOT NULL,
    what   TEXT NOT NULL CHECK (what IN ('kind', 'ends_on')),
    which  INTEGER NOT NULL,
    people INTEGER NOT NULL,
    PRIMARY KEY (integration, what, which)
) STRICT, WITHOUT ROWID;

INSERT INTO tallies SELECT integration, 'kind', kind, count(*) FROM grants GROUP BY integration, kind;
INSERT INTO tallies SELECT integration, 'ends_on', ends_on, count(*) FROM grants
    WHERE ends_on IS NOT NULL GROUP BY integration, ends_on;

CREATE TRIGGER grants_added AFTER INSERT ON grants BEGIN
    INSERT INTO tallies VALUES (new.integration, 'kind', new.kind, 1)
        ON CONFLICT DO UPDATE SET people = people + 1;
    INSERT INTO tallies SELECT new.integration, 'ends_on', new.ends_on, 1 WHERE new.ends_on IS NOT NULL
        ON CONFLICT DO UPDATE SET people = people + 1;
END;

CREATE TRIGGER grants_removed AFTER DELETE ON grants BEGIN
    UPDATE tallies SET people = people - 1
        WHERE integration = old.integration AND what = 'kind' AND which = old.kind;
    UPDATE tallies SET people = people - 1
        WHERE integration = old.integration AND what = 'ends_on' AND which = old.ends_on;
    DELETE FROM tallies
        WHERE integration = old.integration AND what = 'ends_on' AND which = old.ends_on AND people = 0;
END;

CREATE TRIGGER grants_kind_changed AFTER UPDATE OF integration, standing, failures ON grants
WHEN old.kind <> new.kind OR old.integration <> new.integration BEGIN
    UPDATE tallies SET people = people - 1
        WHERE integration = old.integration AND what = 'kind' AND which = old.kind;
    INSERT INTO tallies VALUES (new.integration, 'kind', new.kind, 1)
        ON CONFLICT DO UPDATE SET people = people + 1;
END;

CREATE TRIGGER grants_end_moved AFTER UPDATE OF integration, refresh_token_expires_at ON grants
WHEN old.ends_on IS NOT new.ends_on OR old.integration <> new.integration BEGIN
    UPDATE tallies SET people = people - 1
        WHERE integration = old.integration AND what = 'ends_on' AND which = old.ends_on;
    DELETE FROM tallies
        WHERE integration = old.integration AND what = 'ends_on' AND which = old.ends_on AND people = 0;
    INSERT INTO tallies SELECT new.integration, 'ends_on', new.ends_on, 1 WHERE new.ends_on IS NOT NULL
        ON CONFLICT DO UPDATE SET people = people + 1;
END;

-- What refreshes came to, hour by hour (counted from 1970), for about two days.
CREATE TABLE history (
    integration TEXT NOT NULL,
    hour      INTEGER NOT NULL,
    outcome   TEXT NOT NULL,
    refreshes INTEGER NOT NULL,
    PRIMARY KEY (integration, hour, outcome)
) STRICT, WITHOUT ROWID;
