//! Every statement of the platform, prepared on both databases: its names and its types are right on either.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{fs, path::Path};

use mlplatform_store::testing;
use sqlx::{
    AssertSqlSafe, Connection as _, Either, Executor as _, PgConnection, SqlSafeStr as _, SqliteConnection,
    Statement as _, TypeInfo as _,
    postgres::{PgTypeInfo, types::Oid},
};

/// What a value of ours can be, and so what a column may be: nothing else is decoded, no integer of 32 bits either.
const TYPES: [&str; 4] = ["INT8", "TEXT", "BYTEA", "BOOL"];

struct Statement {
    place: String,
    /// Where PostgreSQL does not find out by itself; a server says them with every statement.
    types: Vec<PgTypeInfo>,
    sqlite: String,
    postgres: String,
}

/// The statements of a file stand apart by blank lines. Two texts stand under `-- sqlite` and `-- postgres`; `-- types:` names
/// those of the placeholders.
fn statements(path: &Path) -> Vec<Statement> {
    let file = path.file_name().unwrap().to_str().unwrap();
    let text = fs::read_to_string(path).unwrap();
    let statement = |(number, block): (usize, &str)| {
        let place = format!("{file}, statement {number}");
        let (mut types, mut sqlite, mut postgres) = (Vec::new(), String::new(), String::new());
        let (mut for_sqlite, mut for_postgres) = (true, true);
        for line in block.lines() {
            if let Some(names) = line.strip_prefix("-- types: ") {
                let type_of = |name: &str| match name {
                    "text" => PgTypeInfo::with_oid(Oid(25)),
                    "bigint" => PgTypeInfo::with_oid(Oid(20)),
                    name => panic!("{place}: no type {name}"),
                };
                types = names.split(' ').map(type_of).collect();
            } else if line.starts_with("--") {
                (for_sqlite, for_postgres) = (line == "-- sqlite", line == "-- postgres");
                assert!(for_sqlite || for_postgres, "{place}: {line}");
            } else {
                for text in [&mut sqlite]
                    .into_iter()
                    .filter(|_| for_sqlite)
                    .chain([&mut postgres].into_iter().filter(|_| for_postgres))
                {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        assert!(sqlite.ends_with(";\n") && postgres.ends_with(";\n"), "{place}: it has no end");
        Statement { place, types, sqlite, postgres }
    };
    // The first block is the file's heading.
    text.split("\n\n").enumerate().skip(1).map(statement).collect()
}

fn all() -> Vec<Statement> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/statements");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let all: Vec<_> = files.iter().flat_map(|path| statements(path)).collect();
    assert!(all.len() >= 150, "{} statements", all.len());
    all
}

#[tokio::test]
async fn sqlite_prepares_every_statement() {
    let folder = tempfile::tempdir().unwrap();
    testing::store(false, folder.path()).await.close().await;
    let path = folder.path().join("platform.db");
    let mut connection = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    let mut failures = Vec::new();
    for Statement { place, sqlite, .. } in all() {
        if let Err(error) = (&mut connection).prepare(AssertSqlSafe(sqlite.clone()).into_sql_str()).await {
            failures.push(format!("{place}: {error}\n{sqlite}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test]
async fn postgresql_prepares_every_statement_with_types_of_ours() {
    let url = testing::database().await;
    mlplatform_store::Store::init_postgres(&url.parse().unwrap()).await.unwrap().close().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let mut failures = Vec::new();
    for Statement { place, types, postgres, .. } in all() {
        let sql = AssertSqlSafe(postgres.clone()).into_sql_str();
        match (&mut connection).prepare_with(sql, &types).await {
            Err(error) => failures.push(format!("{place}: {error}\n{postgres}")),
            Ok(statement) => {
                let Some(Either::Left(values)) = statement.parameters() else { panic!("{place}: no types") };
                let columns = statement.columns().iter().map(sqlx::Column::type_info);
                for of in values.iter().chain(columns).map(|of| of.name().to_owned()) {
                    if !TYPES.contains(&of.as_str()) {
                        failures.push(format!("{place}: a value or a column of type {of}\n{postgres}"));
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// SQLite uses a partial index for conditions that are written as its own, and for no others.
#[tokio::test]
async fn open_jobs_are_found_without_looking_at_all() {
    let folder = tempfile::tempdir().unwrap();
    testing::store(false, folder.path()).await.close().await;
    let path = folder.path().join("platform.db");
    let mut connection = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    let is_open = |statement: &Statement| statement.sqlite.replace('\n', " ").contains("(alive = TRUE OR (deleted_at");
    let open: Vec<_> = all().into_iter().filter(is_open).collect();
    assert!(open.len() >= 4, "{}", open.len());
    let (mut with_index, mut of_all) = (0, 0);
    for Statement { sqlite, .. } in open {
        let explained = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sqlite}"));
        let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(explained).fetch_all(&mut connection).await.unwrap();
        with_index += usize::from(plan.iter().any(|step| step.3.contains("jobs_open")));
        of_all += 1;
    }
    assert!(with_index >= 2, "{with_index} of {of_all}");
}
