-- When Webex first refused the grant, or our client for it, since it was last renewed: a grant ends only when a second
-- refusal confirms the first.
ALTER TABLE grants ADD COLUMN refused_since INTEGER;
