//! Start-up errors: each text names the thing, the cause and the remedy.

use std::{io, path::PathBuf};

use mlplatform_console::site::PublicUrlError;
use mlplatform_platform::{
    audit,
    error::{Error, causes},
    jobs::lease::ClaimError,
    keys::KeysError,
    private_file::PathError,
    store,
    vault::KeyError,
};
use mlplatform_spark_local::JobUserError;
use mlplatform_store::Failure;

use crate::data_dir::DataDirError;

/// Why nothing was served, or a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A file, or a folder on the way to it, cannot be trusted.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// The audit cannot go on.
    #[error(transparent)]
    Audit(#[from] audit::OpenError),
    /// The values of secrets cannot be read.
    #[error(transparent)]
    Secrets(#[from] KeyError),
    /// The keys are not those of the database.
    #[error(transparent)]
    Keys(KeysError),
    /// A mark of the audit.
    #[error("the audit's mark in '{}' cannot be used: {problem}", path.display())]
    Mark {
        /// Its file.
        path: PathBuf,
        /// What to do.
        problem: String,
    },
    /// The database is given in a way that is refused.
    #[error("{0}")]
    Database(String),
    /// The token in the file has ended.
    #[error("'{}' holds no living token to sign in with: make one with `mlplatform-server admin-token`", path.display())]
    NoAdministrator {
        /// The file.
        path: PathBuf,
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
    /// Another server runs jobs on its own machine, or has left some there.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// Jobs must not be run so.
    #[error(transparent)]
    Jobs(#[from] JobUserError),
    /// The address that the world knows.
    #[error(transparent)]
    PublicUrl(#[from] PublicUrlError),
    /// The certificate or its key.
    #[error("cannot use the TLS file '{}': {problem}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A method of the platform failed.
    #[error("{0}{causes}", causes = causes(.0).iter().map(|cause| format!(": {cause}")).collect::<String>())]
    Platform(#[from] Error),
    /// The system failed.
    #[error("{0}: {1}")]
    System(&'static str, #[source] io::Error),
}

impl From<KeysError> for StartError {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Platform(error) => Self::Platform(error),
            error => Self::Keys(error),
        }
    }
}

impl From<Failure> for StartError {
    fn from(failure: Failure) -> Self {
        Self::Platform(failure.into())
    }
}
