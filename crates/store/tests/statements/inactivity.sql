-- The statements of inactivity.rs.

UPDATE clusters SET gone_at = $1 WHERE id = $2;

UPDATE clusters SET phase = 'suspend', phase_since = $1, status_reason = $2 WHERE id = $3;

SELECT seq, id, name, phase, phase_since, status_reason, max_cores, max_memory, bucket, registry_id, info,
last_active_at, suspend_after_min, delete_after_min FROM clusters WHERE gone_at IS NULL AND (phase = 'delete' OR NOT
EXISTS (SELECT 1 FROM jobs WHERE jobs.cluster_id = clusters.id AND (jobs.alive = TRUE OR (jobs.deleted_at IS NULL AND
jobs.state NOT IN ('COMPLETED', 'FAILED') AND jobs.millicores <= clusters.max_cores * 1000 AND jobs.memory_mib <=
clusters.max_memory / 1048576)))) AND CASE phase WHEN 'delete' THEN phase_since <= $1 ELSE last_active_at +
delete_after_min * 60000000 <= $2 OR (phase <> 'suspend' AND last_active_at + suspend_after_min * 60000000 <= $3) END;

UPDATE clusters SET suspend_after_min = $1 WHERE id = $2;

UPDATE clusters SET delete_after_min = $1 WHERE id = $2;
