-- The statements of audit.rs.

INSERT INTO audit (seq, at, actor, action, subject, address, request_id, outcome, detail, mac) VALUES ($1, $2, $3, $4,
$5, $6, $7, $8, $9, $10);

SELECT seq, at, actor, action, subject, address, request_id, outcome, detail, mac FROM audit WHERE seq >= $1 ORDER BY
seq LIMIT 1000;

SELECT seq, mac FROM audit ORDER BY seq DESC LIMIT 1;

SELECT mac FROM audit WHERE seq = $1;

SELECT a.seq, a.at, a.action, a.outcome, a.actor, a.subject, a.address, a.request_id, a.detail, coalesce(ta.name,
ra.client_name) AS actor_name, coalesce(ts.name, rs.client_name) AS subject_name FROM audit a LEFT JOIN tokens ta ON
ta.id = a.actor LEFT JOIN register_tokens ra ON ra.id = a.actor LEFT JOIN tokens ts ON ts.id = a.subject LEFT JOIN
register_tokens rs ON rs.id = a.subject WHERE a.seq > 0 AND a.seq < $1 AND (a.actor IN (SELECT $2 UNION SELECT id FROM
tokens WHERE name = $3 UNION SELECT id FROM register_tokens WHERE client_name = $4) OR a.subject IN (SELECT $5 UNION
SELECT id FROM tokens WHERE name = $6 UNION SELECT id FROM register_tokens WHERE client_name = $7)) AND a.action = $8
AND a.outcome = $9 AND a.at >= $10 AND a.at < $11 ORDER BY a.seq DESC LIMIT $12;
