-- Spark Connect: what a cluster's server loads, and which job is its newest server.
CREATE TABLE connect_servers (
    cluster_id   TEXT    PRIMARY KEY REFERENCES clusters (id),
    -- NULL: none was started yet.
    job_id       TEXT    REFERENCES jobs (id),
    port         INTEGER,
    -- It is to be started again with other lists, when nothing runs on it.
    outdated     INTEGER NOT NULL DEFAULT 0,
    -- Lists of texts, JSON.
    jars         TEXT    NOT NULL DEFAULT '[]',
    packages     TEXT    NOT NULL DEFAULT '[]',
    repositories TEXT    NOT NULL DEFAULT '[]'
) STRICT;

-- Open sessions of Spark Connect. A row is made with the audit row of its opening, and removed with that of its closing.
CREATE TABLE connect_sessions (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    cluster_id TEXT    NOT NULL REFERENCES clusters (id),
    -- The server that has it.
    job_id     TEXT    NOT NULL REFERENCES jobs (id),
    token_id   TEXT    NOT NULL REFERENCES tokens (id),
    -- Chosen by the client: a UUID, of its token alone.
    session_id TEXT    NOT NULL,
    address    TEXT    NOT NULL,
    opened_at  INTEGER NOT NULL,
    -- Written now and then.
    last_at    INTEGER NOT NULL,
    operations INTEGER NOT NULL DEFAULT 0,
    UNIQUE (job_id, token_id, session_id)
) STRICT;
