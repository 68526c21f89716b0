//! A database that an older version has made opens, with everything in it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeMap, fs, path::Path};

use mlplatform_store::{Mode, OpenError, Store, query, testing};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection, migrate::Migrator};

#[tokio::test]
async fn a_database_of_the_server_s_present_version_opens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("platform.db");
    fs::write(&path, "").unwrap();
    let all = Migrator::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite")).await.unwrap();
    let before: Vec<_> = all.iter().take_while(|migration| migration.version < 14).cloned().collect();
    assert_eq!(before.len(), 13);
    let mut connection = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    Migrator { migrations: before.into(), ..Migrator::DEFAULT }.run(&mut connection).await.unwrap();
    let digest = "x'0000000000000000000000000000000000000000000000000000000000000000'";
    let statements = format!(
        "INSERT INTO tokens (seq, id, name, role, issuer_name, created_at) VALUES (3, 'tok_1', 'Анна', 'USER', 'x', 1); \
         INSERT INTO clusters (id, name, phase, phase_since, max_cores, max_memory, bucket, registry_id, info, \
         last_active_at, created_at) VALUES ('c', 'c', 'create', 1, 1, 1, 'b', 'r', '{{}}', 1, 1); \
         INSERT INTO jobs (id, cluster_id, name, manifest, millicores, memory_mib, created_at, created_by, submit_digest, \
         state, alive) VALUES ('j', 'c', 'j', '{{}}', 1, 1, 1, 'tok_1', {digest}, 'RUNNING', 1)"
    );
    connection.execute(AssertSqlSafe(statements)).await.unwrap();
    connection.close().await.unwrap();
    assert!(matches!(Store::open_sqlite_as_it_is(&path).await, Err(OpenError::OtherVersion)));

    let store = Store::open_sqlite(&path).await.unwrap();
    let mut change = store.begin(Mode::Exclusive).await.unwrap();
    let row: (String, bool) =
        query("SELECT t.name, j.alive FROM jobs j JOIN tokens t ON t.id = j.created_by WHERE j.alive = TRUE")
            .one(&mut change)
            .await
            .unwrap();
    assert_eq!(row, ("Анна".to_owned(), true));
    assert_eq!(query("PRAGMA integrity_check").scalar::<String>(&mut change).await.unwrap(), "ok");
    change.commit().await.unwrap();
    store.close().await;
    Store::open_sqlite_as_it_is(&path).await.unwrap().close().await;
}

/// A column, whether it may be NULL, and its type in common words.
type Columns = BTreeMap<(String, String), (bool, String)>;

#[tokio::test]
async fn both_databases_have_the_same_tables() {
    let folder = tempfile::tempdir().unwrap();
    testing::store(false, folder.path()).await.close().await;
    let path = folder.path().join("platform.db");
    let mut connection = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    let columns = "SELECT m.name, c.name, c.\"notnull\" = 1 OR c.pk > 0, c.type FROM sqlite_schema m \
                   JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.sql NOT LIKE '%VIRTUAL%' \
                   AND m.name NOT LIKE '%token_names_%' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND m.name <> 'sqlite_sequence'";
    let rows: Vec<(String, String, bool, String)> = sqlx::query_as(columns).fetch_all(&mut connection).await.unwrap();
    // What SQLite's integers mean in these is a truth.
    let is_truth = |table: &str, column: &str| {
        matches!((table, column), ("jobs", "alive") | ("object_values", "is_binary") | ("connect_servers", "outdated"))
    };
    let sqlite: Columns = rows
        .into_iter()
        .map(|(table, column, required, kind)| {
            let kind = if is_truth(&table, &column) { "BOOLEAN".to_owned() } else { kind };
            ((table, column), (required, kind))
        })
        .collect();

    let url = testing::database().await;
    Store::init_postgres(&url.parse().unwrap()).await.unwrap().close().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let columns = "SELECT table_name::text, column_name::text, is_nullable = 'NO', data_type::text \
                   FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations'";
    let rows: Vec<(String, String, bool, String)> = sqlx::query_as(columns).fetch_all(&mut connection).await.unwrap();
    let postgres: Columns = rows
        .into_iter()
        .map(|(table, column, required, kind)| {
            let kind = match kind.as_str() {
                "bigint" => "INTEGER",
                "text" => "TEXT",
                "bytea" => "BLOB",
                "boolean" => "BOOLEAN",
                other => panic!("{table}.{column} is of type {other}"),
            };
            ((table, column), (required, kind.to_owned()))
        })
        .collect();
    assert!(sqlite.len() > 100, "{}", sqlite.len());
    for (column, form) in &sqlite {
        assert_eq!(postgres.get(column), Some(form), "{column:?}");
    }
    assert_eq!(postgres.len(), sqlite.len());

    // Indexes by name; for the search each has its own.
    let names = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name";
    let mut lite = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    let of_sqlite: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut lite).await.unwrap();
    let names = "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%_pkey' \
                 AND indexname NOT LIKE '%_key1' AND indexname NOT LIKE '%_name_parts' AND indexname NOT LIKE '%_short_parts' \
                 AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conname = indexname) ORDER BY indexname COLLATE \"C\"";
    let of_postgres: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut connection).await.unwrap();
    assert_eq!(of_postgres, of_sqlite);
    // All texts compare by their bytes.
    let others = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'text' \
                  AND collation_name IS DISTINCT FROM 'C' AND table_name <> '_sqlx_migrations'";
    assert_eq!(sqlx::query_scalar::<_, i64>(others).fetch_one(&mut connection).await.unwrap(), 0);
}
