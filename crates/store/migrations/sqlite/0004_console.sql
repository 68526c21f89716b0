-- A session of the console is one whose last use is known; NULL: one of the API, which the console does not accept, nor
-- the API one of the console's. Written at most once a minute.
ALTER TABLE sessions ADD COLUMN last_seen_at INTEGER;

-- Codes of `mlplatform-server open`. One that was used is removed.
CREATE TABLE sign_in_codes (
    digest     BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    token_id   TEXT    NOT NULL REFERENCES tokens (id),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Tokens that an Administrator makes directly: of which form, so that a form that is sent twice makes one.
ALTER TABLE tokens ADD COLUMN create_key BLOB CHECK (length(create_key) = 32);
CREATE UNIQUE INDEX tokens_create_key ON tokens (issuer_id, create_key) WHERE create_key IS NOT NULL;
-- Parts of names, in any script and case. Rows are never removed and names never change, so that the triggers are all.
CREATE VIRTUAL TABLE token_names USING fts5 (name, content = '', tokenize = 'trigram');
INSERT INTO token_names (rowid, name) SELECT seq, name FROM tokens;
CREATE TRIGGER tokens_are_found AFTER INSERT ON tokens
    BEGIN INSERT INTO token_names (rowid, name) VALUES (new.seq, new.name); END;
CREATE VIRTUAL TABLE register_token_names USING fts5 (name, content = '', tokenize = 'trigram');
INSERT INTO register_token_names (rowid, name) SELECT seq, client_name FROM register_tokens;
CREATE TRIGGER register_tokens_are_found AFTER INSERT ON register_tokens
    BEGIN INSERT INTO register_token_names (rowid, name) VALUES (new.seq, new.client_name); END;
-- Whole names, dead ones too, for the audit; and for parts that are too short for the tables above.
CREATE INDEX tokens_name ON tokens (name);
CREATE INDEX register_tokens_client_name ON register_tokens (client_name);
-- Registration tokens that somebody tried to redeem again.
CREATE INDEX register_tokens_replayed ON register_tokens (last_replay_at) WHERE replay_count > 0;
-- Who ends soon, among a hundred thousand.
CREATE INDEX tokens_ending ON tokens (expires_at) WHERE deleted_at IS NULL AND expires_at IS NOT NULL;
