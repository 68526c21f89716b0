-- The statements of clusters.rs.

SELECT EXISTS (SELECT 1 FROM clusters);

SELECT seq, id, name, phase, phase_since, status_reason, max_cores, max_memory, bucket, registry_id, info,
last_active_at, suspend_after_min, delete_after_min FROM clusters WHERE gone_at IS NULL AND seq > $1 ORDER BY seq
LIMIT $2;

SELECT id, info FROM clusters WHERE created_by = $1 AND create_key = $2;

SELECT EXISTS (SELECT 1 FROM clusters WHERE id = $1 AND delete_key = $2);

SELECT EXISTS (SELECT 1 FROM clusters WHERE id = $1 AND wake_key = $2);

UPDATE clusters SET phase = 'start', phase_since = $1, status_reason = NULL, last_active_at = $2, wake_key = $3 WHERE
id = $4;

UPDATE clusters SET phase = 'delete', phase_since = $1, status_reason = $2, delete_key = $3 WHERE id = $4;

DELETE FROM object_values WHERE object IN (SELECT seq FROM objects WHERE cluster_id = $1);

UPDATE objects SET deleted_at = $1 WHERE cluster_id = $2 AND deleted_at IS NULL;

SELECT seq, id, name, phase, phase_since, status_reason, max_cores, max_memory, bucket, registry_id, info,
last_active_at, suspend_after_min, delete_after_min FROM clusters WHERE gone_at IS NULL AND id = $1;

SELECT EXISTS (SELECT 1 FROM clusters WHERE name = $1 AND gone_at IS NULL);

INSERT INTO clusters (id, name, phase, phase_since, max_cores, max_memory, bucket, registry_id, info, last_active_at,
suspend_after_min, delete_after_min, created_at, created_by, create_key) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9,
$10, $11, $12, $13, $14, $15);

SELECT EXISTS (SELECT 1 FROM clusters WHERE bucket = $1);
