-- When Webex is asked again for a person's address and name. 0: with the next refresh, so that a store of an earlier version,
-- which asked at consents only and lowered other letters than ASCII, too, soon has them as Webex does.
ALTER TABLE grants ADD COLUMN person_check_at INTEGER NOT NULL DEFAULT 0;

-- Filled in anew: no letter but an ASCII one is found by an ASCII letter.
DELETE FROM texts;
