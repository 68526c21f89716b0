-- What the audit is asked for: what a token did, what was done to it, since when. Newest first is the primary key.
CREATE INDEX audit_actor ON audit (actor) WHERE actor IS NOT NULL;
CREATE INDEX audit_subject ON audit (subject) WHERE subject IS NOT NULL;
CREATE INDEX audit_at ON audit (at);
