//! The lease: one holder, whose work others take over when it dies, and who cannot act on it when it was only asleep.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and its child process says on standard output how far it is"
)]

use std::{
    env,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use mlplatform_store::{Lease, Mode, Store, Terms, query, testing};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(60);

async fn take(store: &Store, holder: &str, length: Duration) -> Option<Lease> {
    store.take_lease("supervisor", holder, length).await.unwrap()
}

async fn is_under(store: &Store, lease: &Lease) -> bool {
    store.begin(Mode::Exclusive).await.unwrap().under(lease).await.unwrap()
}

/// As if that much time had passed.
async fn run_out(store: &Store) {
    let mut change = store.begin(Mode::Exclusive).await.unwrap();
    query("UPDATE leases SET ends_at = 1").execute(&mut change).await.unwrap();
    change.commit().await.unwrap();
}

/// The lease, as soon as it is free.
async fn wait_for(store: &Store, holder: &str, length: Duration) -> Lease {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(lease) = take(store, holder, length).await {
            return lease;
        }
        assert!(Instant::now() < deadline, "the lease is never free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_holds_it_and_its_epoch_rises_with_each_holder() {
    for postgres in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let store = testing::store(postgres, folder.path()).await;
        let first = take(&store, "a", LONG).await.unwrap();
        assert_eq!((first.name(), first.holder(), first.epoch()), ("supervisor", "a", 1));
        assert_eq!(take(&store, "b", LONG).await, None);
        assert_eq!(take(&store, "a", LONG).await, Some(first.clone()), "it renews its own");
        assert!(is_under(&store, &first).await);
        // It has run out: nobody may act on it any more, not even before another has taken it.
        run_out(&store).await;
        assert!(!is_under(&store, &first).await);
        let second = take(&store, "b", LONG).await.unwrap();
        assert_eq!(second.epoch(), 2);
        assert!(is_under(&store, &second).await && !is_under(&store, &first).await);
        // Who let it run out and takes it again is a new holder.
        run_out(&store).await;
        let third = take(&store, "b", LONG).await.unwrap();
        assert_eq!(third.epoch(), 3);
        assert!(!is_under(&store, &second).await);
        store.release_lease(&first).await.unwrap();
        assert!(is_under(&store, &third).await, "a lease that is not held releases nothing");
        store.release_lease(&third).await.unwrap();
        assert!(!is_under(&store, &third).await);
        assert_eq!(take(&store, "c", LONG).await.unwrap().epoch(), 4, "at once");
        assert!(store.read().await.unwrap().under(&third).await.is_err(), "only a transaction can tell");
        store.close().await;
    }
}

#[tokio::test]
async fn racing_for_it_one_wins() {
    let url = testing::database().await;
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(Store::init_postgres(&url.parse().unwrap()).await.unwrap());
    }
    for round in 1..=10 {
        let races = (0..16).map(|n| {
            let store = stores[n % 4].clone();
            tokio::spawn(async move { take(&store, &format!("{round}-{n}"), Duration::from_secs(60)).await })
        });
        let mut won = Vec::new();
        for race in races.collect::<Vec<_>>() {
            won.extend(race.await.unwrap());
        }
        assert_eq!(won.iter().map(Lease::epoch).collect::<Vec<_>>(), [round]);
        stores[0].release_lease(&won[0]).await.unwrap();
    }
}

/// A change that was let in under the lease is done before another has it.
#[tokio::test]
async fn it_is_not_taken_over_in_the_middle_of_a_change() {
    let url = testing::database().await;
    let (store, heir) = (
        Store::init_postgres(&url.parse().unwrap()).await.unwrap(),
        Store::init_postgres(&url.parse().unwrap()).await.unwrap(),
    );
    let length = Duration::from_secs(3);
    let lease = take(&store, "a", length).await.unwrap();
    let mut change = store.begin(Mode::Exclusive).await.unwrap();
    assert!(change.under(&lease).await.unwrap());
    let mut takes_over = std::pin::pin!(wait_for(&heir, "b", Duration::from_secs(60)));
    for _ in 0..9 {
        assert!(timeout(length / 6, &mut takes_over).await.is_err(), "it was taken from under the change");
        // A change that stands still is ended.
        assert_eq!(query("SELECT CAST(1 AS BIGINT)").scalar::<i64>(&mut change).await.unwrap(), 1);
    }
    query("INSERT INTO keys (label, mac) VALUES ('a', $1)").bind([0; 32]).execute(&mut change).await.unwrap();
    change.commit().await.unwrap();
    assert_eq!(takes_over.await.epoch(), 2);
}

#[tokio::test]
async fn a_keeper_renews_it_and_the_next_takes_over() {
    let url = testing::database().await;
    let terms = Terms { length: Duration::from_secs(6), renewal: Duration::from_secs(1) };
    let (store, other) = (
        Store::init_postgres(&url.parse().unwrap()).await.unwrap(),
        Store::init_postgres(&url.parse().unwrap()).await.unwrap(),
    );
    let mut first = store.keep_lease("supervisor", "a".to_owned(), terms);
    timeout(terms.length, first.changed()).await.unwrap();
    let lease = first.lease().unwrap();
    let mut second = other.keep_lease("supervisor", "b".to_owned(), terms);
    // Longer than it lasts.
    assert!(timeout(terms.length + terms.renewal, second.changed()).await.is_err());
    assert_eq!((second.lease(), first.lease()), (None, Some(lease.clone())));
    assert!(is_under(&store, &lease).await);
    first.stop().await.unwrap();
    timeout(terms.length / 2, second.changed()).await.unwrap();
    assert_eq!(second.lease().unwrap().epoch(), 2);
    assert!(!is_under(&store, &lease).await);
    // One that is dropped lets it run out.
    drop(second);
    wait_for(&store, "c", LONG).await;
}

/// Who cannot renew it knows that, without the database.
#[tokio::test]
async fn a_keeper_that_cannot_reach_the_database_holds_nothing() {
    let mut postgres = testing::Postgres::start(&[]);
    let url = postgres.database().await;
    let terms = Terms { length: Duration::from_secs(4), renewal: Duration::from_secs(1) };
    let store = Store::init_postgres(&url.parse().unwrap()).await.unwrap();
    let mut keeper = store.keep_lease("supervisor", "a".to_owned(), terms);
    timeout(terms.length, keeper.changed()).await.unwrap();
    assert!(keeper.lease().is_some());
    postgres.command("stop");
    timeout(terms.length + terms.renewal, keeper.changed()).await.expect("it still takes the lease for its own");
    assert_eq!(keeper.lease(), None);
    postgres.command("start");
    timeout(terms.length * 4, keeper.changed()).await.unwrap();
    assert_eq!(keeper.lease().unwrap().holder(), "a");
}

/// Runs in a process of its own, which the tests below kill or stop: takes the lease, and holds a change open.
#[test]
#[ignore = "started by the tests of this file"]
fn holder() {
    let url = env::var("MLP_TEST_HOLDER").unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = Store::init_postgres(&url.parse().unwrap()).await.unwrap();
        let lease = take(&store, "dying", Duration::from_secs(5)).await.unwrap();
        let mut change = store.begin(Mode::Exclusive).await.unwrap();
        assert!(change.under(&lease).await.unwrap());
        query("INSERT INTO keys (label, mac) VALUES ('of the dead', $1)")
            .bind([0; 32])
            .execute(&mut change)
            .await
            .unwrap();
        println!("\nholds");
        // Long enough to be killed or stopped in; shorter than the database lets a change stand still.
        tokio::time::sleep(Duration::from_secs(1)).await;
        println!("\n{}", if change.commit().await.is_err() { "refused" } else { "committed" });
    });
}

/// Ended with the test, also when that fails while it is stopped.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_holder(url: &str) -> (Holder, impl Iterator<Item = String>) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "holder", "--ignored", "--nocapture"])
        .env("MLP_TEST_HOLDER", url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "holds"));
    (Holder(child), lines)
}

#[tokio::test]
async fn a_holder_that_is_killed_in_mid_change() {
    let url = testing::database().await;
    let store = Store::init_postgres(&url.parse().unwrap()).await.unwrap();
    let (holder, _) = start_holder(&url);
    drop(holder);
    let killed = Instant::now();
    drop(
        timeout(Duration::from_secs(2), store.begin(Mode::Exclusive))
            .await
            .expect("the writer is free at once")
            .unwrap(),
    );
    let lease = wait_for(&store, "heir", Duration::from_secs(60)).await;
    assert!(killed.elapsed() < Duration::from_secs(6), "{:?}", killed.elapsed());
    assert_eq!(lease.epoch(), 2);
    let count = query("SELECT count(*) FROM keys").scalar::<i64>(&mut store.read().await.unwrap()).await.unwrap();
    assert_eq!(count, 0, "what was not committed is gone");
}

#[tokio::test]
async fn a_holder_that_is_stopped_in_mid_change() {
    let url = testing::database().await;
    let store = Store::init_postgres(&url.parse().unwrap()).await.unwrap();
    let (mut holder, mut lines) = start_holder(&url);
    let pid = Pid::from_child(&holder.0);
    kill_process(pid, Signal::STOP).unwrap();
    let stopped = Instant::now();
    let lease = wait_for(&store, "heir", Duration::from_secs(60)).await;
    assert!(stopped.elapsed() < Duration::from_secs(8), "{:?}", stopped.elapsed());
    let mut change = store.begin(Mode::Exclusive).await.unwrap();
    assert!(change.under(&lease).await.unwrap());
    query("INSERT INTO keys (label, mac) VALUES ('of the heir', $1)").bind([0; 32]).execute(&mut change).await.unwrap();
    change.commit().await.unwrap();
    kill_process(pid, Signal::CONT).unwrap();
    assert!(lines.any(|line| line == "refused"), "it woke, and what it had begun is refused");
    holder.0.wait().unwrap();
    let labels = query("SELECT label FROM keys").scalars::<String>(&mut store.read().await.unwrap()).await.unwrap();
    assert_eq!(labels, ["of the heir"]);
}
