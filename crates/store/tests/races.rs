//! Two servers on one database, and two connections to one file: what must not happen beside each other does not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use mlplatform_store::{Connection, Mode, Store, either, query, testing};

const DIGEST: [u8; 32] = [7; 32];

/// Two stores over one database.
async fn two(postgres: bool, folder: &std::path::Path) -> [Store; 2] {
    if postgres {
        let url = testing::database().await.parse().unwrap();
        return [Store::init_postgres(&url).await.unwrap(), Store::open_postgres(&url).await.unwrap()];
    }
    [testing::store(false, folder).await, testing::store(false, folder).await]
}

async fn make_tokens(store: &Store) {
    let mut change = store.begin(Mode::Exclusive).await.unwrap();
    query("INSERT INTO tokens (id, name, role, issuer_name, created_at) VALUES ('admin', 'admin', 'ADMIN', 'x', 1)")
        .execute(&mut change)
        .await
        .unwrap();
    query("INSERT INTO token_secrets (digest, token_id, created_at) VALUES ($1, 'admin', 1)")
        .bind(DIGEST)
        .execute(&mut change)
        .await
        .unwrap();
    for n in 0..40_u8 {
        query(
            "INSERT INTO register_tokens (id, digest, client_name, role, issuer_id, issuer_name, created_at, expires_at) \
             VALUES ($1, $2, $1, 'USER', 'admin', 'admin', 1, 9)",
        )
        .bind(format!("registration-{n}"))
        .bind([n; 32])
        .execute(&mut change)
        .await
        .unwrap();
    }
    change.commit().await.unwrap();
}

/// As a redeem does: the row that is guarded, a new token, and the next row of the chain, which rests on the last one.
async fn redeem(store: Store, registration: u8) -> bool {
    let mut change = store.begin(Mode::Exclusive).await.unwrap();
    let name: Option<String> = query(
        "UPDATE register_tokens SET redeemed_at = 2 WHERE digest = $1 AND redeemed_at IS NULL RETURNING client_name",
    )
    .bind([registration; 32])
    .optional_scalar(&mut change)
    .await
    .unwrap();
    let Some(name) = name else { return false };
    let made = query(
        "INSERT INTO tokens (id, name, role, issuer_name, created_at) VALUES ($1, $1, 'USER', 'x', 2) \
         ON CONFLICT (name) WHERE deleted_at IS NULL DO NOTHING",
    )
    .bind(&name)
    .execute(&mut change)
    .await
    .unwrap();
    assert_eq!(made, 1);
    record(&mut change, &name).await;
    change.commit().await.unwrap();
    true
}

async fn record(change: &mut Connection, subject: &str) {
    let last: Option<(i64, Vec<u8>)> =
        query("SELECT seq, mac FROM audit ORDER BY seq DESC LIMIT 1").optional(change).await.unwrap();
    let (seq, mut mac) = last.unwrap_or((0, vec![0; 32]));
    // A chain without a key: each row's number is in the next one's bytes.
    mac.rotate_left(8);
    mac[24..].copy_from_slice(&(seq + 1).to_be_bytes());
    query(
        "INSERT INTO audit (seq, at, action, subject, address, request_id, outcome, detail, mac) \
         VALUES ($1, 2, 'redeem', $2, '', '', 'done', '{}', $3)",
    )
    .bind(seq + 1)
    .bind(subject)
    .bind(mac)
    .execute(change)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_racing_redeems_one_succeeds_and_the_chain_is_whole() {
    for postgres in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let stores = two(postgres, folder.path()).await;
        make_tokens(&stores[0]).await;
        // 200 for the same one, in between 40 for others.
        let races: Vec<_> = (0..240_u8)
            .map(|n| tokio::spawn(redeem(stores[usize::from(n % 2)].clone(), if n % 6 == 0 { n / 6 } else { 0 })))
            .collect();
        let mut successes = 0;
        for race in races {
            successes += usize::from(race.await.unwrap());
        }
        assert_eq!(successes, 40);
        let rows = query("SELECT seq, mac FROM audit ORDER BY seq");
        let rows: Vec<(i64, Vec<u8>)> = rows.all(&mut stores[1].read().await.unwrap()).await.unwrap();
        assert_eq!(rows.len(), 40);
        for (n, (seq, mac)) in rows.iter().enumerate() {
            assert_eq!(*seq, i64::try_from(n).unwrap() + 1);
            assert_eq!(mac[24..], seq.to_be_bytes());
            assert!(*seq == 1 || mac[16..24] == (seq - 1).to_be_bytes());
        }
        for store in stores {
            store.close().await;
        }
    }
}

/// An exchange that has looked at the secret, and a rotation that ends the secret and its sessions: none is left behind.
#[tokio::test]
async fn a_rotation_beside_an_exchange_leaves_no_session_of_the_old_secret() {
    for postgres in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let [store, other] = two(postgres, folder.path()).await;
        make_tokens(&store).await;
        let mut exchange = store.begin(Mode::Concurrent).await.unwrap();
        let living: Option<String> = either(
            "SELECT token_id FROM token_secrets s WHERE digest = $1 AND ends_at IS NULL",
            "SELECT token_id FROM token_secrets s WHERE digest = $1 AND ends_at IS NULL FOR SHARE OF s",
        )
        .bind(DIGEST)
        .optional_scalar(&mut exchange)
        .await
        .unwrap();
        let rotation = tokio::spawn(async move {
            let mut rotation = other.begin(Mode::Exclusive).await.unwrap();
            query("UPDATE token_secrets SET ends_at = 0 WHERE token_id = 'admin'")
                .execute(&mut rotation)
                .await
                .unwrap();
            query("DELETE FROM sessions WHERE token_id = 'admin'").execute(&mut rotation).await.unwrap();
            rotation.commit().await.unwrap();
        });
        // It waits for the exchange: by the row's lock, or by the only writer.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        assert!(!rotation.is_finished(), "it ran beside the exchange");
        query("INSERT INTO sessions (digest, token_id, created_at, expires_at) VALUES ($1, $2, 1, 9)")
            .bind([1; 32])
            .bind(living.unwrap())
            .execute(&mut exchange)
            .await
            .unwrap();
        exchange.commit().await.unwrap();
        rotation.await.unwrap();
        let left =
            query("SELECT count(*) FROM sessions").scalar::<i64>(&mut store.read().await.unwrap()).await.unwrap();
        assert_eq!(left, 0);
        store.close().await;
    }
}

/// Without waiting for each other, and without tripping over each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purges_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let stores = two(true, folder.path()).await;
    make_tokens(&stores[0]).await;
    let mut change = stores[0].begin(Mode::Exclusive).await.unwrap();
    for n in 0..200_u8 {
        query("INSERT INTO sessions (digest, token_id, created_at, expires_at) VALUES ($1, 'admin', 1, 2)")
            .bind([n; 32])
            .execute(&mut change)
            .await
            .unwrap();
    }
    change.commit().await.unwrap();
    let purges: Vec<_> = (0..16)
        .map(|n| {
            let store = stores[n % 2].clone();
            tokio::spawn(async move {
                let mut change = store.begin(Mode::Concurrent).await.unwrap();
                let purged = query(
                    "DELETE FROM sessions WHERE digest IN \
                     (SELECT digest FROM sessions WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
                )
                .bind(5)
                .bind(25)
                .execute(&mut change)
                .await
                .unwrap();
                change.commit().await.unwrap();
                purged
            })
        })
        .collect();
    let mut purged = 0;
    for purge in purges {
        purged += purge.await.unwrap();
    }
    assert_eq!(purged, 200);
}
