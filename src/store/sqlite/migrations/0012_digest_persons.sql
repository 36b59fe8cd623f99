-- The persons that a held digest is about, so that each is counted once. The rows are removed when the digest is released.
CREATE TABLE digest_persons (
    digest    INTEGER NOT NULL, -- the number of the digest's notice
    person_id TEXT NOT NULL,
    PRIMARY KEY (digest, person_id)
) STRICT, WITHOUT ROWID;
