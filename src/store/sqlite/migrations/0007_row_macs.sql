-- What must not be changed by another program, although it is readable: a MAC with a key derived from the store key. A
-- row without one, or with a wrong one, does not count.

ALTER TABLE grants ADD COLUMN person_mac BLOB; -- over integration, person_id, email, display_name, org_id
ALTER TABLE keys ADD COLUMN mac BLOB;          -- over every column but last_used_at
