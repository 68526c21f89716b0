-- Which of several servers may do what only one may: it holds the lease until `ends_at`, by the database's clock.
CREATE TABLE leases (
    name    TEXT    NOT NULL PRIMARY KEY,
    -- A start of a server.
    holder  TEXT    NOT NULL,
    -- Raised whenever it is taken anew: what was begun under an earlier one is refused.
    epoch   INTEGER NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which keys belong to this database: the keys themselves are files outside it. A server with another key does not start.
CREATE TABLE keys (
    label TEXT NOT NULL PRIMARY KEY,
    -- HMAC-SHA-256 of the label under the key.
    mac   BLOB NOT NULL CHECK (length(mac) = 32)
) STRICT, WITHOUT ROWID;

-- The same index in the words that both databases have: SQLite uses a partial index only for a condition that is written
-- as its own.
DROP INDEX jobs_open;
CREATE INDEX jobs_open ON jobs (seq)
    WHERE alive = TRUE OR (deleted_at IS NULL AND state NOT IN ('COMPLETED', 'FAILED'));
