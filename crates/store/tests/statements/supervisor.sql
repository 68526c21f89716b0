-- The statements of supervisor.rs.

UPDATE jobs SET alive = FALSE, runs = runs - 1 WHERE id = $1 AND alive = TRUE;

UPDATE jobs SET state = $1, alive = FALSE, ended_at = $2, exit_code = $3, signal = $4, problem = $5, due_at = $6,
expires_at = $7, quick_ends = $8, waits_for = NULL WHERE id = $9;

UPDATE jobs SET state = $1, runs = runs - CASE WHEN alive = TRUE THEN 1 ELSE 0 END, alive = FALSE, failed_starts = $2,
ended_at = $3, exit_code = NULL, signal = NULL, problem = $4, due_at = $5, waits_for = NULL WHERE id = $6;

UPDATE jobs SET state = 'PENDING_RERUN', due_at = NULL WHERE id = $1;

UPDATE jobs SET waits_for = $1 WHERE id = $2;

UPDATE jobs SET alive = TRUE, runs = runs + 1, log_from = $1, waits_for = NULL WHERE id = $2 AND deleted_at IS NULL;

UPDATE clusters SET last_active_at = CASE WHEN last_active_at > $1 THEN last_active_at ELSE $1 END WHERE id = $2;

UPDATE jobs SET state = 'RUNNING', started_at = $1, failed_starts = 0 WHERE id = $2;

UPDATE jobs SET deleted_at = $1 WHERE id = $2 AND deleted_at IS NULL;
