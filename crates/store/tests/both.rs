//! What holds on both databases alike: each test runs on SQLite and on PostgreSQL.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

// As a crate does that derives rows and has no dependency on sqlx.
extern crate mlplatform_store as sqlx;

use std::{future::Future, time::Duration};

use mlplatform_store::{Builder, Failure, FromRow, Mode, Store, joined, query, testing};
use tokio::time::timeout;

async fn on_both<F: Future<Output = ()>>(test: impl Fn(Store) -> F) {
    for postgres in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let store = testing::store(postgres, folder.path()).await;
        test(store.clone()).await;
        store.close().await;
    }
}

async fn token(store: &Store, id: &str, name: &str) -> i64 {
    let mut change = store.begin(Mode::Exclusive).await.unwrap();
    let seq = query(
        "INSERT INTO tokens (id, name, role, issuer_name, created_at) VALUES ($1, $2, 'USER', 'x', 1) RETURNING seq",
    )
    .bind(id)
    .bind(name)
    .scalar(&mut change)
    .await
    .unwrap();
    change.commit().await.unwrap();
    seq
}

#[derive(FromRow, Debug, PartialEq)]
struct Inner {
    seq: i64,
    name: String,
    expires_at: Option<i64>,
}

#[derive(FromRow, Debug, PartialEq)]
struct Outer {
    #[sqlx(flatten)]
    inner: Inner,
    deleted: bool,
    key: Option<Vec<u8>>,
}

#[tokio::test]
async fn values_and_rows() {
    on_both(|store| async move {
        let seq = token(&store, "tok_1", "Анна").await;
        let mut read = store.read().await.unwrap();
        const SELECT: &str =
            "SELECT seq, name, expires_at, deleted_at IS NOT NULL AS deleted, delete_key AS key FROM tokens";
        let row: Outer = joined(&[SELECT, " WHERE id = $1"]).bind("tok_1").one(&mut read).await.unwrap();
        let inner = Inner { seq, name: "Анна".to_owned(), expires_at: None };
        assert_eq!(row, Outer { inner, deleted: false, key: None });
        let none: Option<Outer> = joined(&[SELECT, " WHERE id = $1"]).bind("tok_2").optional(&mut read).await.unwrap();
        assert_eq!(none, None);
        let missing = query("SELECT seq FROM tokens WHERE id = $1").bind("tok_2").scalar::<i64>(&mut read).await;
        assert!(matches!(missing, Err(Failure::NotFound)), "{missing:?}");
        let values: (i64, bool, String, Vec<u8>, Option<i64>, Option<bool>) = query(
            "SELECT seq, $1 = $2, name, $3, NULLIF(seq, seq), deleted_at IS NULL FROM tokens WHERE $4 IS NULL AND $5 = $6",
        )
        .bind(true)
        .bind(Some(true))
        .bind([0_u8, 255, 7])
        .bind(None::<i64>)
        .bind("ü")
        .bind("ü".to_owned())
        .one(&mut read)
        .await
        .unwrap();
        assert_eq!(values, (seq, true, "Анна".to_owned(), vec![0, 255, 7], None, Some(true)));
        let mut builder = Builder::new("SELECT name FROM tokens WHERE name = ");
        builder.push_bind("Анна").push(" AND seq < ").push_bind(i64::MAX).push(" LIMIT ").push_bind(5_u32);
        assert_eq!(builder.build().scalars::<String>(&mut read).await.unwrap(), ["Анна"]);
        // One placeholder, used twice; the order of NULLs; what is not distinct.
        let twice: i64 = query("SELECT CASE WHEN $1 > 3 THEN $1 ELSE 3 END").bind(7).scalar(&mut read).await.unwrap();
        assert_eq!(twice, 7);
        token(&store, "tok_3", "b").await;
        let mut change = store.begin(Mode::Exclusive).await.unwrap();
        let ended = query("UPDATE tokens SET expires_at = $1 WHERE expires_at IS NOT DISTINCT FROM $2 AND id = 'tok_3'")
            .bind(9)
            .bind(None::<i64>)
            .execute(&mut change)
            .await
            .unwrap();
        assert_eq!(ended, 1);
        let order = query("SELECT expires_at FROM tokens ORDER BY expires_at NULLS FIRST");
        assert_eq!(order.scalars::<Option<i64>>(&mut change).await.unwrap(), [None, Some(9)]);
        // The bytes decide on order: by a language's rules, `Z` would stand behind `a`.
        let order = query("SELECT v FROM (SELECT name AS v FROM tokens UNION SELECT 'Z' UNION SELECT 'a') x ORDER BY v");
        assert_eq!(order.scalars::<String>(&mut change).await.unwrap(), ["Z", "a", "b", "Анна"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_committed_has_not_happened() {
    on_both(|store| async move {
        for commits in [false, true] {
            let mut change = store.begin(Mode::Exclusive).await.unwrap();
            query("INSERT INTO keys (label, mac) VALUES ('a', $1)").bind([1; 32]).execute(&mut change).await.unwrap();
            change.savepoint().await.unwrap();
            query("INSERT INTO keys (label, mac) VALUES ('b', $1)").bind([2; 32]).execute(&mut change).await.unwrap();
            change.rollback_to_savepoint().await.unwrap();
            change.savepoint().await.unwrap();
            query("INSERT INTO keys (label, mac) VALUES ('c', $1)").bind([3; 32]).execute(&mut change).await.unwrap();
            if commits {
                change.commit().await.unwrap();
            } else {
                drop(change);
            }
            let labels = query("SELECT label FROM keys ORDER BY label");
            let labels: Vec<String> = labels.scalars(&mut store.read().await.unwrap()).await.unwrap();
            assert_eq!(labels, if commits { vec!["a", "c"] } else { vec![] });
        }
    })
    .await;
}

/// PostgreSQL answers COMMIT without an error then, and has undone everything.
#[tokio::test]
async fn a_transaction_with_a_failed_statement_is_not_committed() {
    on_both(|store| async move {
        let mut change = store.begin(Mode::Exclusive).await.unwrap();
        let insert = || query("INSERT INTO keys (label, mac) VALUES ('a', $1)").bind([1; 32]);
        insert().execute(&mut change).await.unwrap();
        assert!(matches!(insert().execute(&mut change).await, Err(Failure::Other(_))));
        assert!(matches!(change.commit().await, Err(Failure::Other(_))));
        let count = query("SELECT count(*) FROM keys");
        assert_eq!(count.scalar::<i64>(&mut store.read().await.unwrap()).await.unwrap(), 0);
        // Behind a savepoint it goes on.
        let mut change = store.begin(Mode::Exclusive).await.unwrap();
        insert().execute(&mut change).await.unwrap();
        change.savepoint().await.unwrap();
        assert!(insert().execute(&mut change).await.is_err());
        change.rollback_to_savepoint().await.unwrap();
        change.commit().await.unwrap();
        let count = query("SELECT count(*) FROM keys");
        assert_eq!(count.scalar::<i64>(&mut store.read().await.unwrap()).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_nul_character_is_refused_and_harms_no_transaction() {
    on_both(|store| async move {
        let mut change = store.begin(Mode::Exclusive).await.unwrap();
        let refused = query("SELECT $1 = 'x'").bind("a\0b").scalar::<bool>(&mut change).await;
        assert!(matches!(refused, Err(Failure::Nul)), "{refused:?}");
        query("INSERT INTO keys (label, mac) VALUES ('a', $1)").bind([0; 32]).execute(&mut change).await.unwrap();
        change.commit().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_the_tables_promise() {
    on_both(|store| async move {
        token(&store, "tok_1", "anna").await;
        let refused = async |statement: &'static str, says: &str| {
            let mut change = store.begin(Mode::Exclusive).await.unwrap();
            let error = query(statement).bind([7; 32]).execute(&mut change).await.unwrap_err().to_string();
            assert!(error.to_lowercase().contains(says), "{statement}: {error}");
        };
        refused(
            "INSERT INTO sessions (digest, token_id, created_at, expires_at) VALUES ($1, 'nobody', 1, 2)",
            "foreign key",
        )
        .await;
        refused("INSERT INTO keys (label, mac) SELECT 'a', $1 UNION ALL SELECT 'a', $1", "unique").await;
        refused("UPDATE tokens SET deleted_at = 1 WHERE $1 IS NOT NULL", "check").await;
        refused("UPDATE tokens SET role = 'x' WHERE $1 IS NOT NULL", "check").await;
        let mut change = store.begin(Mode::Exclusive).await.unwrap();
        query(
            "INSERT INTO audit (seq, at, action, address, request_id, outcome, detail, mac) \
             VALUES (1, 1, 'a', '', '', 'ok', '{}', $1)",
        )
        .bind([1; 32])
        .execute(&mut change)
        .await
        .unwrap();
        change.commit().await.unwrap();
        refused("UPDATE audit SET action = 'b' WHERE $1 IS NOT NULL", "append-only").await;
        refused("DELETE FROM audit WHERE $1 IS NOT NULL", "append-only").await;
        // The name is free again once its token is deleted; a second living one has none, and that is no failure.
        let second = || {
            query(
                "INSERT INTO tokens (id, name, role, issuer_name, created_at) VALUES ('tok_2', 'anna', 'USER', 'x', 1) \
                 ON CONFLICT (name) WHERE deleted_at IS NULL DO NOTHING",
            )
        };
        let mut change = store.begin(Mode::Exclusive).await.unwrap();
        assert_eq!(second().execute(&mut change).await.unwrap(), 0);
        query("UPDATE tokens SET deleted_at = 1, delete_reason = 'deleted'").execute(&mut change).await.unwrap();
        assert_eq!(second().execute(&mut change).await.unwrap(), 1);
        change.commit().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn exclusive_changes_do_not_run_beside_each_other() {
    on_both(|store| async move {
        let first = store.begin(Mode::Exclusive).await.unwrap();
        let mut second = std::pin::pin!(store.begin(Mode::Exclusive));
        assert!(timeout(Duration::from_millis(300), &mut second).await.is_err(), "it did not wait");
        // Readers do not wait.
        assert!(store.is_fresh().await.unwrap());
        first.commit().await.unwrap();
        timeout(Duration::from_secs(5), second).await.unwrap().unwrap().commit().await.unwrap();
    })
    .await;
}

/// Who has gone away while he waited for the lock does not hold it for ever after.
#[tokio::test]
async fn a_cancelled_wait_leaves_nothing_behind() {
    on_both(|store| async move {
        for _ in 0..20 {
            let first =
                timeout(Duration::from_secs(8), store.begin(Mode::Exclusive)).await.expect("it is free").unwrap();
            for _ in 0..6 {
                assert!(timeout(Duration::from_millis(5), store.begin(Mode::Exclusive)).await.is_err());
            }
            drop(first);
        }
        let mut change = timeout(Duration::from_secs(5), store.begin(Mode::Exclusive)).await.unwrap().unwrap();
        query("INSERT INTO keys (label, mac) VALUES ('a', $1)").bind([0; 32]).execute(&mut change).await.unwrap();
        change.commit().await.unwrap();
        let count = query("SELECT count(*) FROM keys").scalar::<i64>(&mut store.read().await.unwrap()).await.unwrap();
        assert_eq!(count, 1);
    })
    .await;
}

#[tokio::test]
async fn commits_are_heard_of() {
    on_both(|store| async move {
        let mut jobs = store.subscribe("jobs");
        // Each second in any case.
        timeout(Duration::from_secs(2), jobs.changed()).await.unwrap();
        let waits = tokio::spawn(async move {
            let began = std::time::Instant::now();
            jobs.changed().await;
            began.elapsed()
        });
        let mut change = store.begin(Mode::Exclusive).await.unwrap();
        change.notify("jobs").await.unwrap();
        change.notify("jobs").await.unwrap();
        change.commit().await.unwrap();
        assert!(waits.await.unwrap() < Duration::from_millis(500));
        // Not of what was undone, and not of another topic.
        let mut change = store.begin(Mode::Exclusive).await.unwrap();
        let mut other = store.subscribe("other");
        change.notify("other").await.unwrap();
        change.rollback().await.unwrap();
        let began = std::time::Instant::now();
        other.changed().await;
        assert!(began.elapsed() > Duration::from_millis(900));
        assert!(store.read().await.unwrap().notify("jobs").await.is_err(), "a reader commits nothing");
    })
    .await;
}

#[tokio::test]
async fn a_reader_cannot_write() {
    on_both(|store| async move {
        let insert = query("INSERT INTO keys (label, mac) VALUES ('a', $1)").bind([0; 32]);
        let error = insert.execute(&mut store.read().await.unwrap()).await.unwrap_err().to_string();
        assert!(error.replace('-', "").contains("readonly"), "{error}");
    })
    .await;
}
