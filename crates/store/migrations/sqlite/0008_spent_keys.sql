-- Idempotency keys of deletions that found nothing (any more): a first attempt that comes late must not delete what has
-- taken the name since. Kept for a day.
CREATE TABLE spent_keys (
    token_id TEXT    NOT NULL REFERENCES tokens (id),
    key      BLOB    NOT NULL CHECK (length(key) = 32),
    at       INTEGER NOT NULL,
    PRIMARY KEY (token_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX spent_keys_at ON spent_keys (at);
