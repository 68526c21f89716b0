-- The statements of tokens.rs.

SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address FROM tokens t WHERE t.seq > $1 AND t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at
> $2) ORDER BY t.seq LIMIT $3;

SELECT name FROM tokens WHERE deleted_by = $1 AND delete_key = $2;

SELECT name FROM tokens WHERE id = $1 AND deleted_at IS NULL;

SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address FROM tokens t WHERE t.name = $1 AND t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at
> $2);

UPDATE tokens SET deleted_at = $1, deleted_by = $2, delete_reason = $3, delete_key = $4 WHERE id = $5 AND deleted_at
IS NULL;

DELETE FROM sessions WHERE token_id = $1;

UPDATE register_tokens SET withdrawn_at = $1, withdrawn_by = $2, withdraw_reason = 'issuer_deleted' WHERE issuer_id =
$3 AND redeemed_at IS NULL AND withdrawn_at IS NULL RETURNING id;

INSERT INTO tokens (id, name, role, issuer_id, issuer_name, register_token_id, created_at, expires_at) VALUES ($1, $2,
$3, $4, $5, $6, $7, $8) ON CONFLICT (name) WHERE deleted_at IS NULL DO NOTHING;

INSERT INTO token_secrets (digest, token_id, created_at) VALUES ($1, $2, $3);

SELECT id FROM tokens WHERE name = $1 AND deleted_at IS NULL AND expires_at <= $2;

SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address FROM sessions s JOIN tokens t ON t.id = s.token_id WHERE s.digest = $1 AND s.last_seen_at IS NULL
AND s.expires_at > $2 AND t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $3);
