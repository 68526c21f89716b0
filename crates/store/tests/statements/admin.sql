-- The statements of admin.rs.

SELECT EXISTS (SELECT 1 FROM tokens);

SELECT count(*) FROM tokens WHERE name <> $1 AND deleted_at IS NULL AND (expires_at IS NULL OR expires_at > $2);

SELECT id FROM tokens WHERE name = $1 AND deleted_at IS NULL;
