//! Where the platform's state is: SQLite in the data directory, or a PostgreSQL that several servers share, with the keys in
//! files beside it.

use std::path::{Path, PathBuf};

use mlplatform_platform::{
    audit::{Audit, Mark},
    keys::{self, KeyFiles},
    objects, store,
    vault::Vault,
};
use mlplatform_store::{DatabaseUrl, Store};

use crate::{data_dir::DataDir, safe_path, start::StartError};

/// A PostgreSQL in place of the data directory's SQLite.
#[derive(Clone, Debug)]
pub struct Database {
    /// Where it is.
    pub url: DatabaseUrl,
    /// The folder of the two keys, which may be read-only; `None`: the data directory.
    pub keys_dir: Option<PathBuf>,
    /// The file of the audit's mark; `None`: the log.
    pub audit_mark: Option<PathBuf>,
}

/// What a command works on.
#[derive(Clone, Debug)]
pub struct Storage {
    /// The data directory.
    pub data_dir: PathBuf,
    /// With it, the data directory holds no database.
    pub database: Option<Database>,
}

/// The state of a platform, open.
pub(crate) struct Opened {
    pub store: Store,
    pub audit: Audit,
    pub secrets_key: PathBuf,
    /// The key of the secrets' values was lost, and no user's value with it.
    pub renewed: bool,
}

impl Database {
    /// The files of the keys, which nobody else may read or replace.
    pub(crate) fn keys(&self, dir: &DataDir) -> Result<KeyFiles, StartError> {
        let keys = KeyFiles::in_folder(self.keys_dir.as_deref().unwrap_or(dir.path()));
        for path in [&keys.audit, &keys.secrets] {
            safe_path::check_secret(path)?;
        }
        Ok(keys)
    }

    async fn opened(&self, store: Store, dir: &DataDir, mark: Option<Mark>) -> Result<Opened, StartError> {
        let keys = self.keys(dir)?;
        keys::check(&store, &keys).await?;
        Ok(Opened { audit: Audit::open_shared(&keys.audit, mark)?, store, secrets_key: keys.secrets, renewed: false })
    }
}

/// Opens it to be served, of an older version too.
pub(crate) async fn open_to_serve(dir: &DataDir, database: Option<&Database>) -> Result<Opened, StartError> {
    if let Some(database) = database {
        let mark = database.audit_mark.as_deref().map(mark_in).transpose()?.flatten();
        let opened = database.opened(store::open_shared(&database.url).await?, dir, mark).await?;
        dir.id()?;
        opened.audit.begin_mark(&mut opened.store.read().await?).await?;
        return Ok(opened);
    }
    dir.is_of_sqlite()?;
    let store = store::open(&dir.database()).await?;
    let audit = Audit::open(&dir.audit_key(), &dir.audit_head(), store.is_fresh().await?)?;
    let renewed = Vault::prepare(&dir.secrets_key(), objects::any_secret(&mut store.read().await?).await?)?;
    Ok(Opened { store, audit, secrets_key: dir.secrets_key(), renewed })
}

impl Storage {
    /// The data directory: of SQLite one that a server has used before.
    pub(crate) fn dir(&self) -> Result<DataDir, StartError> {
        Ok(match &self.database {
            Some(_) => DataDir::at(&self.data_dir)?,
            None => DataDir::existing(&self.data_dir)?,
        })
    }

    /// Opens it for a command, beside servers that work on it. `mark`: what the audit is proved against, in place of the
    /// mark that is kept.
    pub(crate) async fn open(&self, dir: &DataDir, mark: Option<Mark>) -> Result<Opened, StartError> {
        if let Some(database) = &self.database {
            return database.opened(store::open_shared_as_it_is(&database.url).await?, dir, mark).await;
        }
        dir.is_of_sqlite()?;
        let audit = match mark {
            Some(_) => Audit::open_shared(&dir.audit_key(), mark)?,
            None => Audit::open(&dir.audit_key(), &dir.audit_head(), false)?,
        };
        let store = store::open_as_it_is(&dir.database()).await?;
        Ok(Opened { store, audit, secrets_key: dir.secrets_key(), renewed: false })
    }

    /// The data directory of what only SQLite has: `command` is its name, `instead` what PostgreSQL has in its place.
    ///
    /// # Errors
    /// When a database URL is given.
    pub fn sqlite_only(&self, command: &str, instead: &str) -> Result<&Path, StartError> {
        match &self.database {
            None => Ok(&self.data_dir),
            Some(_) => Err(StartError::Database(format!(
                "`mlplatform-server {command}` is for SQLite in a data directory, and a database URL is given: {instead}"
            ))),
        }
    }
}

/// The database URL in a file, which nobody else may read or replace.
///
/// # Errors
/// When the file cannot be read or trusted, or holds no such URL.
pub fn read_url(path: &Path) -> Result<DatabaseUrl, StartError> {
    safe_path::check_secret(path)?;
    DatabaseUrl::from_file(path).map_err(|error| StartError::Database(error.to_string()))
}

/// The mark in a file that a server keeps; `None`: there is none yet.
///
/// # Errors
/// When the file cannot be read or trusted, or holds something else.
pub fn mark_in(path: &Path) -> Result<Option<Mark>, StartError> {
    safe_path::check(path)?;
    Mark::from_file(path).map_err(|error| StartError::Mark {
        path: path.to_owned(),
        problem: format!("{error}; name the right file, or put a mark there that a log has"),
    })
}
