-- The statements of register_tokens.rs.

INSERT INTO register_tokens (id, digest, client_name, role, access_lifetime, issuer_id, issuer_name, created_at,
expires_at, create_key, create_attempt) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

SELECT (SELECT count(*) FROM (SELECT 1 FROM tokens WHERE issuer_id = $1 AND deleted_at IS NULL AND (expires_at IS NULL
OR expires_at > $2) LIMIT $3) made) + (SELECT count(*) FROM (SELECT 1 FROM register_tokens WHERE issuer_id = $1 AND
redeemed_at IS NULL AND withdrawn_at IS NULL AND expires_at > $2 LIMIT $3) made);

SELECT EXISTS (SELECT 1 FROM register_tokens WHERE issuer_id = $1 AND create_key = $2);

SELECT id, create_attempt, client_name, role, access_lifetime, expires_at - created_at AS lifetime, redeemed_at IS NOT
NULL AS redeemed, withdrawn_at IS NOT NULL AS withdrawn FROM register_tokens WHERE issuer_id = $1 AND create_key = $2
ORDER BY create_attempt DESC LIMIT 1;

UPDATE register_tokens SET withdrawn_at = $1, withdrawn_by = $2, withdraw_reason = $3 WHERE id = $4;

SELECT r.seq, r.id, r.client_name, r.role, r.issuer_name, r.created_at, r.expires_at, r.access_lifetime,
r.redeemed_at, r.redeemed_address, t.id AS token_id, t.name AS token_name, r.withdrawn_at, r.replay_count,
r.last_replay_at, r.expires_at <= $1 AS expired FROM register_tokens r LEFT JOIN tokens t ON t.register_token_id =
r.id AND t.delete_reason IS DISTINCT FROM 'superseded' WHERE r.seq > $2 ORDER BY r.seq LIMIT $3;

SELECT client_name, redeemed_at, withdrawn_at FROM register_tokens WHERE id = $1;
