//! A PostgreSQL for tests: real, unprivileged, on loopback, gone when the test process is.
//!
//! `MLP_TEST_POSTGRES` names one that is running (`python tests/postgres.py cargo test`: one for the whole run). Without it
//! each test process starts one of its own, by the same script.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking; this is in no shipped program"
)]

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use sqlx::{
    AssertSqlSafe, Connection as _, Either, PgConnection, Row as _, SqliteConnection, TypeInfo as _, ValueRef as _,
    postgres::PgRow,
    sqlite::{SqliteConnectOptions, SqliteRow},
};

use tokio::sync::OnceCell;

use crate::{store::Store, url::DatabaseUrl};

/// A cluster of a test's own, which it may stop, crash and start again.
pub struct Postgres {
    url: String,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    script: Child,
}

impl Postgres {
    /// Starts one; the arguments are those of `tests/postgres.py`.
    ///
    /// # Panics
    /// When PostgreSQL is not installed, with what to install.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        let mut script = Command::new(env::var_os("PYTHON").unwrap_or_else(|| "python3".into()))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/postgres.py"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tests/postgres.py needs python3");
        let input = script.stdin.take();
        let mut output = BufReader::new(script.stdout.take().unwrap());
        let mut url = String::new();
        output.read_line(&mut url).unwrap();
        assert!(url.starts_with("postgres://"), "PostgreSQL did not start: standard error says why");
        Self { url: url.trim().to_owned(), input, output, script }
    }

    /// `stop`, `crash` or `start`; returns when that is done.
    ///
    /// # Panics
    /// When it fails.
    pub fn command(&mut self, command: &str) {
        writeln!(self.input.as_mut().unwrap(), "{command}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n", "{command}");
    }

    /// The URL of a new, empty database in it.
    pub async fn database(&self) -> String {
        new_database(&self.url, "").await
    }

    /// Of the database of its administrator.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.input.take());
        let _ = self.script.wait();
    }
}

/// The URL of the cluster that the tests of this process share.
#[must_use]
pub fn shared() -> &'static str {
    // Never dropped: the system closes the script's input when this process ends, however it does.
    static STARTED: OnceLock<Postgres> = OnceLock::new();
    static NAMED: OnceLock<Option<String>> = OnceLock::new();
    match NAMED.get_or_init(|| env::var("MLP_TEST_POSTGRES").ok()) {
        Some(url) => url,
        None => STARTED.get_or_init(|| Postgres::start(&[])).url(),
    }
}

/// The URL of a new, empty database in the shared cluster.
pub async fn database() -> String {
    new_database(shared(), "").await
}

/// The URL of a new database in the shared cluster that has the tables of a platform, and nothing in them: copied from one that
/// this process has made, which takes a third less time.
///
/// # Panics
/// When it cannot be made.
pub async fn migrated_database() -> String {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let template = TEMPLATE.get_or_init(async || {
        let url = database().await;
        Store::init_postgres(&url.parse().unwrap()).await.unwrap().close().await;
        url.rsplit_once('/').unwrap().1.to_owned()
    });
    new_database(shared(), &format!("TEMPLATE {}", template.await)).await
}

/// A new database in a cluster; `options` are those of `CREATE DATABASE`.
///
/// # Panics
/// When it cannot be made.
pub async fn new_database(cluster: &str, options: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("mlp_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    run(cluster, &format!("CREATE DATABASE {name} {options}")).await;
    with_database(cluster, &name)
}

/// The same cluster's other database.
///
/// # Panics
/// When that is no URL.
#[must_use]
pub fn with_database(url: &str, name: &str) -> String {
    format!("{}/{name}", url.rsplit_once('/').unwrap().0)
}

/// Runs statements on a connection of their own.
///
/// # Panics
/// When they fail.
pub async fn run(url: &str, statements: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A store over a new database of its own: of SQLite in a folder, or of the shared cluster.
///
/// # Panics
/// When it cannot be opened.
pub async fn store(postgres: bool, folder: &Path) -> Store {
    if postgres {
        return Store::init_postgres(&database().await.parse::<DatabaseUrl>().unwrap()).await.unwrap();
    }
    let path = folder.join("platform.db");
    std::fs::File::options().create(true).append(true).open(&path).unwrap();
    Store::open_sqlite(&path).await.unwrap()
}

/// Whether the tests that run on either database run on PostgreSQL: `MLP_TEST_STORE=postgres`.
///
/// # Panics
/// When it names something else.
#[must_use]
pub fn on_postgres() -> bool {
    match env::var("MLP_TEST_STORE").as_deref() {
        Err(_) | Ok("sqlite") => false,
        Ok("postgres") => true,
        Ok(other) => panic!("MLP_TEST_STORE is {other:?}: sqlite or postgres"),
    }
}

/// A database that a test looks into beside the program: SQLite's file, or a URL of PostgreSQL.
#[derive(Clone, Debug)]
pub enum Database {
    /// The file.
    Sqlite(PathBuf),
    /// The URL.
    Postgres(String),
}

impl Database {
    async fn connect(&self) -> Either<SqliteConnection, PgConnection> {
        match self {
            Self::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path);
                Either::Left(SqliteConnection::connect_with(&options).await.unwrap())
            }
            Self::Postgres(url) => Either::Right(PgConnection::connect(url).await.unwrap()),
        }
    }

    /// In a query, the text of a field of the column `detail`, which is JSON.
    #[must_use]
    pub fn detail(&self, field: &str) -> String {
        match self {
            Self::Sqlite(_) => format!("(detail ->> '{field}')"),
            Self::Postgres(_) => format!("(detail::json ->> '{field}')"),
        }
    }

    /// The rows of a query, each as `column|column`. In both databases true is 1, and NULL is empty.
    ///
    /// # Panics
    /// When it fails.
    pub async fn rows(&self, query: &str) -> Vec<String> {
        let query = sqlx::raw_sql(AssertSqlSafe(query.to_owned()));
        match self.connect().await {
            Either::Left(mut connection) => {
                query.fetch_all(&mut connection).await.unwrap().iter().map(of_sqlite).collect()
            }
            Either::Right(mut connection) => {
                query.fetch_all(&mut connection).await.unwrap().iter().map(of_postgres).collect()
            }
        }
    }

    /// Nobody writes, until that is dropped. (A program waits for 10 seconds.)
    ///
    /// # Panics
    /// When somebody else does for longer.
    pub async fn hold_the_writer(&self) -> WriterHeld {
        let mut connection = self.connect().await;
        match &mut connection {
            Either::Left(connection) => {
                sqlx::raw_sql("BEGIN IMMEDIATE").execute(connection).await.unwrap();
            }
            Either::Right(connection) => {
                for statement in [crate::postgres::BEGIN_EXCLUSIVE, LOCK_ALL] {
                    sqlx::raw_sql(statement).execute(&mut *connection).await.unwrap();
                }
            }
        }
        WriterHeld { _connection: connection }
    }
}

/// Changes that leave no row in the audit run beside an exclusive one, until they write.
const LOCK_ALL: &str = "DO $$ BEGIN EXECUTE (SELECT 'LOCK TABLE ' || string_agg(quote_ident(tablename), ', ') || ' IN SHARE MODE' \
                        FROM pg_tables WHERE schemaname = current_schema()); END $$";

/// See [`Database::hold_the_writer`].
pub struct WriterHeld {
    _connection: Either<SqliteConnection, PgConnection>,
}

fn of_sqlite(row: &SqliteRow) -> String {
    let column = |i| row.get_unchecked::<Option<String>, _>(i).unwrap_or_default();
    (0..row.len()).map(column).collect::<Vec<_>>().join("|")
}

fn of_postgres(row: &PgRow) -> String {
    let column = |i| {
        let value = row.try_get_raw(i).unwrap();
        match (value.is_null(), value.type_info().name(), value.as_str().unwrap_or_default()) {
            (true, ..) => String::new(),
            (false, "BOOL", "t") => "1".to_owned(),
            (false, "BOOL", _) => "0".to_owned(),
            (false, _, text) => text.to_owned(),
        }
    };
    (0..row.len()).map(column).collect::<Vec<_>>().join("|")
}
