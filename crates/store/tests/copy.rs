//! A SQLite store is copied to PostgreSQL: whole, once, or not at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use mlplatform_store::{CopyError, DatabaseUrl, Mode, Store, query, testing};

/// What a name, a manifest or a file may hold, `COPY`'s own words among it.
const TEXTS: [&str; 8] =
    ["", "\\N", "\\.", "tab\there", "two\r\nlines", "Анна \u{1f680}", "\u{8}\u{b}\u{c}\u{1}\u{7f}", "a\\tb\\\\"];
const ROWS: i64 = 3_000;

async fn filled(folder: &Path) -> Store {
    let store = testing::store(false, folder).await;
    let mut change = store.begin(Mode::Exclusive).await.unwrap();
    for number in 1..=ROWS {
        let text = TEXTS.iter().cycle().nth(usize::try_from(number).unwrap()).unwrap();
        query(
            "INSERT INTO tokens (seq, id, name, role, issuer_id, issuer_name, created_at, expires_at) \
               VALUES ($1, $2, $3, 'USER', $4, $5, $6, $7)",
        )
        .bind(number * 3)
        .bind(format!("tok_{number}"))
        .bind(format!("{number} {text}"))
        // The first was made by itself, later ones by those before them.
        .bind(format!("tok_{}", number.max(2) - 1))
        .bind(*text)
        .bind(i64::MIN + number)
        .bind((number % 2 == 0).then_some(i64::MAX - number))
        .execute(&mut change)
        .await
        .unwrap();
        query("INSERT INTO token_secrets (digest, token_id, created_at) VALUES ($1, $2, 1)")
            .bind(number.wrapping_mul(0x5851_f42d_4c95_7f2d).to_be_bytes().repeat(4))
            .bind(format!("tok_{number}"))
            .execute(&mut change)
            .await
            .unwrap();
    }
    let statements = [
        "INSERT INTO clusters (id, name, phase, phase_since, max_cores, max_memory, bucket, registry_id, info, \
         last_active_at, created_at) VALUES ('c', 'c', 'create', 1, 1, 1, 'b', 'r', '{}', 1, 1)",
        "INSERT INTO objects (seq, cluster_id, kind, namespace, name, created_at) VALUES (7, 'c', 'ConfigMap', 'n', 'm', 1)",
        "INSERT INTO object_values (object, position, key, value, is_binary) VALUES (7, 0, 'k', x'', TRUE)",
        "INSERT INTO object_values (object, position, key, value, is_binary) VALUES (7, 1, 'l', x'', FALSE)",
    ];
    for statement in statements {
        query(statement).execute(&mut change).await.unwrap();
    }
    query("UPDATE object_values SET value = $1")
        .bind((0..=255).collect::<Vec<u8>>())
        .execute(&mut change)
        .await
        .unwrap();
    change.commit().await.unwrap();
    store
}

async fn open(url: &DatabaseUrl) -> Store {
    Store::init_postgres(url).await.unwrap()
}

async fn count(store: &Store) -> i64 {
    query("SELECT count(*) FROM tokens").scalar(&mut store.read().await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn everything_arrives_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (from, url) = (filled(folder.path()).await, testing::database().await.parse().unwrap());
    let copied = from.copy_to_postgres(&url).await.unwrap();
    assert!(!copied.was_there);
    let rows = |name: &str| copied.tables.iter().find(|table| table.name == name).unwrap().rows;
    assert_eq!((rows("tokens"), rows("token_secrets"), rows("object_values"), rows("audit")), (3_000, 3_000, 2, 0));
    let to = open(&url).await;
    let names = "SELECT name, issuer_name, created_at, expires_at FROM tokens ORDER BY seq";
    type Row = (String, String, i64, Option<i64>);
    let before: Vec<Row> = query(names).all(&mut from.read().await.unwrap()).await.unwrap();
    let after: Vec<Row> = query(names).all(&mut to.read().await.unwrap()).await.unwrap();
    assert_eq!(before, after);
    let truths: Vec<(bool, Vec<u8>)> = query("SELECT is_binary, value FROM object_values ORDER BY position")
        .all(&mut to.read().await.unwrap())
        .await
        .unwrap();
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(truths, [(true, bytes.clone()), (false, bytes)]);
}

#[tokio::test]
async fn it_can_be_repeated_until_the_copy_was_used() {
    let folder = tempfile::tempdir().unwrap();
    let (from, url) = (filled(folder.path()).await, testing::database().await.parse().unwrap());
    let first = from.copy_to_postgres(&url).await.unwrap();
    let second = from.copy_to_postgres(&url).await.unwrap();
    assert!(second.was_there);
    assert_eq!(first.tables, second.tables);
    let to = open(&url).await;
    let mut change = to.begin(Mode::Exclusive).await.unwrap();
    // The next number follows the last one that was copied.
    let seq: i64 = query("INSERT INTO tokens (id, name, role, issuer_name, created_at) VALUES ('new', 'new', 'USER', '', 1) RETURNING seq")
        .scalar(&mut change)
        .await
        .unwrap();
    assert_eq!(seq, ROWS * 3 + 1);
    change.commit().await.unwrap();
    let error = from.copy_to_postgres(&url).await.unwrap_err();
    assert!(matches!(&error, CopyError::NotEmpty(table) if table == "tokens"), "{error}");
    assert!(error.to_string().contains("Give an empty database"), "{error}");
    assert_eq!(count(&to).await, ROWS + 1);
}

#[tokio::test]
async fn what_postgresql_cannot_hold_is_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (from, url) = (filled(folder.path()).await, testing::database().await.parse().unwrap());
    let mut change = from.begin(Mode::Exclusive).await.unwrap();
    query("UPDATE tokens SET issuer_name = 'a' || char(0) || 'b' WHERE seq = 60").execute(&mut change).await.unwrap();
    change.commit().await.unwrap();
    let error = from.copy_to_postgres(&url).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "row 20 of the table tokens cannot be copied: its column issuer_name holds a NUL character, which PostgreSQL cannot store"
    );
    assert_eq!(count(&open(&url).await).await, 0);
}

#[tokio::test]
async fn one_that_is_cut_off_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (from, text) = (filled(folder.path()).await, testing::database().await);
    let url: DatabaseUrl = text.parse().unwrap();
    let to = open(&url).await;
    // It waits for this one, and is ended while it does.
    let lock = to.begin(Mode::Exclusive).await.unwrap();
    let end_it = async {
        let waiting = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let mut ended = 0;
        while ended == 0 {
            ended = query(waiting).scalar::<i64>(&mut to.read().await.unwrap()).await.unwrap();
        }
    };
    let (copied, ()) = tokio::join!(from.copy_to_postgres(&url), end_it);
    assert!(matches!(copied, Err(CopyError::Failed(_))));
    lock.rollback().await.unwrap();
    assert_eq!(count(&to).await, 0);
    assert!(!from.copy_to_postgres(&url).await.unwrap().was_there);
}
