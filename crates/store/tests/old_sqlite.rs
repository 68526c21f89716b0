//! A store of an older version is brought to today's form with everything in it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use mlplatform_store::{Store, testing::Database};
use sqlx::{AssertSqlSafe, SqlitePool, migrate::Migrator, sqlite::SqliteConnectOptions};

/// A digest, as SQL writes it.
const DIGEST: &str = "x'5A89BF0DBB66F59F4F07EEF84F8B8EE5D2F2C5C9C8BA5C3F2C25C0EF44C56D26'";

#[tokio::test]
async fn tokens_that_had_one_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("platform.sqlite3");
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let all = Migrator::new(std::path::Path::new("migrations/sqlite")).await.unwrap();
    let first = Migrator { migrations: all.iter().take(1).cloned().collect::<Vec<_>>().into(), ..Migrator::DEFAULT };
    first.run(&pool).await.unwrap();
    let key = "x'0000000000000000000000000000000000000000000000000000000000000000'";
    let statements = format!(
        "INSERT INTO tokens (seq, id, digest, name, role, issuer_name, created_at, first_used_at) \
         VALUES (3, 'tok_1', {DIGEST}, 'admin', 'ADMIN', 'mlplatform-server', 1, 2); \
         INSERT INTO register_tokens (seq, id, digest, client_name, role, issuer_id, issuer_name, created_at, expires_at, \
         redeemed_at, redeem_key, redeem_attempt, replay_count, last_replay_at) \
         VALUES (7, 'tok_2', {DIGEST}, 'anna', 'USER', 'tok_1', 'admin', 1, 9, 3, {key}, 4, 5, 6); \
         INSERT INTO tokens (seq, id, digest, name, role, issuer_id, issuer_name, register_token_id, created_at, \
         deleted_at, deleted_by, delete_reason, delete_key) \
         VALUES (5, 'tok_3', {key}, 'anna', 'USER', 'tok_1', 'admin', 'tok_2', 3, 8, 'tok_1', 'deleted', {key})"
    );
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&pool).await.unwrap();
    pool.close().await;

    Store::open_sqlite(&file).await.unwrap().close().await;
    let database = Database::Sqlite(file);
    assert_eq!(database.rows("PRAGMA foreign_key_check").await, Vec::<String>::new());
    assert_eq!(database.rows("PRAGMA integrity_check").await, ["ok"]);
    let secrets =
        "SELECT token_id, hex(digest), created_at, first_used_at, ends_at FROM token_secrets ORDER BY token_id";
    assert_eq!(
        database.rows(secrets).await,
        [format!("tok_1|{}|1|2|", &DIGEST[2..66]), format!("tok_3|{}|3||", &key[2..66])]
    );
    let tokens = "SELECT seq, id, name, issuer_id, register_token_id, delete_reason FROM tokens ORDER BY seq";
    assert_eq!(database.rows(tokens).await, ["3|tok_1|admin|||", "5|tok_3|anna|tok_1|tok_2|deleted"]);
    let register_tokens = "SELECT seq, id, redeemed_at, redeem_attempt, replay_count FROM register_tokens";
    assert_eq!(database.rows(register_tokens).await, ["7|tok_2|3|4|5"]);
    let schema = "SELECT count(*) FROM sqlite_schema WHERE instr(sql, 'new_')";
    assert_eq!(database.rows(schema).await, ["0"], "no reference to a table's name of meanwhile");
}

#[tokio::test]
async fn objects_that_all_had_a_maker() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("platform.sqlite3");
    let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let all = Migrator::new(std::path::Path::new("migrations/sqlite")).await.unwrap();
    let old = Migrator { migrations: all.iter().take(11).cloned().collect::<Vec<_>>().into(), ..Migrator::DEFAULT };
    old.run(&pool).await.unwrap();
    let statements = "INSERT INTO tokens (seq, id, name, role, issuer_name, created_at) \
         VALUES (1, 'tok_1', 'admin', 'ADMIN', 'mlplatform-server', 1); \
         INSERT INTO clusters (seq, id, name, phase, phase_since, max_cores, max_memory, bucket, registry_id, info, \
         last_active_at, created_at) VALUES (1, 'c', 'local', 'start', 1, 8, 8, 'b', 'r', '{}', 1, 1); \
         INSERT INTO objects (seq, cluster_id, kind, namespace, name, type, created_at, created_by) \
         VALUES (4, 'c', 'Secret', 'default', 's3', 'Opaque', 5, 'tok_1'); \
         INSERT INTO object_values (object, position, key, value, is_binary) VALUES (4, 0, 'k', x'00FF', 0)";
    sqlx::raw_sql(statements).execute(&pool).await.unwrap();
    pool.close().await;

    Store::open_sqlite(&file).await.unwrap().close().await;
    let database = Database::Sqlite(file);
    assert_eq!(database.rows("PRAGMA foreign_key_check").await, Vec::<String>::new());
    assert_eq!(database.rows("PRAGMA integrity_check").await, ["ok"]);
    let kept = "SELECT o.seq, o.name, o.type, o.created_by, v.key, hex(v.value) FROM objects o \
                JOIN object_values v ON v.object = o.seq";
    assert_eq!(database.rows(kept).await, ["4|s3|Opaque|tok_1|k|00FF"]);
    let indices =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'objects' AND sql IS NOT NULL";
    assert_eq!(database.rows(indices).await, ["3"]);
    let schema = "SELECT count(*) FROM sqlite_schema WHERE instr(sql, 'objects_new')";
    assert_eq!(database.rows(schema).await, ["0"], "no reference to a table's name of meanwhile");
}
