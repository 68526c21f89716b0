-- Spark jobs and what happened to them. Times are microseconds since 1970, UTC.

CREATE TABLE jobs (
    -- The order of submitting: jobs are listed by it, and start in it.
    seq           INTEGER PRIMARY KEY,
    -- Names the folder of the job's files, which outlives its deleting.
    id            TEXT    NOT NULL UNIQUE,
    cluster_id    TEXT    NOT NULL REFERENCES clusters (id),
    name          TEXT    NOT NULL,
    -- The SparkApplication, JSON. It names secrets and holds none of their values.
    manifest      TEXT    NOT NULL,
    -- What it takes of the cluster while it runs.
    millicores    INTEGER NOT NULL,
    memory_mib    INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    created_by    TEXT    NOT NULL REFERENCES tokens (id),
    submit_key    BLOB    CHECK (length(submit_key) = 32),
    -- Of the whole request: a key that comes with another one is a mistake.
    submit_digest BLOB    NOT NULL CHECK (length(submit_digest) = 32),
    state         TEXT    NOT NULL CHECK (state IN ('SUBMITTED', 'RUNNING', 'COMPLETED', 'FAILED', 'FAILING',
                                                    'SUBMISSION_FAILED', 'PENDING_RERUN')),
    -- Runs that began, the present one included; each has its folder.
    runs          INTEGER NOT NULL DEFAULT 0,
    -- Starts that failed since the last one that did not.
    failed_starts INTEGER NOT NULL DEFAULT 0,
    -- A run takes capacity: it was begun, and its end was not seen yet.
    alive         INTEGER NOT NULL DEFAULT 0 CHECK (alive IN (0, 1)),
    -- When a run is to be repeated.
    due_at        INTEGER,
    -- Why it waits, as the last event said it: what has been said is not said again.
    waits_for     TEXT,
    -- Of the last run.
    started_at    INTEGER,
    ended_at      INTEGER,
    exit_code     INTEGER,
    signal        INTEGER,
    problem       TEXT,
    -- When it is deleted by itself.
    expires_at    INTEGER,
    -- Where its part of the log begins.
    log_from      INTEGER NOT NULL DEFAULT 0,
    deleted_at    INTEGER,
    deleted_by    TEXT    REFERENCES tokens (id),
    delete_key    BLOB    CHECK (length(delete_key) = 32)
) STRICT;

CREATE UNIQUE INDEX jobs_living_name ON jobs (cluster_id, name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX jobs_submit_key ON jobs (created_by, submit_key) WHERE submit_key IS NOT NULL;
CREATE INDEX jobs_name ON jobs (cluster_id, name);
-- What the platform has to look after: few rows, however many jobs there were.
CREATE INDEX jobs_open ON jobs (seq)
    WHERE alive = 1 OR (deleted_at IS NULL AND state NOT IN ('COMPLETED', 'FAILED'));

CREATE INDEX jobs_expires_at ON jobs (expires_at) WHERE expires_at IS NOT NULL AND deleted_at IS NULL;

CREATE TABLE job_events (
    seq        INTEGER PRIMARY KEY,
    cluster_id TEXT    NOT NULL REFERENCES clusters (id),
    job        INTEGER NOT NULL REFERENCES jobs (seq),
    at         INTEGER NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('NORMAL', 'WARNING')),
    reason     TEXT    NOT NULL,
    message    TEXT    NOT NULL
) STRICT;

CREATE INDEX job_events_cluster ON job_events (cluster_id, seq);
CREATE INDEX job_events_job ON job_events (job, seq);
