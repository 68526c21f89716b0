-- The statements of sessions.rs.

SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address, t.delete_reason, s.ends_at FROM token_secrets s JOIN tokens t ON t.id = s.token_id WHERE s.digest
= $1;

-- sqlite
DELETE FROM sessions WHERE digest IN (SELECT digest FROM sessions WHERE expires_at <= $1 LIMIT $2);
-- postgres
DELETE FROM sessions WHERE digest IN (SELECT digest FROM sessions WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP
LOCKED);

INSERT INTO sessions (digest, token_id, created_at, expires_at, last_seen_at, confirmed_at) VALUES ($1, $2, $3, $4,
$5, $6);

UPDATE token_secrets SET first_used_at = $1 WHERE digest = $2 AND first_used_at IS NULL;

-- sqlite
SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address, t.delete_reason, s.ends_at FROM token_secrets s JOIN tokens t ON t.id = s.token_id WHERE s.digest
= $1;
-- postgres
SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address, t.delete_reason, s.ends_at FROM token_secrets s JOIN tokens t ON t.id = s.token_id WHERE s.digest
= $1 FOR SHARE OF s, t;
