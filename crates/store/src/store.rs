//! The open database, whichever it is.

use std::{fmt, path::Path, sync::Arc};

use crate::{
    connection::Connection,
    failure::{Failure, OpenError},
    postgres,
    query::query,
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

    /// Opens a database of PostgreSQL, which has to exist, if only as an empty one, and brings it to this version's form.
    ///
    /// # Errors
    /// When it cannot be reached, is not suitable, or belongs to a newer version.
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
