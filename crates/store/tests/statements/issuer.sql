-- The statements of issuer.rs.

SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address FROM tokens t WHERE t.deleted_by = $1 AND t.delete_key = $2 ORDER BY t.seq;

-- types: text text bigint
SELECT found.issuer_id FROM (SELECT issuer_id FROM tokens WHERE issuer_name = $1 AND deleted_at IS NULL AND
(expires_at IS NULL OR expires_at > $3) AND ($2 IS NULL OR issuer_id = $2) UNION SELECT issuer_id FROM register_tokens
WHERE issuer_name = $1 AND redeemed_at IS NULL AND withdrawn_at IS NULL AND expires_at > $3 AND ($2 IS NULL OR
issuer_id = $2)) found LEFT JOIN tokens issuer ON issuer.id = found.issuer_id ORDER BY issuer.seq NULLS FIRST;

-- types: text text
SELECT EXISTS (SELECT 1 FROM tokens WHERE name = $1 AND ($2 IS NULL OR id = $2));

SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address FROM tokens t WHERE t.issuer_id IS NOT DISTINCT FROM $1 AND t.issuer_name = $2 AND t.deleted_at IS
NULL AND (t.expires_at IS NULL OR t.expires_at > $3) ORDER BY t.seq;
