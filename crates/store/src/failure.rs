//! What can go wrong, told apart by what helps against it.

use sqlx::error::DatabaseError;

/// A statement or a transaction failed.
///
/// It holds the database's message and code and nothing else: PostgreSQL's details quote the values of rows.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Others were in the way for too long. Nothing was changed; the same call may succeed later.
    #[error("the database is busy: {0}")]
    Busy(String),
    /// No room is left, or the disk cannot be written. Nothing was changed; an operator has to make room.
    #[error("the database has no room left: {0}")]
    Full(String),
    /// The database cannot be reached, or the connection to it broke. If it broke during a commit, whether that commit was
    /// done is unknown.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// A row that had to be there was not.
    #[error("the database has no such row")]
    NotFound,
    /// A text holds a NUL character, which PostgreSQL cannot store. Refused before anything was sent, for both databases.
    #[error("a text with a NUL character cannot be stored")]
    Nul,
    /// Anything else: a constraint that was violated, a statement that is wrong, a damaged file.
    #[error("the database failed: {0}")]
    Other(String),
}

impl Failure {
    pub(crate) fn fault(text: &str) -> Self {
        Self::Other(text.to_owned())
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::RowNotFound => Self::NotFound,
            sqlx::Error::PoolTimedOut => Self::Busy("no connection became free in time".to_owned()),
            sqlx::Error::PoolClosed => Self::Unavailable("the store is closing".to_owned()),
            sqlx::Error::WorkerCrashed => Self::Unavailable("its thread has ended".to_owned()),
            sqlx::Error::Io(error) => Self::Unavailable(error.to_string()),
            sqlx::Error::Tls(error) => Self::Unavailable(format!("TLS: {error}")),
            sqlx::Error::Database(error) => of_database(&*error),
            // Of a column: its name or number and the types.
            error => Self::Other(error.to_string()),
        }
    }
}

fn of_database(error: &dyn DatabaseError) -> Failure {
    let Some(code) = error.code() else { return Failure::Other(error.message().to_owned()) };
    let text = format!("{} ({code})", error.message());
    if error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        of_postgres(&code, text)
    } else {
        of_sqlite(&code, text)
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn of_postgres(code: &str, text: String) -> Failure {
    match code {
        // Serialization, deadlock, lock_timeout, statement_timeout (query_canceled), too many connections, out of memory.
        "40001" | "40P01" | "55P03" | "57014" | "53300" | "53200" => Failure::Busy(text),
        // disk_full; a temporary file larger than `temp_file_limit` is "53400".
        "53100" | "53400" => Failure::Full(text),
        // read_only_sql_transaction: a standby, or the old primary after a failover.
        "25006" => Failure::Unavailable(text),
        // idle_in_transaction_session_timeout ended the session: this change stood still for too long.
        "25P03" => Failure::Busy(text),
        // admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped, idle_session_timeout; class 08: connection.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" => Failure::Unavailable(text),
        // `could not extend file … No space left on device` has 53100; an error of the disk itself has this.
        "58030" => Failure::Full(text),
        code if code.starts_with("08") => Failure::Unavailable(text),
        _ => Failure::Other(text),
    }
}

/// Of SQLite's codes the low byte is the kind, the rest says which of it.
fn of_sqlite(code: &str, text: String) -> Failure {
    const BUSY: u32 = 5;
    const FULL: u32 = 13;
    /// A write, or a longer file for what readers and writers share, that the system did not allow.
    const NOT_WRITTEN: [u32; 2] = [778, 4874];
    match code.parse::<u32>() {
        Ok(code) if code & 0xff == BUSY => Failure::Busy(text),
        Ok(code) if code & 0xff == FULL || NOT_WRITTEN.contains(&code) => Failure::Full(text),
        _ => Failure::Other(text),
    }
}

/// A store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database URL is no such, or asks for what is refused.
    #[error("the database URL {0}")]
    Url(String),
    /// The database is reached, and cannot hold this platform until somebody changes something there.
    #[error("the database {0}")]
    Unsuitable(String),
    /// It was written by a newer version of this program.
    #[error("was written by a newer version of mlplatform-server: install that version, or a newer one")]
    Newer,
    /// Nobody has made a platform in it.
    #[error("holds no platform yet: make one with `mlplatform-server init`, or name the right database")]
    Empty,
    /// A command found a database of another version than its own.
    #[error("is of another version: use the mlplatform-server that serves it, or start this one on it once")]
    OtherVersion,
    /// Servers of an older version run on it, and could not go on with this version's form.
    #[error(
        "is served by an older version of mlplatform-server, which cannot work beside this one: stop all its servers, start \
         one of this version, then the others"
    )]
    InUse,
    /// It cannot be brought to this version's form.
    #[error("cannot be brought to this version's form: {0}")]
    Migration(String),
    /// It cannot be reached, read or written.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<sqlx::migrate::MigrateError> for OpenError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError as M;
        match error {
            M::VersionMissing(_) | M::VersionMismatch(_) => Self::Newer,
            M::Execute(error) => Self::Failed(error.into()),
            M::ExecuteMigration(error, version) => match Failure::from(error) {
                Failure::Other(text) => Self::Migration(format!("migration {version} fails: {text}")),
                failure => Self::Failed(failure),
            },
            error => Self::Migration(error.to_string()),
        }
    }
}
