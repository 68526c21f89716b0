-- The statements of key.rs.

SELECT EXISTS (SELECT 1 FROM spent_keys WHERE token_id = $1 AND key = $2);

DELETE FROM spent_keys WHERE (token_id, key) IN (SELECT token_id, key FROM spent_keys WHERE at < $1 LIMIT $2);

INSERT INTO spent_keys (token_id, key, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;
