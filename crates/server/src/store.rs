//! The database: SQLite in WAL mode, one connection that writes, a few that read.
//!
//! One writer, because SQLite has one anyway: waiting for it in our own queue is fair and never fails with `BUSY`.
//! `BEGIN IMMEDIATE` takes the write lock before the first read of a transaction, so that what a transaction has read
//! is still true when it writes, also beside another process. `synchronous=FULL` flushes the log at every commit:
//! what was acknowledged survives a loss of power.

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions, Connection as _, SqliteConnection, SqlitePool,
    migrate::{MigrateError, Migrator},
    pool::PoolConnection,
    sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{DataDir, Result, StartError};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long another process's transaction is waited for, and how long the queue for a connection may be, before the
/// caller is told to come again.
const PATIENCE: Duration = Duration::from_secs(10);
/// Reads take tens of microseconds; more connections than this would wait for a core.
const READERS: u32 = 4;

/// The open database.
#[derive(Clone, Debug)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Store {
    /// Opens the directory's database, or makes it, and brings it to this version's form.
    ///
    /// # Errors
    /// When it cannot be opened or written, or belongs to a newer version.
    pub async fn open(dir: &DataDir) -> Result<Self, StartError> {
        let path = dir.database();
        dir.touch_private(&path).map_err(|source| StartError::Folder {
            action: "write to",
            path: dir.path().to_owned(),
            source,
        })?;
        let store = Self::connect(dir, &path).await?;
        match store.migrate().await {
            Ok(()) => Ok(store),
            Err(MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_)) => Err(StartError::Version {
                path: dir.path().to_owned(),
                problem: "was written by a newer version of mlplatform-server: install that version, or a newer one"
                    .to_owned(),
            }),
            Err(MigrateError::Execute(source)) => Err(failed(dir, source)),
            Err(error) => Err(StartError::Version { path: dir.path().to_owned(), problem: format!("fails: {error}") }),
        }
    }

    /// With foreign keys off: a migration that makes a table anew drops the one that others refer to.
    async fn migrate(&self) -> Result<(), MigrateError> {
        let mut writer = self.writer.acquire().await?;
        sqlx::query("PRAGMA foreign_keys = OFF").execute(&mut *writer).await?;
        MIGRATIONS.run(&mut *writer).await?;
        sqlx::query("PRAGMA foreign_keys = ON").execute(&mut *writer).await?;
        Ok(())
    }

    /// Opens a database that a server has made, as it is: a command must not change its form under a running server.
    ///
    /// # Errors
    /// When it cannot be opened, or is not of this version.
    pub async fn open_as_it_is(dir: &DataDir) -> Result<Self, StartError> {
        let store = Self::connect(dir, &dir.database()).await?;
        let newest: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
            .fetch_one(&store.writer)
            .await
            .unwrap_or_default();
        if newest == Self::version() {
            return Ok(store);
        }
        Err(StartError::Version {
            path: dir.path().to_owned(),
            problem: "is of another version: use the mlplatform-server that serves it, or start this one on it once"
                .to_owned(),
        })
    }

    /// Whether nothing has ever happened in it: the first start was never finished.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn is_fresh(&self) -> Result<bool> {
        let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM audit) OR EXISTS (SELECT 1 FROM tokens)")
            .fetch_one(&mut *self.read().await?)
            .await?;
        Ok(!any)
    }

    async fn connect(dir: &DataDir, path: &Path) -> Result<Self, StartError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
            // Statements are of no use in our log; and what is not logged at all holds no secret.
            .disable_statement_logging();
        let writer = options.clone().journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        let pool = || {
            SqlitePoolOptions::new()
                .acquire_timeout(PATIENCE)
                .idle_timeout(None)
                .max_lifetime(None)
                // There is no network between us that could have dropped it.
                .test_before_acquire(false)
        };
        let failed = |source| failed(dir, source);
        // The writer first: it makes the WAL files that a reader cannot make.
        let writer = pool()
            .max_connections(1)
            // A commit that finds no room on the disk undoes itself, but sqlx still counts the transaction as open: another
            // connection then takes this one's place.
            .after_release(|connection, _| Box::pin(std::future::ready(Ok(!connection.is_in_transaction()))))
            .connect_with(writer)
            .await
            .map_err(failed)?;
        let readers = pool().max_connections(READERS).connect_with(options.read_only(true)).await.map_err(failed)?;
        Ok(Self { writer, readers })
    }

    /// Whether its form is the one that this version knows; a newer server beside this one may have changed it.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn is_of_this_version(&self) -> Result<bool> {
        let newest: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
            .fetch_one(&mut *self.read().await?)
            .await?;
        Ok(newest == Self::version())
    }

    /// The newest form that this version knows.
    pub(crate) fn version() -> Option<i64> {
        MIGRATIONS.iter().map(|migration| migration.version).max()
    }

    /// Writes something that means nothing, to find out whether it can be written.
    ///
    /// # Errors
    /// When it cannot.
    pub(crate) async fn touch(&self, now: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO readiness (id, checked_at) VALUES (1, ?) \
             ON CONFLICT (id) DO UPDATE SET checked_at = excluded.checked_at",
        )
        .bind(now)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Writes a copy to an empty file, as of one moment; others read and write meanwhile. The copy is not flushed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) async fn copy_to(&self, path: &Path) -> Result<()> {
        // Unlike a plain VACUUM, this keeps the rowids that the index of names goes by.
        sqlx::query("VACUUM INTO ?").bind(path.to_string_lossy()).execute(&mut *self.read().await?).await?;
        Ok(())
    }

    /// Bytes that a copy takes at most.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn size(&self) -> Result<u64> {
        let size: i64 = sqlx::query_scalar("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            .fetch_one(&mut *self.read().await?)
            .await?;
        Ok(u64::try_from(size).unwrap_or_default())
    }

    /// Connections that read: how many there are, and how many of them are idle.
    pub(crate) fn readers(&self) -> (usize, usize) {
        connections(&self.readers)
    }

    /// The same of those that write.
    pub(crate) fn writers(&self) -> (usize, usize) {
        connections(&self.writer)
    }

    /// A transaction that no other writer runs beside.
    ///
    /// # Errors
    /// When the queue is too long, or the database fails.
    pub(crate) async fn begin(&self) -> Result<sqlx::Transaction<'static, Sqlite>> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// A connection that sees what was last committed.
    ///
    /// # Errors
    /// When the queue is too long, or the database fails.
    pub(crate) async fn read(&self) -> Result<PoolConnection<Sqlite>> {
        Ok(self.readers.acquire().await?)
    }

    /// Closes the connections of this process, and leaves the log to the server that runs beside it.
    pub(crate) async fn close_as_it_is(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Waits for what is running, writes the log back into the database and closes it.
    pub async fn close(&self) {
        self.readers.close().await;
        if let Ok(mut writer) = self.writer.acquire().await {
            checkpoint(&mut writer).await;
        }
        self.writer.close().await;
    }
}

fn connections(pool: &SqlitePool) -> (usize, usize) {
    (usize::try_from(pool.size()).unwrap_or(usize::MAX), pool.num_idle())
}

/// Only tidying: a log that stays behind is read at the next start.
async fn checkpoint(connection: &mut SqliteConnection) {
    if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(connection).await {
        tracing::warn!("the store's log could not be written back: {error}");
    }
}

fn failed(dir: &DataDir, source: sqlx::Error) -> StartError {
    StartError::Store { path: dir.path().to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Migrations run without them.
    #[tokio::test]
    async fn references_between_tables_are_enforced() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&DataDir::create(folder.path()).unwrap()).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let insert =
            "INSERT INTO sessions (digest, token_id, created_at, expires_at) VALUES (zeroblob(32), 'nobody', 1, 2)";
        let error = sqlx::query(insert).execute(&mut *tx).await.unwrap_err();
        assert!(error.to_string().contains("FOREIGN KEY"), "{error}");
    }
}
