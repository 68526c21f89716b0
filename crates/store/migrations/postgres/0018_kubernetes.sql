-- Which cluster of Kubernetes a cluster is, as JSON: where its credentials are, never themselves. NULL: this machine.
ALTER TABLE clusters ADD COLUMN kubernetes TEXT COLLATE "C";
