-- The refresh tokens that imported grants came with, by their SHA-256, so that no grant is imported twice.
CREATE TABLE imports (token_hash BLOB PRIMARY KEY, serial INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX imports_serial ON imports (serial);

CREATE TRIGGER grants_import_removed AFTER DELETE ON grants BEGIN
    DELETE FROM imports WHERE serial = old.serial;
END;

-- A consent or another import has replaced the grant.
CREATE TRIGGER grants_import_replaced AFTER UPDATE OF obtained_at ON grants WHEN old.obtained_at <> new.obtained_at BEGIN
    DELETE FROM imports WHERE serial = old.serial;
END;
