-- The statements of job_rows.rs.

SELECT seq, id, cluster_id, name, manifest, millicores, memory_mib, created_at, state, runs, failed_starts, alive,
due_at, waits_for, started_at, ended_at, exit_code, signal, problem, log_from, quick_ends, deleted_at FROM jobs WHERE
cluster_id = $1 AND name = $2 AND deleted_at IS NULL;

SELECT seq, id, cluster_id, name, manifest, millicores, memory_mib, created_at, state, runs, failed_starts, alive,
due_at, waits_for, started_at, ended_at, exit_code, signal, problem, log_from, quick_ends, deleted_at FROM jobs WHERE
cluster_id = $1 AND name = $2 ORDER BY deleted_at IS NOT NULL, seq DESC LIMIT 1;

SELECT seq, id, cluster_id, name, '' AS manifest, millicores, memory_mib, created_at, state, runs, failed_starts,
alive, due_at, waits_for, started_at, ended_at, exit_code, signal, problem, log_from, quick_ends, deleted_at FROM jobs
WHERE id = $1;

SELECT count(*), coalesce(sum(octet_length(manifest)), 0) FROM jobs WHERE created_by = $1 AND (alive = TRUE OR
(deleted_at IS NULL AND state NOT IN ('COMPLETED', 'FAILED')));

SELECT seq, id, cluster_id, name, '' AS manifest, millicores, memory_mib, created_at, state, runs, failed_starts,
alive, due_at, waits_for, started_at, ended_at, exit_code, signal, problem, log_from, quick_ends, deleted_at FROM jobs
WHERE cluster_id = $1 AND deleted_at IS NULL AND seq > $2 ORDER BY seq LIMIT $3;

SELECT j.*, e.event FROM (SELECT job, max(seq) AS event FROM (SELECT job, seq FROM job_events WHERE cluster_id = $1
AND seq > $2 ORDER BY seq LIMIT $3) next GROUP BY job) e JOIN (SELECT seq, id, cluster_id, name, '' AS manifest,
millicores, memory_mib, created_at, state, runs, failed_starts, alive, due_at, waits_for, started_at, ended_at,
exit_code, signal, problem, log_from, quick_ends, deleted_at FROM jobs) j ON j.seq = e.job ORDER BY e.event;

SELECT coalesce(max(seq), 0) FROM job_events WHERE cluster_id = $1;

SELECT seq, id, cluster_id, name, manifest, millicores, memory_mib, created_at, state, runs, failed_starts, alive,
due_at, waits_for, started_at, ended_at, exit_code, signal, problem, log_from, quick_ends, deleted_at FROM jobs WHERE
(alive = TRUE OR (deleted_at IS NULL AND state NOT IN ('COMPLETED', 'FAILED'))) ORDER BY seq;

SELECT j.id FROM jobs j JOIN clusters c ON c.id = j.cluster_id WHERE j.deleted_at IS NULL AND c.gone_at IS NULL;

SELECT seq, id, NOT (alive = TRUE OR (deleted_at IS NULL AND state NOT IN ('COMPLETED', 'FAILED'))) FROM jobs WHERE
cluster_id = $1 ORDER BY coalesce(ended_at, created_at);

SELECT seq, id, cluster_id, name, '' AS manifest, millicores, memory_mib, created_at, state, runs, failed_starts,
alive, due_at, waits_for, started_at, ended_at, exit_code, signal, problem, log_from, quick_ends, deleted_at FROM jobs
WHERE seq = $1;

SELECT id, user_id FROM jobs WHERE user_id IS NOT NULL AND NOT (alive = TRUE OR (deleted_at IS NULL AND state NOT IN
('COMPLETED', 'FAILED')));

SELECT user_id FROM jobs WHERE user_id IS NOT NULL UNION SELECT job_group FROM clusters WHERE job_group IS NOT NULL;

SELECT seq, id, cluster_id, name, manifest, millicores, memory_mib, created_at, state, runs, failed_starts, alive,
due_at, waits_for, started_at, ended_at, exit_code, signal, problem, log_from, quick_ends, deleted_at FROM jobs WHERE
expires_at <= $1 AND deleted_at IS NULL;

INSERT INTO job_events (cluster_id, job, at, kind, reason, message) VALUES ($1, $2, $3, $4, $5, $6);

SELECT EXISTS (SELECT 1 FROM job_events WHERE job = $1 AND reason = $2);

DELETE FROM job_events WHERE job = $1 AND seq <= (SELECT seq FROM job_events WHERE job = $1 ORDER BY seq DESC LIMIT 1
OFFSET $2);

SELECT e.seq, e.at, j.name, e.kind, e.reason, e.message FROM job_events e JOIN jobs j ON j.seq = e.job WHERE
e.cluster_id = $1 AND e.seq > $2 ORDER BY e.seq LIMIT $3;

SELECT e.seq, e.at, j.name, e.kind, e.reason, e.message FROM job_events e JOIN jobs j ON j.seq = e.job WHERE e.job =
$1 ORDER BY e.seq DESC LIMIT $2;
