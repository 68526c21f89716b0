-- With a range of ids for jobs (--job-user FIRST-LAST): the user that a job's runs have, until nothing of them is left, and
-- the group of a cluster's bucket, which is never given to anybody else.
ALTER TABLE jobs ADD COLUMN user_id INTEGER;
ALTER TABLE clusters ADD COLUMN job_group INTEGER;
CREATE UNIQUE INDEX jobs_user ON jobs (user_id) WHERE user_id IS NOT NULL;
CREATE UNIQUE INDEX clusters_job_group ON clusters (job_group) WHERE job_group IS NOT NULL;
