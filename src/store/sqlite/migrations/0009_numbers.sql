-- Numbers that nothing asks for any more: past refreshes by hour, and ends of refresh tokens by day.
DROP TABLE history;
DROP TRIGGER grants_end_moved;
DROP TRIGGER grants_added;
DROP TRIGGER grants_removed;
DELETE FROM tallies WHERE what = 'ends_on';
ALTER TABLE grants DROP COLUMN ends_on;

CREATE TRIGGER grants_added AFTER INSERT ON grants BEGIN
    INSERT INTO tallies SELECT new.integration, 'kind', new.kind, 0 WHERE NOT EXISTS
        (SELECT 1 FROM tallies WHERE integration = new.integration AND what = 'kind' AND which = new.kind);
    UPDATE tallies SET people = people + 1
        WHERE integration = new.integration AND what = 'kind' AND which = new.kind;
END;

CREATE TRIGGER grants_removed AFTER DELETE ON grants BEGIN
    UPDATE tallies SET people = people - 1
        WHERE integration = old.integration AND what = 'kind' AND which = old.kind;
END;
