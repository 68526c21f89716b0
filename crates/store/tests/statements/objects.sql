-- The statements of objects.rs.

SELECT seq, name FROM objects WHERE seq > $1 AND cluster_id = $2 AND kind = $3 AND namespace = $4 AND deleted_at IS
NULL ORDER BY seq LIMIT $5;

SELECT EXISTS (SELECT 1 FROM objects WHERE kind = 'Secret' AND created_by IS NOT NULL AND deleted_at IS NULL);

SELECT cluster_id, kind, namespace, name FROM objects WHERE created_by = $1 AND create_key = $2;

SELECT cluster_id, kind, namespace, name FROM objects WHERE deleted_by = $1 AND delete_key = $2;

INSERT INTO objects (cluster_id, kind, namespace, name, type, created_at, created_by, create_key) VALUES ($1, $2, $3,
$4, $5, $6, $7, $8) ON CONFLICT (cluster_id, kind, namespace, name) WHERE deleted_at IS NULL DO NOTHING RETURNING seq;

INSERT INTO object_values (object, position, key, value, is_binary) VALUES ($1, $2, $3, $4, $5);

SELECT seq FROM objects WHERE cluster_id = $1 AND kind = $2 AND namespace = $3 AND name = $4 AND deleted_at IS NULL;

UPDATE objects SET deleted_at = $1, deleted_by = $2, delete_key = $3 WHERE seq = $4;

DELETE FROM object_values WHERE object = $1;

SELECT o.type, v.key, v.value, v.is_binary FROM objects o LEFT JOIN object_values v ON v.object = o.seq WHERE
o.cluster_id = $1 AND o.kind = $2 AND o.namespace = $3 AND o.name = $4 AND o.deleted_at IS NULL ORDER BY v.position;
