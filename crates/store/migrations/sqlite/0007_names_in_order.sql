-- Parts of names that are too short for the tables of parts are looked for name by name, in the order of the list, until a
-- page is full: these hold all that takes.
CREATE INDEX tokens_names_in_order ON tokens (seq, name, expires_at) WHERE deleted_at IS NULL;
CREATE INDEX register_tokens_names_in_order ON register_tokens (seq, client_name);
