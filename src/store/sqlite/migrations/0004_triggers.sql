-- The same counts without ON CONFLICT DO UPDATE: of a statement whose trigger says that, SQLite copies every page that it
-- changes, even if it says OR FAIL.

DROP TRIGGER grants_added;
DROP TRIGGER grants_kind_changed;
DROP TRIGGER grants_end_moved;

CREATE TRIGGER grants_added AFTER INSERT ON grants BEGIN
    INSERT INTO tallies SELECT new.integration, 'kind', new.kind, 0 WHERE NOT EXISTS
        (SELECT 1 FROM tallies WHERE integration = new.integration AND what = 'kind' AND which = new.kind);
    UPDATE tallies SET people = people + 1
        WHERE integration = new.integration AND what = 'kind' AND which = new.kind;
    INSERT INTO tallies SELECT new.integration, 'ends_on', new.ends_on, 0 WHERE new.ends_on IS NOT NULL AND NOT EXISTS
        (SELECT 1 FROM tallies WHERE integration = new.integration AND what = 'ends_on' AND which = new.ends_on);
    UPDATE tallies SET people = people + 1
        WHERE integration = new.integration AND what = 'ends_on' AND which = new.ends_on;
END;

CREATE TRIGGER grants_kind_changed AFTER UPDATE OF integration, standing, failures ON grants
WHEN old.kind <> new.kind OR old.integration <> new.integration BEGIN
    UPDATE tallies SET people = people - 1
        WHERE integration = old.integration AND what = 'kind' AND which = old.kind;
    INSERT INTO tallies SELECT new.integration, 'kind', new.kind, 0 WHERE NOT EXISTS
        (SELECT 1 FROM tallies WHERE integration = new.integration AND what = 'kind' AND which = new.kind);
    UPDATE tallies SET people = people + 1
        WHERE integration = new.integration AND what = 'kind' AND which = new.kind;
END;

CREATE TRIGGER grants_end_moved AFTER UPDATE OF integration, refresh_token_expires_at ON grants
WHEN old.ends_on IS NOT new.ends_on OR old.integration <> new.integration BEGIN
    UPDATE tallies SET people = people - 1
        WHERE integration = old.integration AND what = 'ends_on' AND which = old.ends_on;
    DELETE FROM tallies
        WHERE integration = old.integration AND what = 'ends_on' AND which = old.ends_on AND people = 0;
    INSERT INTO tallies SELECT new.integration, 'ends_on', new.ends_on, 0 WHERE new.ends_on IS NOT NULL AND NOT EXISTS
        (SELECT 1 FROM tallies WHERE integration = new.integration AND what = 'ends_on' AND which = new.ends_on);
    UPDATE tallies SET people = people + 1
        WHERE integration = new.integration AND what = 'ends_on' AND which = new.ends_on;
END;
