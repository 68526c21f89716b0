-- Clusters, and the Kubernetes objects that their jobs use. Times are microseconds since 1970, UTC.

CREATE TABLE clusters (
    -- The order of making, which lists are paged by.
    seq               INTEGER PRIMARY KEY,
    id                TEXT    NOT NULL UNIQUE,
    name              TEXT    NOT NULL,
    -- What it was last told to do, and when: its status follows from these two and the time.
    phase             TEXT    NOT NULL CHECK (phase IN ('create', 'start', 'suspend', 'delete')),
    phase_since       INTEGER NOT NULL,
    status_reason     TEXT,
    max_cores         INTEGER NOT NULL CHECK (max_cores > 0),
    max_memory        INTEGER NOT NULL CHECK (max_memory > 0),
    -- A folder of that name under the data directory's `buckets`; it outlives the cluster.
    bucket            TEXT    NOT NULL UNIQUE,
    registry_id       TEXT    NOT NULL,
    -- The body that it was made with, JSON.
    info              TEXT    NOT NULL,
    -- When it was last seen with a running job, or became able to run one.
    last_active_at    INTEGER NOT NULL,
    suspend_after_min INTEGER CHECK (suspend_after_min > 0),
    delete_after_min  INTEGER CHECK (delete_after_min > 0),
    created_at        INTEGER NOT NULL,
    -- NULL: the platform itself, or a command on the machine.
    created_by        TEXT    REFERENCES tokens (id),
    create_key        BLOB    CHECK (length(create_key) = 32),
    wake_key          BLOB    CHECK (length(wake_key) = 32),
    delete_key        BLOB    CHECK (length(delete_key) = 32),
    -- Set when its deleting is over and somebody has looked.
    gone_at           INTEGER
) STRICT;

CREATE UNIQUE INDEX clusters_present_name ON clusters (name) WHERE gone_at IS NULL;
CREATE UNIQUE INDEX clusters_create_key ON clusters (created_by, create_key) WHERE create_key IS NOT NULL;

-- Secrets and config maps. A row stays when its object is deleted, without values, so that a repeated request for the
-- deleting is known as one.
CREATE TABLE objects (
    seq        INTEGER PRIMARY KEY,
    cluster_id TEXT    NOT NULL REFERENCES clusters (id),
    kind       TEXT    NOT NULL CHECK (kind IN ('Secret', 'ConfigMap')),
    namespace  TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    -- `Opaque` and so on; a config map has none.
    type       TEXT    CHECK ((type IS NULL) = (kind = 'ConfigMap')),
    created_at INTEGER NOT NULL,
    created_by TEXT    NOT NULL REFERENCES tokens (id),
    create_key BLOB    CHECK (length(create_key) = 32),
    deleted_at INTEGER,
    deleted_by TEXT    REFERENCES tokens (id),
    delete_key BLOB    CHECK (length(delete_key) = 32)
) STRICT;

CREATE UNIQUE INDEX objects_living_name ON objects (cluster_id, kind, namespace, name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX objects_create_key ON objects (created_by, create_key) WHERE create_key IS NOT NULL;
CREATE UNIQUE INDEX objects_delete_key ON objects (deleted_by, delete_key) WHERE delete_key IS NOT NULL;

CREATE TABLE object_values (
    object   INTEGER NOT NULL REFERENCES objects (seq),
    -- In the order of the manifest.
    position INTEGER NOT NULL,
    key      TEXT    NOT NULL,
    -- Of a secret: a nonce, then what AES-256-GCM made of the value. Of a config map: the text.
    value    BLOB    NOT NULL,
    PRIMARY KEY (object, position),
    UNIQUE (object, key)
) STRICT, WITHOUT ROWID;
