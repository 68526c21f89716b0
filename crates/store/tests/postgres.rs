//! What only PostgreSQL has: what it refuses to be used with, several servers, and what happens when one of them, or the
//! database, dies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::{Duration, Instant};

use mlplatform_store::{
    DatabaseUrl, Failure, Mode, OpenError, Store, query,
    testing::{self, Postgres, new_database, shared},
};
use tokio::time::timeout;

async fn open(url: &str) -> Result<Store, OpenError> {
    Store::init_postgres(&url.parse::<DatabaseUrl>().unwrap()).await
}

async fn refusal(url: &str) -> String {
    let error = open(url).await.unwrap_err();
    // Neither form shows the password.
    let password = url.split(['@', ':']).nth(2).unwrap();
    assert!(!format!("{error} {error:?}").contains(password), "{error:?}");
    error.to_string()
}

/// The URL with another user and password.
fn as_user(url: &str, user: &str) -> String {
    format!("postgres://{user}:geheim@{}", url.split_once('@').unwrap().1)
}

/// A user who may do nothing yet.
async fn user(name: &str) -> String {
    let name = format!("{name}_{}", std::process::id());
    testing::run(shared(), &format!("CREATE ROLE {name} LOGIN PASSWORD 'geheim'")).await;
    name
}

async fn count(store: &Store, statement: &'static str) -> i64 {
    query(statement).scalar(&mut store.read().await.unwrap()).await.unwrap()
}

async fn key(store: &Store, label: &str) -> Result<(), Failure> {
    let mut change = store.begin(Mode::Exclusive).await?;
    query("INSERT INTO keys (label, mac) VALUES ($1, $2)").bind(label).bind([0; 32]).execute(&mut change).await?;
    change.commit().await
}

#[tokio::test]
async fn a_locale_that_does_not_fold_is_refused() {
    let url = new_database(shared(), "LOCALE 'C' TEMPLATE template0").await;
    let text = refusal(&url).await;
    assert!(text.contains("locale C,") && text.contains("LOCALE 'C.UTF-8'"), "{text}");
}

#[tokio::test]
async fn an_encoding_that_cannot_hold_every_name_is_refused() {
    let url = new_database(shared(), "ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0").await;
    let text = refusal(&url).await;
    assert!(text.contains("SQL_ASCII") && text.contains("ENCODING 'UTF8'"), "{text}");
}

#[tokio::test]
async fn commits_that_are_not_flushed_are_refused() {
    let url = testing::database().await;
    let name = url.rsplit_once('/').unwrap().1;
    testing::run(&url, &format!("ALTER DATABASE {name} SET synchronous_commit = off")).await;
    let text = refusal(&url).await;
    assert!(text.contains("synchronous_commit = on"), "{text}");
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let user = user("nobodys").await;
    let url = as_user(&testing::database().await, &user);
    // Since 15, who does not own a database creates nothing in its schema `public`.
    let text = refusal(&url).await;
    assert!(text.contains(&user) && text.contains("OWNER TO"), "{text}");
}

#[tokio::test]
async fn a_missing_extension_is_made_or_named() {
    let user = user("writer").await;
    let admin = testing::database().await;
    let name = admin.rsplit_once('/').unwrap().1;
    testing::run(&admin, &format!("GRANT CREATE, USAGE ON SCHEMA public TO {user}")).await;
    let text = refusal(&as_user(&admin, &user)).await;
    assert!(text.contains("CREATE EXTENSION pg_trgm"), "{text}");
    // Who owns the database makes it himself.
    testing::run(&admin, &format!("ALTER DATABASE {name} OWNER TO {user}")).await;
    let store = open(&as_user(&admin, &user)).await.unwrap();
    assert!(store.is_fresh().await.unwrap());
    store.close().await;
}

#[tokio::test]
async fn an_incompatible_schema_is_refused() {
    let url = testing::database().await;
    let parsed = url.parse::<DatabaseUrl>().unwrap();
    let error = Store::open_postgres_as_it_is(&parsed).await.unwrap_err();
    assert!(matches!(error, OpenError::Empty), "{error:?}");
    open(&url).await.unwrap().close().await;
    Store::open_postgres_as_it_is(&parsed).await.unwrap().close().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'incompatible later', TRUE, '', 0)";
    testing::run(&url, newer).await;
    assert!(matches!(open(&url).await, Err(OpenError::Newer)));
    assert!(matches!(Store::open_postgres_as_it_is(&parsed).await, Err(OpenError::OtherVersion)));
}

#[tokio::test]
async fn servers_that_start_beside_each_other_make_one_schema() {
    let url = testing::database().await;
    let starts = (0..4).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { open(&url).await.unwrap() })
    });
    for start in starts.collect::<Vec<_>>() {
        let store = start.await.unwrap();
        assert_eq!(count(&store, "SELECT count(*) FROM tokens").await, 0);
        store.close().await;
    }
}

#[tokio::test]
async fn who_is_not_there_or_not_let_in() {
    let nobody = refusal("postgres://anna:geheim@127.0.0.1:1/x").await;
    assert!(nobody.contains("cannot be reached"), "{nobody}");
    let stranger = refusal(&as_user(shared(), "nobody_of_that_name")).await;
    assert!(stranger.contains("28P01"), "{stranger}");
}

/// One connection of each kind that was left in each way, and then all of them used again.
#[tokio::test]
async fn a_connection_comes_back_to_the_pool_as_it_was() {
    let url = testing::database().await;
    let store = open(&url).await.unwrap();
    let mut cancelled = 0;
    for round in 0..30 {
        // Cancelled in the middle of a statement, within a transaction and without one.
        let mut read = store.read().await.unwrap();
        let slow = async {
            query("SELECT 1 FROM (SELECT pg_sleep(0.05)) x").execute(&mut read).await.unwrap();
        };
        cancelled += usize::from(timeout(Duration::from_millis(5), slow).await.is_err());
        drop(read);
        let mut change = store.begin(Mode::Concurrent).await.unwrap();
        let slow = async {
            query("SELECT 1 FROM (SELECT pg_sleep(0.05)) x").execute(&mut change).await.unwrap();
        };
        cancelled += usize::from(timeout(Duration::from_millis(5), slow).await.is_err());
        drop(change);
        // Failed, and left.
        let mut change = store.begin(Mode::Exclusive).await.unwrap();
        assert!(query("SELECT 1 / (SELECT 0)").execute(&mut change).await.is_err());
        drop(change);
        key(&store, &format!("key-{round}")).await.unwrap();
    }
    assert!(cancelled > 0, "on a busy machine some are done before they are cancelled, but not all");
    assert_eq!(count(&store, "SELECT count(*) FROM keys").await, 30);
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    let deadline = Instant::now() + Duration::from_secs(3);
    while count(&store, open).await > 0 {
        assert!(Instant::now() < deadline, "a transaction was left open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    store.close().await;
}

#[tokio::test]
async fn a_transaction_that_stands_still_is_ended_and_others_go_on() {
    let url = testing::database().await;
    let (store, other) = (open(&url).await.unwrap(), open(&url).await.unwrap());
    let mut change = store.begin(Mode::Exclusive).await.unwrap();
    query("INSERT INTO keys (label, mac) VALUES ('of the one that stands still', $1)")
        .bind([0; 32])
        .execute(&mut change)
        .await
        .unwrap();
    let began = Instant::now();
    key(&other, "of the other").await.unwrap();
    let waited = began.elapsed();
    assert!(waited > Duration::from_secs(2) && waited < Duration::from_secs(7), "{waited:?}");
    let late = change.commit().await.unwrap_err();
    assert!(matches!(late, Failure::Unavailable(_) | Failure::Busy(_)), "{late:?}");
    assert_eq!(count(&other, "SELECT count(*) FROM keys").await, 1);
    assert_eq!(count(&store, "SELECT count(*) FROM keys").await, 1);
}

#[tokio::test]
async fn who_waits_too_long_is_told_to_come_again() {
    let url = testing::database().await;
    let (store, other) = (open(&url).await.unwrap(), open(&url).await.unwrap());
    let mut change = store.begin(Mode::Exclusive).await.unwrap();
    let keeps_busy = tokio::spawn(async move {
        for _ in 0..8 {
            query("SELECT 1 FROM (SELECT pg_sleep(2)) x").execute(&mut change).await.unwrap();
        }
        change
    });
    let began = Instant::now();
    let error = other.begin(Mode::Exclusive).await.err().unwrap();
    assert!(matches!(&error, Failure::Busy(text) if text.contains("55P03")), "{error:?}");
    assert!(
        began.elapsed() > Duration::from_secs(9) && began.elapsed() < Duration::from_secs(12),
        "{:?}",
        began.elapsed()
    );
    // Concurrent ones and readers were not in the queue.
    other.begin(Mode::Concurrent).await.unwrap().commit().await.unwrap();
    assert!(other.is_fresh().await.unwrap());
    keeps_busy.await.unwrap().commit().await.unwrap();
    key(&other, "a").await.unwrap();
}

#[tokio::test]
async fn commits_of_another_server_are_heard_of() {
    let url = testing::database().await;
    let (store, other) = (open(&url).await.unwrap(), open(&url).await.unwrap());
    // Until it listens, and when the commit itself takes that long, the look of each second comes first. Once is not enough: it
    // also wakes everybody when it begins to listen.
    let mut in_time = 0;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        // A new one has not to hear of what came before.
        let mut jobs = other.subscribe("jobs");
        let heard = async {
            let began = Instant::now();
            jobs.changed().await;
            began.elapsed()
        };
        let tells = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let mut change = store.begin(Mode::Concurrent).await.unwrap();
            change.notify("jobs").await.unwrap();
            change.commit().await.unwrap();
        };
        let (waited, ()) = tokio::join!(heard, tells);
        if waited > Duration::from_millis(45) && waited < Duration::from_millis(900) {
            in_time += 1;
        }
        if in_time == 3 {
            break;
        }
        assert!(Instant::now() < deadline, "it was heard of by looking only");
    }
}

#[tokio::test]
async fn a_database_that_restarts_is_used_again() {
    let mut postgres = Postgres::start(&[]);
    let url = postgres.database().await;
    let store = open(&url).await.unwrap();
    for (round, how) in ["stop", "crash"].into_iter().enumerate() {
        let acknowledged = format!("before-{round}");
        key(&store, &acknowledged).await.unwrap();
        let mut open_change = store.begin(Mode::Exclusive).await.unwrap();
        query("INSERT INTO keys (label, mac) VALUES ($1, $2)")
            .bind(format!("lost-{round}"))
            .bind([0; 32])
            .execute(&mut open_change)
            .await
            .unwrap();
        postgres.command(how);
        let broken = open_change.commit().await.unwrap_err();
        assert!(matches!(broken, Failure::Unavailable(_)), "{how}: {broken:?}");
        postgres.command("start");
        let began = Instant::now();
        // Connections that were used a moment ago are found dead by who has them next.
        while let Err(error) = key(&store, &format!("after-{round}")).await {
            assert!(matches!(error, Failure::Unavailable(_)), "{how}: {error:?}");
            assert!(began.elapsed() < Duration::from_secs(10), "{how}: {error:?}");
        }
        // Those that read, too.
        let labels: Vec<String> = loop {
            let labels = query("SELECT label FROM keys WHERE label LIKE $1 ORDER BY label").bind(format!("%-{round}"));
            let read = match store.read().await {
                Ok(mut connection) => labels.scalars(&mut connection).await,
                Err(error) => Err(error),
            };
            match read {
                Ok(labels) => break labels,
                Err(error) => assert!(
                    matches!(error, Failure::Unavailable(_)) && began.elapsed() < Duration::from_secs(10),
                    "{how}: {error:?}"
                ),
            }
        };
        assert_eq!(labels, [format!("after-{round}"), acknowledged], "{how}");
    }
    store.close().await;
}

/// A certificate for a name, and its key, in a folder.
fn certificate(name: &str) -> tempfile::TempDir {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    folder
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_certificate_names() {
    let ours = certificate("localhost");
    let file = |folder: &tempfile::TempDir, name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let postgres = Postgres::start(&["--certificate", &file(&ours, "cert.pem"), &file(&ours, "key.pem")]);
    let url = postgres.database().await;
    let by_name = url.replace("127.0.0.1", "localhost");
    let checked = |url: &str, root: &tempfile::TempDir| {
        format!("{url}?sslmode=verify-full&sslrootcert={}", file(root, "cert.pem"))
    };
    let store = open(&checked(&by_name, &ours)).await.unwrap();
    let encrypted = "SELECT count(*) FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl";
    assert_eq!(count(&store, encrypted).await, 1);
    store.close().await;
    let error = refusal(&checked(&url, &ours)).await;
    assert!(error.contains("certificate") && error.contains("127.0.0.1"), "another name: {error}");
    let error = refusal(&checked(&by_name, &certificate("localhost"))).await;
    assert!(error.contains("invalid peer certificate"), "another authority: {error}");
    // One that does not speak TLS is not spoken to without it.
    let plain = format!("{}?sslmode=verify-full", testing::database().await);
    let error = refusal(&plain).await;
    assert!(error.contains("does not support TLS"), "{error}");
}
