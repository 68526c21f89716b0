-- `created_by` of an object may be NULL: the platform made it, with its cluster.
CREATE TABLE objects_new (
    seq        INTEGER PRIMARY KEY,
    cluster_id TEXT    NOT NULL REFERENCES clusters (id),
    kind       TEXT    NOT NULL CHECK (kind IN ('Secret', 'ConfigMap')),
    namespace  TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    -- `Opaque` and so on; a config map has none.
    type       TEXT    CHECK ((type IS NULL) = (kind = 'ConfigMap')),
    created_at INTEGER NOT NULL,
    created_by TEXT    REFERENCES tokens (id),
    create_key BLOB    CHECK (length(create_key) = 32),
    deleted_at INTEGER,
    deleted_by TEXT    REFERENCES tokens (id),
    delete_key BLOB    CHECK (length(delete_key) = 32)
) STRICT;
INSERT INTO objects_new (seq, cluster_id, kind, namespace, name, type, created_at, created_by, create_key, deleted_at,
    deleted_by, delete_key)
SELECT seq, cluster_id, kind, namespace, name, type, created_at, created_by, create_key, deleted_at, deleted_by, delete_key
FROM objects;
DROP TABLE objects;
ALTER TABLE objects_new RENAME TO objects;
CREATE UNIQUE INDEX objects_living_name ON objects (cluster_id, kind, namespace, name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX objects_create_key ON objects (created_by, create_key) WHERE create_key IS NOT NULL;
CREATE UNIQUE INDEX objects_delete_key ON objects (deleted_by, delete_key) WHERE delete_key IS NOT NULL;
