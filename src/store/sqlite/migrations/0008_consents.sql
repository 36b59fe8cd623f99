-- Who must consent now, by the end of the access token, and whose consent ends soon.
CREATE INDEX grants_needed ON grants (integration, expires_at) WHERE standing = 'consent_needed';
CREATE INDEX grants_ending ON grants (integration, refresh_token_expires_at) WHERE standing = 'alive';
