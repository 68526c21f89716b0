//! The manifest of a backup: of which version it is, and the size and checksum of each file.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::start::StartError;

/// Of this form.
pub(super) const FORMAT: u32 = 1;
pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const STORE: &str = "platform.sqlite3";
pub(super) const AUDIT_KEY: &str = "audit-key";
pub(super) const AUDIT_HEAD: &str = "audit-head";
pub(super) const SECRETS_KEY: &str = "secrets-key";
/// Nothing else is taken out of a backup.
pub(super) const FILES: [&str; 4] = [STORE, AUDIT_KEY, AUDIT_HEAD, SECRETS_KEY];
/// Without these there is no platform.
pub(super) const NEEDED: [&str; 3] = [STORE, AUDIT_KEY, AUDIT_HEAD];

/// What `manifest.json` says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    /// Of mlplatform-server.
    pub(super) version: String,
    /// The form of the store.
    pub(super) schema: i64,
    /// Before the store was read: what was acknowledged until then is in it.
    pub(super) made_at: Timestamp,
    pub(super) files: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) sha256: String,
}

/// What is wrong with that backup, and what to do.
pub(super) fn problem(path: &Path, problem: impl Into<String>) -> StartError {
    StartError::Backup { path: path.to_owned(), problem: problem.into() }
}
