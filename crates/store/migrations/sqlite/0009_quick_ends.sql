-- Runs of a job in a row that ended at once: such are repeated later and later.
ALTER TABLE jobs ADD COLUMN quick_ends INTEGER NOT NULL DEFAULT 0;
