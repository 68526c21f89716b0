-- The statements of keys.rs.

INSERT INTO keys (label, mac) VALUES ($1, $2);

SELECT label, mac FROM keys;
