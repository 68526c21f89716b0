-- The statements of s3_secret.rs.

INSERT INTO objects (cluster_id, kind, namespace, name, type, created_at) VALUES ($1, 'Secret', $2, $3, 'Opaque', $4)
RETURNING seq;

SELECT seq, cluster_id FROM objects WHERE kind = 'Secret' AND created_by IS NULL AND deleted_at IS NULL;

DELETE FROM object_values WHERE object = $1;

INSERT INTO object_values (object, position, key, value) VALUES ($1, $2, $3, $4);
