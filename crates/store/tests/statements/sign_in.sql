-- The statements of sign_in.rs.

SELECT EXISTS (SELECT 1 FROM sign_in_codes WHERE digest = $1);

DELETE FROM sign_in_codes WHERE digest = $1 RETURNING token_id, expires_at;

SELECT expires_at FROM tokens WHERE id = $1 AND deleted_at IS NULL AND (expires_at IS NULL OR expires_at > $2);

SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address, s.last_seen_at, s.confirmed_at FROM sessions s JOIN tokens t ON t.id = s.token_id WHERE s.digest
= $1 AND s.last_seen_at > $2 AND s.expires_at > $3 AND t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at
> $4);

UPDATE sessions SET last_seen_at = $1 WHERE digest = $2;

DELETE FROM sessions WHERE digest = $1 AND last_seen_at IS NOT NULL RETURNING token_id;

UPDATE sessions SET confirmed_at = $1 WHERE digest = $2;

SELECT created_at, last_seen_at, digest = $1 FROM sessions WHERE token_id = $2 AND last_seen_at > $3 AND expires_at >
$4 ORDER BY digest = $5 DESC, last_seen_at DESC LIMIT $6;

DELETE FROM sessions WHERE token_id = $1 AND digest <> $2 AND last_seen_at IS NOT NULL;

DELETE FROM sign_in_codes WHERE expires_at <= $1;

INSERT INTO sign_in_codes (digest, token_id, expires_at) VALUES ($1, $2, $3);
