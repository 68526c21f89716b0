-- The statements of redeem.rs.

UPDATE register_tokens SET redeem_attempt = $1 WHERE id = $2;

UPDATE register_tokens SET redeemed_at = $1, redeemed_address = $2, redeem_key = $3, redeem_attempt = $4 WHERE digest
= $5 AND redeemed_at IS NULL AND withdrawn_at IS NULL AND expires_at > $6 RETURNING id, client_name, role,
access_lifetime, issuer_id, issuer_name;

SELECT id, client_name, role, access_lifetime, issuer_id, issuer_name, expires_at, redeemed_at, redeem_key,
redeem_attempt, withdrawn_at FROM register_tokens WHERE digest = $1;

SELECT id FROM tokens t WHERE register_token_id = $1 AND deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM
token_secrets s WHERE s.token_id = t.id AND (s.first_used_at IS NOT NULL OR s.rotated_by IS NOT NULL));

UPDATE register_tokens SET replay_count = replay_count + $1, last_replay_at = CASE WHEN last_replay_at > $2 THEN
last_replay_at ELSE $2 END WHERE id = $3;
