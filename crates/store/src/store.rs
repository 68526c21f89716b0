//! The open database, whichever it is.

use std::{fmt, path::Path, sync::Arc};

use sqlx::{Sqlite, Transaction};

use crate::{
    connection::Connection,
    failure::{Failure, OpenError},
    pool::Connections,
    postgres::{self, schema},
    query::{either, query},
    sqlite,
    topics::{self, Listening, Subscription, Topics},
    url::DatabaseUrl,
};

/// The open database. Clones share its connections.
#[derive(Clone)]
pub struct Store {
    pools: Pools,
    topics: Topics,
}

#[derive(Clone)]
enum Pools {
    Sqlite(sqlite::Pools),
    Postgres(postgres::Pools, Arc<Listening>),
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_postgres() { "Store(PostgreSQL)" } else { "Store(SQLite)" })
    }
}

/// How a transaction stands beside others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No other exclusive one runs beside it, on any server: what it has read is still true when it writes. For everything
    /// that leaves a row in the audit.
    Exclusive,
    /// Others run beside it, exclusive ones too. It has to lock the rows that it rests on (`FOR SHARE`, where SQLite, which
    /// has one writer all the same, has nothing to say).
    Concurrent,
}

impl Store {
    /// Opens SQLite's file, which has to exist, if only as an empty one, and brings it to this version's form.
    ///
    /// # Errors
    /// When it cannot be opened or written, or belongs to a newer version.
    pub async fn open_sqlite(path: &Path) -> Result<Self, OpenError> {
        Ok(Self::over_sqlite(sqlite::open(path).await?))
    }

    /// Opens SQLite's file as it is, for a command beside a running server.
    ///
    /// # Errors
    /// When it cannot be opened, or is not of this version.
    pub async fn open_sqlite_as_it_is(path: &Path) -> Result<Self, OpenError> {
        Ok(Self::over_sqlite(sqlite::open_as_it_is(path).await?))
    }

    /// Makes the tables of a platform in a database of PostgreSQL, or opens those that are there.
    ///
    /// # Errors
    /// When it cannot be reached, is not suitable, or belongs to a newer version.
    pub async fn init_postgres(url: &DatabaseUrl) -> Result<Self, OpenError> {
        let options = postgres::options(url)?;
        let pools = postgres::init(&options).await?;
        Ok(Self::over_postgres(pools, options))
    }

    /// Opens a database of PostgreSQL that holds a platform, and brings it to this version's form.
    ///
    /// # Errors
    /// When it cannot be reached, is not suitable, holds nothing, or belongs to a newer version.
    pub async fn open_postgres(url: &DatabaseUrl) -> Result<Self, OpenError> {
        let options = postgres::options(url)?;
        let pools = postgres::open(&options).await?;
        Ok(Self::over_postgres(pools, options))
    }

    /// Opens a database of PostgreSQL as it is, for a command beside running servers.
    ///
    /// # Errors
    /// When it cannot be reached, is not suitable, or is not of this version.
    pub async fn open_postgres_as_it_is(url: &DatabaseUrl) -> Result<Self, OpenError> {
        let options = postgres::options(url)?;
        let pools = postgres::open_as_it_is(&options).await?;
        Ok(Self::over_postgres(pools, options))
    }

    fn over_sqlite(pools: sqlite::Pools) -> Self {
        Self { pools: Pools::Sqlite(pools), topics: Topics::default() }
    }

    fn over_postgres(pools: postgres::Pools, options: sqlx::postgres::PgConnectOptions) -> Self {
        let topics = Topics::default();
        let listening = Arc::new(topics::listen(options, topics.clone()));
        Self { pools: Pools::Postgres(pools, listening), topics }
    }

    /// Whether several servers may share it.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        matches!(self.pools, Pools::Postgres(..))
    }

    /// A connection that sees what was last committed, for reading only.
    ///
    /// # Errors
    /// When the queue is too long, or the database fails.
    pub async fn read(&self) -> Result<Connection, Failure> {
        Ok(match &self.pools {
            Pools::Sqlite(pools) => Connection::sqlite_read(pools.read().await?, self.topics.clone()),
            Pools::Postgres(pools, _) => Connection::pg_read(pools.read().await?, self.topics.clone()),
        })
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// [`Failure::Busy`] when others were in the way for too long; when the database fails.
    pub async fn begin(&self, mode: Mode) -> Result<Connection, Failure> {
        Ok(match (&self.pools, mode) {
            (Pools::Sqlite(pools), _) => Connection::sqlite_change(pools.begin().await?, self.topics.clone()),
            (Pools::Postgres(pools, _), Mode::Exclusive) => {
                Connection::pg_change(pools.begin_exclusive().await?, self.topics.clone())
            }
            (Pools::Postgres(pools, _), Mode::Concurrent) => {
                Connection::pg_change(pools.begin_concurrent().await?, self.topics.clone())
            }
        })
    }

    /// Whether nothing has ever happened in it: the first start was never finished.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_fresh(&self) -> Result<bool, Failure> {
        let any: bool = query("SELECT EXISTS (SELECT 1 FROM audit) OR EXISTS (SELECT 1 FROM tokens)")
            .scalar(&mut self.read().await?)
            .await?;
        Ok(!any)
    }

    /// The newest schema version that this program knows.
    #[must_use]
    pub fn version() -> Option<i64> {
        sqlite::version()
    }

    /// Whether this program works with its schema, which a newer server beside this one may have changed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn suits(&self) -> Result<bool, Failure> {
        if self.is_postgres() {
            let (statement, known) = schema::suits();
            return query(statement).bind(known).scalar(&mut self.read().await?).await;
        }
        let newest: Option<i64> =
            query("SELECT max(version) FROM _sqlx_migrations WHERE success").scalar(&mut self.read().await?).await?;
        Ok(newest == Self::version())
    }

    /// How far this machine's clock is from the database's: `now` gives its time in microseconds since 1970. 0 with SQLite,
    /// and where the difference may be the time that the question took.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn clock_difference(&self, now: impl Fn() -> i64) -> Result<u64, Failure> {
        if !self.is_postgres() {
            return Ok(0);
        }
        let mut connection = self.read().await?;
        let before = now();
        let theirs: i64 = query("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)")
            .scalar(&mut connection)
            .await?;
        Ok(theirs.abs_diff(theirs.clamp(before, now().max(before))))
    }

    /// Commits a write that means nothing, to find out whether that can be done.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn touch(&self, now: i64) -> Result<(), Failure> {
        let mut connection = self.begin(Mode::Concurrent).await?;
        query(
            "INSERT INTO readiness (id, checked_at) VALUES (1, $1) \
             ON CONFLICT (id) DO UPDATE SET checked_at = excluded.checked_at",
        )
        .bind(now)
        .execute(&mut connection)
        .await?;
        connection.commit().await
    }

    /// Begins a transaction of SQLite that reads: all of it sees the same moment.
    pub(crate) async fn sqlite_snapshot(&self) -> Result<Transaction<'static, Sqlite>, Failure> {
        match &self.pools {
            Pools::Sqlite(pools) => pools.snapshot().await,
            Pools::Postgres(..) => Err(Failure::fault("a PostgreSQL database is copied with pg_dump and pg_restore")),
        }
    }

    /// Writes a copy of SQLite's database to an empty file, as of one moment; others read and write meanwhile. The copy is
    /// not flushed.
    ///
    /// # Errors
    /// When it cannot be written, or this is PostgreSQL, which has programs of its own for that.
    pub async fn copy_to(&self, path: &Path) -> Result<(), Failure> {
        if self.is_postgres() {
            return Err(Failure::fault("a PostgreSQL database is backed up with pg_dump"));
        }
        // Unlike a plain VACUUM, this keeps the rowids that the index of names goes by.
        let mut connection = self.read().await?;
        query("VACUUM INTO $1").bind(&*path.to_string_lossy()).execute(&mut connection).await.map(drop)
    }

    /// Bytes of the database.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn size(&self) -> Result<u64, Failure> {
        let size: i64 = either(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
            "SELECT pg_database_size(current_database())",
        )
        .scalar(&mut self.read().await?)
        .await?;
        Ok(u64::try_from(size).unwrap_or_default())
    }

    /// Connections that read.
    #[must_use]
    pub fn readers(&self) -> Connections {
        match &self.pools {
            Pools::Sqlite(pools) => pools.readers(),
            Pools::Postgres(pools, _) => pools.readers(),
        }
    }

    /// Connections that write.
    #[must_use]
    pub fn writers(&self) -> Connections {
        match &self.pools {
            Pools::Sqlite(pools) => pools.writers(),
            Pools::Postgres(pools, _) => pools.writers(),
        }
    }

    /// Closes the connections of this process, and leaves SQLite's log to the server that runs beside it.
    pub async fn close_as_it_is(&self) {
        match &self.pools {
            Pools::Sqlite(pools) => pools.close_as_it_is().await,
            Pools::Postgres(..) => self.close().await,
        }
    }

    /// Hears of commits that [notify](Connection::notify) of the topic, on whichever server.
    #[must_use]
    pub fn subscribe(&self, topic: &'static str) -> Subscription {
        self.topics.subscribe(topic)
    }

    /// Waits for what is running, and closes all connections.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Sqlite(pools) => pools.close().await,
            Pools::Postgres(pools, listening) => {
                listening.stop();
                pools.close().await;
            }
        }
    }
}
