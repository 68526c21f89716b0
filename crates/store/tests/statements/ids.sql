-- The statements of ids.rs.

SELECT user_id FROM jobs WHERE id = $1;

UPDATE clusters SET job_group = $1 WHERE id = $2;

SELECT job_group FROM clusters WHERE id = $1;

UPDATE jobs SET user_id = $1 WHERE id = $2;
