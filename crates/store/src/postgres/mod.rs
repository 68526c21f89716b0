//! PostgreSQL: pools of connections, what has to be true of the database, and how changes stand beside each other.
//!
//! An exclusive change takes one advisory lock for the whole database, so that on any number of servers no other exclusive
//! one runs beside it: the same promise that `BEGIN IMMEDIATE` gives in SQLite. Its isolation level is `READ COMMITTED`:
//! each statement after the lock sees all that its predecessors have committed.

mod requirements;
pub(crate) mod schema;
pub(crate) mod session;

use std::time::Duration;

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use session::Session;

use crate::{
    failure::{Failure, OpenError},
    pool::Connections,
    url::DatabaseUrl,
};

/// How long the queue for a connection may be before the caller is told to come again: of changes, which wait for each other
/// and for the disk …
const PATIENCE: Duration = Duration::from_secs(10);
/// … and of reads, with which every request begins: they take a millisecond, unless the database does not answer.
const READERS_PATIENCE: Duration = Duration::from_secs(5);
/// One exclusive change runs at a time; one more waits in the database, the rest in our own queue. A server that stands still
/// holds the lock once for each of these connections, for [`EXCLUSIVE_IDLE`]. They have connections of
/// their own, so that neither exchanges nor reads wait for them.
const EXCLUSIVE: u32 = 2;
const EXCLUSIVE_IDLE: &str = "3s";
/// A concurrent change waits for the disk most of its time.
const CONCURRENT: u32 = 8;
const READERS: u32 = 8;
/// A connection that was used this recently is taken to be alive.
const FRESH: Duration = Duration::from_secs(1);

pub(crate) const BEGIN_EXCLUSIVE: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock(7741302957118205)";
const BEGIN_CONCURRENT: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

#[derive(Clone)]
pub(crate) struct Pools {
    exclusive: PgPool,
    concurrent: PgPool,
    readers: PgPool,
}

/// What the pools and the listener connect with.
pub(crate) fn options(url: &DatabaseUrl) -> Result<PgConnectOptions, OpenError> {
    let options = url.options()?;
    let name = options.get_application_name().unwrap_or("mlplatform-server").to_owned();
    Ok(options
        .application_name(&name)
        .options([
            // Another's transaction, or the lock: the caller is told to come again.
            ("lock_timeout", "10s"),
            // A server that stands still in a change ends it: less than others wait, and less than a lease lasts.
            ("idle_in_transaction_session_timeout", "5s"),
            ("statement_timeout", "15s"),
        ])
        // Statements are of no use in our log; and what is not logged at all holds no secret.
        .disable_statement_logging())
}

/// Brings a database to this version's form, also an empty one, and opens it.
pub(crate) async fn init(options: &PgConnectOptions) -> Result<Pools, OpenError> {
    schema::migrate(PgConnection::connect_with(options).await?).await?;
    Ok(pools(options))
}

/// Brings the database of a platform to this version's form, and opens it. In an empty one, whose name may be a mistake,
/// nothing is made.
pub(crate) async fn open(options: &PgConnectOptions) -> Result<Pools, OpenError> {
    let mut connection = PgConnection::connect_with(options).await?;
    if !schema::is_made(&mut connection).await? {
        return Err(OpenError::Empty);
    }
    schema::migrate(connection).await?;
    Ok(pools(options))
}

/// Opens a database as it is, for a command beside running servers.
pub(crate) async fn open_as_it_is(options: &PgConnectOptions) -> Result<Pools, OpenError> {
    schema::check(options).await?;
    Ok(pools(options))
}

fn pools(options: &PgConnectOptions) -> Pools {
    // The same promise as that of SQLite's readers.
    let read_only = options.clone().options([("default_transaction_read_only", "on")]);
    let pool = |most, patience, options: &PgConnectOptions| {
        PgPoolOptions::new()
            .max_connections(most)
            .acquire_timeout(patience)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > FRESH {
                        // It may have been dropped by the network meanwhile, or the database restarted.
                        tokio::time::timeout(FRESH, connection.ping())
                            .await
                            .unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options.clone())
    };
    let exclusive = options.clone().options([("idle_in_transaction_session_timeout", EXCLUSIVE_IDLE)]);
    Pools {
        exclusive: pool(EXCLUSIVE, PATIENCE, &exclusive),
        concurrent: pool(CONCURRENT, PATIENCE, options),
        readers: pool(READERS, READERS_PATIENCE, &read_only),
    }
}

impl Pools {
    pub(crate) fn readers(&self) -> Connections {
        (&self.readers).into()
    }

    pub(crate) fn writers(&self) -> Connections {
        Connections::from(&self.exclusive) + (&self.concurrent).into()
    }

    pub(crate) async fn read(&self) -> Result<Session, Failure> {
        Ok(Session::new(self.readers.acquire().await?))
    }

    pub(crate) async fn begin_exclusive(&self) -> Result<Session, Failure> {
        Session::new(self.exclusive.acquire().await?).begin(BEGIN_EXCLUSIVE).await
    }

    pub(crate) async fn begin_concurrent(&self) -> Result<Session, Failure> {
        Session::new(self.concurrent.acquire().await?).begin(BEGIN_CONCURRENT).await
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.concurrent.close().await;
        self.exclusive.close().await;
    }
}
