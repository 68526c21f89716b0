//! `mlplatform-server copy`: a platform moves from SQLite to PostgreSQL.

use mlplatform_platform::{
    audit::{
        Audit, ChainError, Mark,
        reader::{Reader, Verification},
    },
    keys::{self, KeysError},
    store,
};
use mlplatform_store::{Copied, CopyError};

use crate::{data_dir::DataDir, start::StartError, storage::Storage};

/// What was copied, and whether its audit is whole.
#[derive(Debug)]
pub struct Copy {
    /// The tables and their rows.
    pub copied: Copied,
    /// The audit in PostgreSQL, proved against the mark in the data directory.
    pub proof: Result<Verification, ChainError>,
}

/// Copies the platform of a data directory into an empty database of PostgreSQL. Nothing in the data directory is changed but
/// that a key of the secrets is made if it has none yet.
///
/// # Errors
/// When a server works on the data directory, or it cannot be read; when the database is not suitable or not empty. Nothing
/// was copied then.
pub async fn copy(storage: &Storage) -> Result<Copy, StartError> {
    let Some(database) = &storage.database else {
        return Err(StartError::Database(
            "`mlplatform-server copy` needs the database that takes the copy: name it with --database-url-file"
                .to_owned(),
        ));
    };
    let dir = DataDir::existing(&storage.data_dir)?;
    // What a server acknowledged after this moment would not be in the copy.
    let _lock = dir.lock()?;
    let from = store::open_as_it_is(&dir.database()).await?;
    let to = store::init_shared(&database.url).await?;
    let own = dir.keys();
    keys::init(&to, &own).await.map_err(|error| match error {
        KeysError::Other(_) | KeysError::Forgotten => {
            StartError::Database("the database holds another platform: give an empty one".to_owned())
        }
        error => error.into(),
    })?;
    if database.keys_dir.is_some() {
        keys::check(&to, &database.keys(&dir)?).await?;
    }
    let copied = from.copy_to_postgres(&database.url).await.map_err(|error| match error {
        CopyError::Failed(failure) => failure.into(),
        error => StartError::Database(error.to_string()),
    })?;
    from.close_as_it_is().await;
    let reader = Reader::new(to, Audit::open_shared(&own.audit, mark_of(&dir)?)?);
    let proof = reader.verify().await;
    reader.close().await;
    Ok(Copy { copied, proof: proof? })
}

fn mark_of(dir: &DataDir) -> Result<Option<Mark>, StartError> {
    let path = dir.audit_head();
    Mark::from_file(&path).map_err(|error| StartError::Mark { path, problem: error.to_string() })
}
