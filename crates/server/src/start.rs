//! Why a server does not start: each text names the thing, the cause and the remedy.

use std::{io, path::PathBuf};

/// Nothing was served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder cannot be used.
    #[error("cannot {action} the data directory '{}': {source}; give a folder that you may write to with --data-dir", path.display())]
    Folder {
        /// What was tried.
        action: &'static str,
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else could change what is in it.
    #[error("cannot trust '{}': it {problem}", path.display())]
    Unsafe {
        /// The folder, or what is in it.
        path: PathBuf,
        /// Why not, and what to do.
        problem: String,
    },
    /// A server works on it.
    #[error(
        "the data directory '{}' is in use by {}: stop that server, or give another --data-dir",
        path.display(),
        pid.map_or_else(|| "another server".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The holder.
        pid: Option<u32>,
    },
    /// Nobody has served from it yet.
    #[error("there is no platform in '{}': run `mlplatform-server serve` on that data directory first, or give the right --data-dir", path.display())]
    NoStore {
        /// The folder.
        path: PathBuf,
    },
    /// Nobody serves from it now.
    #[error("no server works on '{}': start it with `mlplatform-server serve`, or give the right --data-dir", path.display())]
    NotServed {
        /// The folder.
        path: PathBuf,
    },
    /// The token in the file has ended.
    #[error("'{}' holds no living token to sign in with: make one with `mlplatform-server admin-token`", path.display())]
    NoAdministrator {
        /// The file.
        path: PathBuf,
    },
    /// Another version's store.
    #[error("the store in '{}' {problem}", path.display())]
    Version {
        /// The folder.
        path: PathBuf,
        /// What to do.
        problem: String,
    },
    /// The database cannot be opened or written.
    #[error("cannot use the store in '{}': {source}; is the disk full, or the folder read-only?", path.display())]
    Store {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: sqlx::Error,
    },
    /// The audit cannot go on.
    #[error("the audit in '{}' cannot go on: {problem}", path.display())]
    Audit {
        /// The folder.
        path: PathBuf,
        /// What to do.
        problem: String,
    },
    /// The values of secrets cannot be read.
    #[error("the secrets cannot be read, for want of their key in '{}': {problem}", path.display())]
    Secrets {
        /// The key file.
        path: PathBuf,
        /// What to do.
        problem: String,
    },
    /// A backup cannot be made or used.
    #[error("the backup in '{}' {problem}", path.display())]
    Backup {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The address cannot be listened on, or must not be.
    #[error("cannot listen on '{address}': {problem}")]
    Listen {
        /// As it was given.
        address: String,
        /// Why, and what to do.
        problem: String,
    },
    /// Jobs must not be run so.
    #[error("{0}")]
    Jobs(String),
    /// The address that the world knows.
    #[error("cannot use '{given}' as --public-url: {problem}; give it as browsers do, such as https://ml.example.com")]
    PublicUrl {
        /// As it was given.
        given: String,
        /// Which rule it breaks.
        problem: String,
    },
    /// The certificate or its key.
    #[error("cannot use the TLS file '{}': {problem}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A service function failed while the platform was set up.
    #[error("{0}{causes}", causes = crate::error::causes(.0).iter().map(|cause| format!(": {cause}")).collect::<String>())]
    Service(#[from] crate::Error),
    /// The system failed.
    #[error("{0}: {1}")]
    System(&'static str, #[source] io::Error),
}
