-- The statements of last_used.rs.

UPDATE tokens SET last_used_at = $1, last_used_address = $2 WHERE id = $3 AND (last_used_at IS NULL OR last_used_at <
$1);
