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
mod make;
mod restore;

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use make::{Made, backup};
pub use restore::{Restored, restore};

use crate::StartError;

/// Of this form.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
const STORE: &str = "platform.sqlite3";
const AUDIT_KEY: &str = "audit-key";
const AUDIT_HEAD: &str = "audit-head";
const SECRETS_KEY: &str = "secrets-key";
/// Nothing else is taken out of a backup.
const FILES: [&str; 4] = [STORE, AUDIT_KEY, AUDIT_HEAD, SECRETS_KEY];
/// Without these there is no platform.
const NEEDED: [&str; 3] = [STORE, AUDIT_KEY, AUDIT_HEAD];

/// What `manifest.json` says.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// Of mlplatform-server.
    version: String,
    /// The form of the store.
    schema: i64,
    /// Before the store was read: what was acknowledged until then is in it.
    made_at: Timestamp,
    files: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    size: u64,
    sha256: String,
}

/// What is wrong with that backup, and what to do.
fn problem(path: &Path, problem: impl Into<String>) -> StartError {
    StartError::Backup { path: path.to_owned(), problem: problem.into() }
}
