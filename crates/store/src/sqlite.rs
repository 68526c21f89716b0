//! SQLite in WAL mode: one connection that writes, a few that read.
//!
//! One writer, because SQLite has one anyway: waiting for it in our own queue is fair and never fails with `BUSY`.
//! `BEGIN IMMEDIATE` takes the write lock before the first read of a transaction, so that what a transaction has read
//! is still true when it writes, also beside another process. `synchronous=FULL` flushes the log at every commit:
//! what was acknowledged survives a loss of power.

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions as _, Connection as _, Sqlite, SqliteConnection, SqlitePool, Transaction,
    migrate::{MigrateError, Migrator},
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    failure::{Failure, OpenError},
    pool::Connections,
};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");

/// How long another process's transaction is waited for, and how long the queue for a connection may be, before the
/// caller is told to come again.
const PATIENCE: Duration = Duration::from_secs(10);
/// Reads take tens of microseconds; more connections than this would wait for a core.
const READERS: u32 = 4;

#[derive(Clone)]
pub(crate) struct Pools {
    writer: SqlitePool,
    readers: SqlitePool,
}

/// Opens a file that exists, if only an empty one: who may read it is the caller's to say. Brings it to this version's form.
pub(crate) async fn open(path: &Path) -> Result<Pools, OpenError> {
    let pools = connect(path).await?;
    migrate(&pools.writer).await?;
    Ok(pools)
}

/// Opens a database that a server has made, as it is: a command must not change its form under a running server.
pub(crate) async fn open_as_it_is(path: &Path) -> Result<Pools, OpenError> {
    let pools = connect(path).await?;
    let newest: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(&pools.writer)
        .await
        .unwrap_or_default();
    if newest == version() { Ok(pools) } else { Err(OpenError::OtherVersion) }
}

/// The newest schema version.
pub(crate) fn version() -> Option<i64> {
    MIGRATIONS.iter().map(|migration| migration.version).max()
}

/// With foreign keys off: a migration that makes a table anew drops the one that others refer to.
async fn migrate(writer: &SqlitePool) -> Result<(), MigrateError> {
    let mut writer = writer.acquire().await?;
    sqlx::query("PRAGMA foreign_keys = OFF").execute(&mut *writer).await?;
    // Not `run`: its future would not be `Send`.
    MIGRATIONS.run_direct(None, &mut *writer, false).await?;
    sqlx::query("PRAGMA foreign_keys = ON").execute(&mut *writer).await?;
    Ok(())
}

async fn connect(path: &Path) -> Result<Pools, sqlx::Error> {
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
    // The writer first: it makes the WAL files that a reader cannot make.
    let writer = pool()
        .max_connections(1)
        // A commit that finds no room on the disk undoes itself, but sqlx still counts the transaction as open: another
        // connection then takes this one's place.
        .after_release(|connection, _| Box::pin(std::future::ready(Ok(!connection.is_in_transaction()))))
        .connect_with(writer)
        .await?;
    let readers = pool().max_connections(READERS).connect_with(options.read_only(true)).await?;
    Ok(Pools { writer, readers })
}

impl Pools {
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Failure> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    pub(crate) async fn read(&self) -> Result<PoolConnection<Sqlite>, Failure> {
        Ok(self.readers.acquire().await?)
    }

    pub(crate) async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>, Failure> {
        Ok(self.readers.begin().await?)
    }

    pub(crate) fn readers(&self) -> Connections {
        (&self.readers).into()
    }

    pub(crate) fn writers(&self) -> Connections {
        (&self.writer).into()
    }

    pub(crate) async fn close_as_it_is(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Waits for what is running, writes the log back into the database and closes it.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        if let Ok(mut writer) = self.writer.acquire().await {
            checkpoint(&mut writer).await;
        }
        self.writer.close().await;
    }
}

/// Only tidying: a log that stays behind is read at the next start.
async fn checkpoint(connection: &mut SqliteConnection) {
    if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(connection).await {
        tracing::warn!("the store's log could not be written back: {}", Failure::from(error));
    }
}
