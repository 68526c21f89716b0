-- The statements of app.rs.

SELECT EXISTS (SELECT 1 FROM sessions s JOIN tokens t ON t.id = s.token_id WHERE s.digest = $1 AND s.expires_at > $2
AND t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $3));

SAVEPOINT attempt;

ROLLBACK TO SAVEPOINT attempt;
