//! Opening the platform's database, with texts for operators.

use std::path::{Path, PathBuf};

use mlplatform_store::{DatabaseUrl, Failure, Store};

use crate::private_file::{self, PathError};

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Another version's store.
    #[error("the store in '{}' {problem}", path.display())]
    Version {
        /// The folder.
        path: PathBuf,
        /// What to do.
        problem: String,
    },
    /// A database of PostgreSQL cannot be opened.
    #[error("the database {0}")]
    Database(String),
    /// The database cannot be opened or written.
    #[error("cannot use the store in '{}': {source}; is the disk full, or the folder read-only?", path.display())]
    Failed {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: Failure,
    },
}

/// Opens the SQLite database at that path, or makes it, and brings it to this version's form.
///
/// # Errors
/// When it cannot be opened or written, or belongs to a newer version.
pub async fn open(path: &Path) -> Result<Store, OpenError> {
    private_file::touch(path).map_err(|source| PathError::Folder { action: "write to", path: folder(path), source })?;
    Store::open_sqlite(path).await.map_err(|error| failed(path, error))
}

/// Opens a SQLite database that a server has made, as it is: a command must not change its form under a running server.
///
/// # Errors
/// When it cannot be opened, or is not of this version.
pub async fn open_as_it_is(path: &Path) -> Result<Store, OpenError> {
    Store::open_sqlite_as_it_is(path).await.map_err(|error| failed(path, error))
}

/// Makes the tables of a platform in a database of PostgreSQL, or opens those that are there.
///
/// # Errors
/// When it cannot be reached, is not suitable, or belongs to a newer version.
pub async fn init_shared(url: &DatabaseUrl) -> Result<Store, OpenError> {
    Store::init_postgres(url).await.map_err(|error| failed_shared(&error))
}

/// Opens a database of PostgreSQL that holds a platform, and brings it to this version's form.
///
/// # Errors
/// When it cannot be reached, is not suitable, holds nothing, or belongs to a newer version.
pub async fn open_shared(url: &DatabaseUrl) -> Result<Store, OpenError> {
    Store::open_postgres(url).await.map_err(|error| failed_shared(&error))
}

/// Opens a database of PostgreSQL as it is: a command must not change its form under running servers.
///
/// # Errors
/// When it cannot be reached, or is not of this version.
pub async fn open_shared_as_it_is(url: &DatabaseUrl) -> Result<Store, OpenError> {
    Store::open_postgres_as_it_is(url).await.map_err(|error| failed_shared(&error))
}

fn failed_shared(error: &mlplatform_store::OpenError) -> OpenError {
    let text = error.to_string();
    let remedy = match error {
        mlplatform_store::OpenError::Failed(Failure::Unavailable(_)) => {
            "; is it running, and are the host and the port of the database URL right?"
        }
        _ => "",
    };
    // Most texts begin so themselves.
    OpenError::Database(format!("{}{remedy}", text.strip_prefix("the database ").unwrap_or(&text)))
}

fn failed(path: &Path, error: mlplatform_store::OpenError) -> OpenError {
    match error {
        mlplatform_store::OpenError::Failed(source) => OpenError::Failed { path: folder(path), source },
        error => OpenError::Version { path: folder(path), problem: error.to_string() },
    }
}

fn folder(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}
