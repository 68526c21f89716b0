-- Times are microseconds since 1970, UTC. Digests are SHA-256 of the secret: no secret, and no part of one, is ever
-- stored. Rows are never removed (sessions apart): the audit speaks of them.

CREATE TABLE tokens (
    -- The order of making, which lists are paged by.
    seq               INTEGER PRIMARY KEY,
    id                TEXT    NOT NULL UNIQUE,
    digest            BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    name              TEXT    NOT NULL,
    role              TEXT    NOT NULL CHECK (role IN ('USER', 'ADMIN')),
    -- The token that made the registration token; NULL: the platform itself.
    issuer_id         TEXT    REFERENCES tokens (id),
    issuer_name       TEXT    NOT NULL,
    register_token_id TEXT    REFERENCES register_tokens (id),
    created_at        INTEGER NOT NULL,
    -- NULL: never.
    expires_at        INTEGER,
    -- Set by the first exchange. A lost answer may only be repeated while this is NULL.
    first_used_at     INTEGER,
    deleted_at        INTEGER,
    deleted_by        TEXT    REFERENCES tokens (id),
    delete_reason     TEXT    CHECK (delete_reason IN ('deleted', 'expired', 'replaced', 'superseded')),
    delete_key        BLOB    CHECK (length(delete_key) = 32),
    CHECK ((deleted_at IS NULL) = (delete_reason IS NULL))
) STRICT;

-- What makes names unique. An expired token holds its name until somebody needs the name.
CREATE UNIQUE INDEX tokens_living_name ON tokens (name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX tokens_delete_key ON tokens (deleted_by, delete_key) WHERE delete_key IS NOT NULL;
CREATE INDEX tokens_register_token ON tokens (register_token_id) WHERE register_token_id IS NOT NULL;

CREATE TABLE register_tokens (
    seq             INTEGER PRIMARY KEY,
    id              TEXT    NOT NULL UNIQUE,
    digest          BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    -- Name, role and lifetime of the access token: whoever redeems cannot change them.
    client_name     TEXT    NOT NULL,
    role            TEXT    NOT NULL CHECK (role IN ('USER', 'ADMIN')),
    access_lifetime INTEGER,
    issuer_id       TEXT    NOT NULL REFERENCES tokens (id),
    issuer_name     TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    create_key      BLOB    CHECK (length(create_key) = 32),
    create_attempt  INTEGER,
    redeemed_at     INTEGER,
    redeem_key      BLOB    CHECK (length(redeem_key) = 32),
    redeem_attempt  INTEGER,
    withdrawn_at    INTEGER,
    withdraw_reason TEXT    CHECK (withdraw_reason IN ('issuer_deleted', 'superseded')),
    replay_count    INTEGER NOT NULL DEFAULT 0,
    last_replay_at  INTEGER,
    CHECK (redeemed_at IS NULL OR withdrawn_at IS NULL),
    CHECK ((create_key IS NULL) = (create_attempt IS NULL)),
    CHECK ((redeem_key IS NULL) = (redeem_attempt IS NULL))
) STRICT;

CREATE UNIQUE INDEX register_tokens_create_key ON register_tokens (issuer_id, create_key, create_attempt)
    WHERE create_key IS NOT NULL;
CREATE INDEX register_tokens_open ON register_tokens (issuer_id) WHERE redeemed_at IS NULL AND withdrawn_at IS NULL;

-- In the store, not in memory, so that a restart ends nobody's session and several servers can share them.
CREATE TABLE sessions (
    digest     BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    token_id   TEXT    NOT NULL REFERENCES tokens (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_expires_at ON sessions (expires_at);
CREATE INDEX sessions_token_id ON sessions (token_id);

CREATE TABLE audit (
    seq        INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    actor      TEXT,
    action     TEXT    NOT NULL,
    subject    TEXT,
    address    TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    outcome    TEXT    NOT NULL,
    detail     TEXT    NOT NULL,
    mac        BLOB    NOT NULL CHECK (length(mac) = 32)
) STRICT;

-- Against our own mistakes; against somebody else's hand stands the chain of MACs.
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit is append-only'); END;
