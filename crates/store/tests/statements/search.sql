-- The statements of search.rs.

SELECT count(*) FROM (SELECT 1 FROM register_tokens WHERE replay_count > 0 AND last_replay_at > $1 LIMIT $2) counted;

SELECT r.seq, r.id, r.client_name, r.role, r.issuer_name, r.created_at, r.expires_at, r.access_lifetime,
r.redeemed_at, r.redeemed_address, t.id AS token_id, t.name AS token_name, r.withdrawn_at, r.replay_count,
r.last_replay_at, r.expires_at <= $1 AS expired FROM register_tokens r LEFT JOIN tokens t ON t.register_token_id =
r.id AND t.delete_reason IS DISTINCT FROM 'superseded' WHERE r.id = $2;

SELECT count(*) FROM (SELECT 1 FROM tokens WHERE deleted_at IS NULL AND expires_at > $1 AND expires_at <= $2 LIMIT $3)
counted;

SELECT name FROM tokens WHERE id = $1 AND delete_reason = 'deleted';

-- sqlite
SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address FROM token_names CROSS JOIN tokens t ON t.seq = token_names.rowid WHERE t.deleted_at IS NULL AND
(t.expires_at IS NULL OR t.expires_at > $1) AND token_names MATCH $2 AND token_names.rowid < $3 ORDER BY
token_names.rowid DESC LIMIT $4;
-- postgres
SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address FROM tokens t WHERE t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $1) AND
t.name COLLATE "default" ILIKE $2 AND t.seq < $3 ORDER BY t.seq DESC LIMIT $4;

-- sqlite
SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address FROM token_names CROSS JOIN tokens t ON t.seq = token_names.rowid WHERE t.deleted_at IS NULL AND
(t.expires_at IS NULL OR t.expires_at > $1) AND token_names MATCH $2 AND token_names.rowid > $3 ORDER BY
token_names.rowid LIMIT $4;
-- postgres
SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address FROM tokens t WHERE t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $1) AND
t.name COLLATE "default" ILIKE $2 AND t.seq > $3 ORDER BY t.seq LIMIT $4;

-- sqlite
SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address FROM tokens t INDEXED BY tokens_names_in_order WHERE t.deleted_at IS NULL AND (t.expires_at IS
NULL OR t.expires_at > $1) AND t.name LIKE $2 ESCAPE '\' ORDER BY t.seq DESC LIMIT $3;
-- postgres
SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address FROM tokens t WHERE t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $1) AND
t.name COLLATE "default" ILIKE $2 ORDER BY t.seq DESC LIMIT $3;

SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address FROM tokens t WHERE t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $1) AND t.id
= $2;

SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address FROM tokens t WHERE t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $1) AND
t.name = $2;

SELECT t.seq, t.id, t.name, t.role, t.issuer_id, t.issuer_name, t.created_at, t.expires_at, t.last_used_at,
t.last_used_address FROM tokens t WHERE t.deleted_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $1) AND
t.expires_at <= $2 AND FALSE ORDER BY t.seq DESC LIMIT $3;

-- sqlite
SELECT r.seq, r.id, r.client_name, r.role, r.issuer_name, r.created_at, r.expires_at, r.access_lifetime,
r.redeemed_at, r.redeemed_address, t.id AS token_id, t.name AS token_name, r.withdrawn_at, r.replay_count,
r.last_replay_at, r.expires_at <= $1 AS expired FROM register_token_names CROSS JOIN register_tokens r ON r.seq =
register_token_names.rowid LEFT JOIN tokens t ON t.register_token_id = r.id AND t.delete_reason IS DISTINCT FROM
'superseded' WHERE register_token_names MATCH $2 AND r.redeemed_at IS NULL AND r.withdrawn_at IS NULL ORDER BY
register_token_names.rowid DESC LIMIT $3;
-- postgres
SELECT r.seq, r.id, r.client_name, r.role, r.issuer_name, r.created_at, r.expires_at, r.access_lifetime,
r.redeemed_at, r.redeemed_address, t.id AS token_id, t.name AS token_name, r.withdrawn_at, r.replay_count,
r.last_replay_at, r.expires_at <= $1 AS expired FROM register_tokens r LEFT JOIN tokens t ON t.register_token_id =
r.id AND t.delete_reason IS DISTINCT FROM 'superseded' WHERE r.client_name COLLATE "default" ILIKE $2 AND
r.redeemed_at IS NULL AND r.withdrawn_at IS NULL ORDER BY r.seq DESC LIMIT $3;
