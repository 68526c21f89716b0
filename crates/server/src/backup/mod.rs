//! A copy of a platform that another one can be started from: `mlplatform-server backup` and `restore`.
//!
//! | in a backup | |
//! | --- | --- |
//! | `platform.sqlite3` | the store, as of one moment: SQLite's `VACUUM INTO`, beside a server that goes on writing |
//! | `audit-key`, `audit-head` | the key of the audit's chain, and its mark, read before that moment: it never leads the rows |
//! | `secrets-key` | the key of the secrets' values, unless it is left out |
//! | `manifest.json` | of which version it is, and the size and SHA-256 of each file; written last, so that a folder without it is no backup |
//!
//! What is a User's own is not in it (buckets), and neither is what belongs to the runs of jobs: logs, working folders,
//! uploads. So a job that was not over cannot go on elsewhere, and `restore` ends it.

mod files;
pub mod make;
mod manifest;
pub mod restore;
