-- The statements of jobs.rs.

SELECT id, submit_digest FROM jobs WHERE created_by = $1 AND submit_key = $2;

INSERT INTO jobs (id, cluster_id, name, manifest, millicores, memory_mib, created_at, created_by, submit_key,
submit_digest, state) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'SUBMITTED');

SELECT detail FROM audit WHERE seq > (SELECT max(seq) FROM audit) - $1 AND action = $2 AND outcome = 'refused' AND
subject = $3 ORDER BY seq DESC;

SELECT id FROM jobs WHERE deleted_by = $1 AND delete_key = $2;

UPDATE jobs SET deleted_at = $1, deleted_by = $2, delete_key = $3 WHERE id = $4;
