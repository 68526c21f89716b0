-- The rest of a token's life. A token may have several secrets (rotate_token gives it a new one, and the old one may
-- live on for a while), it is known when and from where it was last used, and a registration token may be withdrawn by
-- hand. SQLite changes neither constraints nor unique columns, so two tables are made anew; that is done with foreign
-- keys off, as its documentation says, for which the store cares.

CREATE TABLE token_secrets (
    digest         BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    token_id       TEXT    NOT NULL REFERENCES tokens (id),
    created_at     INTEGER NOT NULL,
    -- Set by the first exchange. A lost answer may only be repeated while this is NULL.
    first_used_at  INTEGER,
    -- NULL: the newest one, which lives as long as its token.
    ends_at        INTEGER,
    -- Of those that rotate_token made: who asked, with which key, and what; the rest came with their token.
    rotated_by     TEXT    REFERENCES tokens (id),
    rotate_key     BLOB    CHECK (length(rotate_key) = 32),
    rotate_attempt INTEGER,
    rotate_overlap INTEGER,
    -- The session that asked, if it was the token's own: rotating may have ended it, and the answer may be lost.
    rotate_session BLOB    CHECK (length(rotate_session) = 32),
    CHECK ((rotate_key IS NULL) = (rotate_attempt IS NULL))
) STRICT, WITHOUT ROWID;

INSERT INTO token_secrets (digest, token_id, created_at, first_used_at)
    SELECT digest, id, created_at, first_used_at FROM tokens ORDER BY digest;

CREATE UNIQUE INDEX token_secrets_newest ON token_secrets (token_id) WHERE ends_at IS NULL;
CREATE INDEX token_secrets_token_id ON token_secrets (token_id);
CREATE UNIQUE INDEX token_secrets_rotate_key ON token_secrets (rotated_by, rotate_key, rotate_attempt)
    WHERE rotate_key IS NOT NULL;
CREATE INDEX token_secrets_rotate_session ON token_secrets (rotate_session) WHERE rotate_session IS NOT NULL;

CREATE TABLE new_tokens (
    -- The order of making, which lists are paged by.
    seq               INTEGER PRIMARY KEY,
    id                TEXT    NOT NULL UNIQUE,
    name              TEXT    NOT NULL,
    role              TEXT    NOT NULL CHECK (role IN ('USER', 'ADMIN')),
    -- The token that made the registration token; NULL: the platform itself.
    issuer_id         TEXT    REFERENCES tokens (id),
    issuer_name       TEXT    NOT NULL,
    register_token_id TEXT    REFERENCES register_tokens (id),
    created_at        INTEGER NOT NULL,
    -- NULL: never.
    expires_at        INTEGER,
    -- Written about once a minute, apart from requests.
    last_used_at      INTEGER,
    last_used_address TEXT,
    deleted_at        INTEGER,
    deleted_by        TEXT    REFERENCES tokens (id),
    delete_reason     TEXT    CHECK (delete_reason IN ('deleted', 'expired', 'replaced', 'superseded')),
    delete_key        BLOB    CHECK (length(delete_key) = 32),
    CHECK ((deleted_at IS NULL) = (delete_reason IS NULL)),
    CHECK ((last_used_at IS NULL) = (last_used_address IS NULL))
) STRICT;

INSERT INTO new_tokens (seq, id, name, role, issuer_id, issuer_name, register_token_id, created_at, expires_at,
                        deleted_at, deleted_by, delete_reason, delete_key)
    SELECT seq, id, name, role, issuer_id, issuer_name, register_token_id, created_at, expires_at,
           deleted_at, deleted_by, delete_reason, delete_key FROM tokens ORDER BY seq;
DROP TABLE tokens;
ALTER TABLE new_tokens RENAME TO tokens;

-- What makes names unique. An expired token holds its name until somebody needs the name.
CREATE UNIQUE INDEX tokens_living_name ON tokens (name) WHERE deleted_at IS NULL;
-- One key may have deleted several: all that one issuer made.
CREATE INDEX tokens_delete_key ON tokens (deleted_by, delete_key) WHERE delete_key IS NOT NULL;
CREATE INDEX tokens_register_token ON tokens (register_token_id) WHERE register_token_id IS NOT NULL;
-- What one issuer has living, counted and deleted by it, also when the issuer itself is gone.
CREATE INDEX tokens_issuer ON tokens (issuer_id, expires_at) WHERE deleted_at IS NULL;
CREATE INDEX tokens_issuer_name ON tokens (issuer_name, issuer_id) WHERE deleted_at IS NULL;

CREATE TABLE new_register_tokens (
    seq              INTEGER PRIMARY KEY,
    id               TEXT    NOT NULL UNIQUE,
    digest           BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    -- Name, role and lifetime of the access token: whoever redeems cannot change them.
    client_name      TEXT    NOT NULL,
    role             TEXT    NOT NULL CHECK (role IN ('USER', 'ADMIN')),
    access_lifetime  INTEGER,
    issuer_id        TEXT    NOT NULL REFERENCES tokens (id),
    issuer_name      TEXT    NOT NULL,
    created_at       INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    create_key       BLOB    CHECK (length(create_key) = 32),
    create_attempt   INTEGER,
    redeemed_at      INTEGER,
    -- NULL beside redeemed_at: redeemed before this was kept.
    redeemed_address TEXT,
    redeem_key       BLOB    CHECK (length(redeem_key) = 32),
    redeem_attempt   INTEGER,
    withdrawn_at     INTEGER,
    withdrawn_by     TEXT    REFERENCES tokens (id),
    withdraw_reason  TEXT    CHECK (withdraw_reason IN ('deleted', 'issuer_deleted', 'superseded')),
    replay_count     INTEGER NOT NULL DEFAULT 0,
    last_replay_at   INTEGER,
    CHECK (redeemed_at IS NULL OR withdrawn_at IS NULL),
    CHECK ((withdrawn_at IS NULL) = (withdraw_reason IS NULL)),
    CHECK ((create_key IS NULL) = (create_attempt IS NULL)),
    CHECK ((redeem_key IS NULL) = (redeem_attempt IS NULL))
) STRICT;

INSERT INTO new_register_tokens (seq, id, digest, client_name, role, access_lifetime, issuer_id, issuer_name, created_at,
                                 expires_at, create_key, create_attempt, redeemed_at, redeem_key, redeem_attempt,
                                 withdrawn_at, withdraw_reason, replay_count, last_replay_at)
    SELECT seq, id, digest, client_name, role, access_lifetime, issuer_id, issuer_name, created_at,
           expires_at, create_key, create_attempt, redeemed_at, redeem_key, redeem_attempt,
           withdrawn_at, withdraw_reason, replay_count, last_replay_at FROM register_tokens ORDER BY seq;
DROP TABLE register_tokens;
ALTER TABLE new_register_tokens RENAME TO register_tokens;

CREATE UNIQUE INDEX register_tokens_create_key ON register_tokens (issuer_id, create_key, create_attempt)
    WHERE create_key IS NOT NULL;
CREATE INDEX register_tokens_open ON register_tokens (issuer_id) WHERE redeemed_at IS NULL AND withdrawn_at IS NULL;
CREATE INDEX register_tokens_open_name ON register_tokens (issuer_name, issuer_id)
    WHERE redeemed_at IS NULL AND withdrawn_at IS NULL;
