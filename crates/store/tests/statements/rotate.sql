-- The statements of rotate.rs.

SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address, s.digest, s.created_at AS made_at, s.rotate_attempt, s.rotate_overlap, s.rotate_session,
s.first_used_at IS NOT NULL AS used, s.ends_at IS NULL AND t.deleted_at IS NULL AND (t.expires_at IS NULL OR
t.expires_at > $1) AS newest FROM token_secrets s JOIN tokens t ON t.id = s.token_id WHERE s.rotated_by = $2 AND
s.rotate_key = $3 ORDER BY s.rotate_attempt DESC LIMIT 1;

SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address FROM token_secrets s JOIN tokens t ON t.id = s.token_id WHERE s.rotate_session = $1 AND
s.created_at >= $2 AND t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $3) ORDER BY s.created_at DESC
LIMIT 1;

UPDATE token_secrets SET ends_at = $1 WHERE token_id = $2 AND (ends_at IS NULL OR ends_at > $3);

DELETE FROM token_secrets WHERE digest IN (SELECT digest FROM token_secrets WHERE token_id = $1 AND ends_at <= $2
ORDER BY created_at DESC LIMIT 9223372036854775807 OFFSET $3);

DELETE FROM sign_in_codes WHERE token_id = $1;

UPDATE sessions SET expires_at = CASE WHEN expires_at < $1 THEN expires_at ELSE $1 END, confirmed_at = CASE WHEN
confirmed_at > 0 THEN 0 ELSE confirmed_at END WHERE token_id = $2;

DELETE FROM sessions WHERE token_id = $1 AND expires_at <= $2;

SELECT count(*) FROM token_secrets WHERE token_id = $1 AND (ends_at IS NULL OR ends_at > $2);

UPDATE token_secrets SET ends_at = $1 WHERE digest = $2;

INSERT INTO token_secrets (digest, token_id, created_at, rotated_by, rotate_key, rotate_attempt, rotate_overlap,
rotate_session) VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

SELECT EXISTS (SELECT 1 FROM token_secrets WHERE rotated_by = $1 AND rotate_key = $2);
