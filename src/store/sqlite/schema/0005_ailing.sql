-- Few at most times; with it, everybody is counted by state without looking at a single grant.
CREATE INDEX grants_ailing ON grants (integration, standing, due_at)
    WHERE failures > 0 OR standing = 'consent_needed';
