-- The statements of create_token.rs.

SELECT EXISTS (SELECT 1 FROM tokens WHERE issuer_id = $1 AND create_key = $2);

UPDATE tokens SET create_key = $1 WHERE id = $2;

SELECT id FROM tokens WHERE issuer_id = $1 AND create_key = $2;
