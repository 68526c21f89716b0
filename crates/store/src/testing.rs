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
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

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

/// A new database in a cluster; `options` are those of `CREATE DATABASE`.
///
/// # Panics
/// When it cannot be made.
pub async fn new_database(cluster: &str, options: &'static str) -> String {
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
pub async fn store(postgres: bool, folder: &std::path::Path) -> Store {
    if postgres {
        return Store::init_postgres(&database().await.parse::<DatabaseUrl>().unwrap()).await.unwrap();
    }
    let path = folder.join("platform.db");
    std::fs::File::options().create(true).append(true).open(&path).unwrap();
    Store::open_sqlite(&path).await.unwrap()
}
