//! A disk that is full: who writes is told so, what was there stays, and with more room it goes on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why it did not run"
)]

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use mlplatform_store::{Failure, Mode, Store, either, query, testing};

/// About a megabyte that does not compress.
async fn write(store: &Store, seq: i64) -> Result<(), Failure> {
    let mut change = store.begin(Mode::Exclusive).await?;
    either(
        "INSERT INTO audit (seq, at, action, address, request_id, outcome, detail, mac) \
         VALUES ($1, 1, '', '', '', '', hex(randomblob(500000)), $2)",
        "INSERT INTO audit (seq, at, action, address, request_id, outcome, detail, mac) \
         SELECT $1, 1, '', '', '', '', string_agg(md5(random()::text), ''), $2 FROM generate_series(1, 31250)",
    )
    .bind(seq)
    .bind([0; 32])
    .execute(&mut change)
    .await?;
    change.commit().await
}

/// Writes until there is no room; gives how many rows were acknowledged.
async fn fill(store: &Store) -> i64 {
    for seq in 1..200 {
        if let Err(error) = write(store, seq).await {
            assert!(matches!(error, Failure::Full(_)), "{error:?}");
            assert!(seq > 1, "nothing was written at all");
            return seq - 1;
        }
    }
    panic!("the disk is not full");
}

async fn rows(store: &Store) -> (i64, i64) {
    let rows = query("SELECT count(*), coalesce(min(octet_length(detail)), 0) FROM audit");
    let mut read = store.read().await.unwrap();
    if read.is_postgres() {
        return query("SELECT count(*), coalesce(min(octet_length(detail)), 0)::bigint FROM audit")
            .one(&mut read)
            .await
            .unwrap();
    }
    rows.one(&mut read).await.unwrap()
}

async fn limit_pages(store: &Store, statement: &'static str) {
    let mut change = store.begin(Mode::Exclusive).await.unwrap();
    query(statement).scalar::<i64>(&mut change).await.unwrap();
    change.commit().await.unwrap();
}

#[tokio::test]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = testing::store(false, folder.path()).await;
    limit_pages(&store, "PRAGMA max_page_count = 2000").await;
    let written = fill(&store).await;
    assert_eq!(rows(&store).await, (written, 1_000_000));
    // The same connection is used on, or another took its place, whose limit is another.
    limit_pages(&store, "PRAGMA max_page_count = 100000").await;
    write(&store, written + 1).await.unwrap();
    assert_eq!(rows(&store).await.0, written + 1);
    store.close().await;
}

/// A small disk, for as long as this lives.
struct Disk(PathBuf);

impl Disk {
    /// `None`: this user may not mount one.
    fn mount(at: &Path) -> Option<Self> {
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "none"]).arg(at).output().ok()?;
        done.status.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn postgresql() {
    let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
    let Some(disk) = Disk::mount(folder.path()) else {
        eprintln!("not run: a small disk is mounted for this, which takes root");
        return;
    };
    // A cluster of its own: no other test's statements meet the full disk, and it ends before the disk is taken away.
    let postgres = testing::Postgres::start(&[]);
    assert!(Command::new("chown").arg("nobody").arg(&disk.0).status().unwrap().success());
    testing::run(postgres.url(), &format!("CREATE TABLESPACE small LOCATION '{}'", disk.0.display())).await;
    let url = testing::new_database(postgres.url(), "TABLESPACE small").await;
    let store = Store::init_postgres(&url.parse().unwrap()).await.unwrap();
    // What a new database consists of is on the disk then: who reads, too, may have to write such pages back.
    testing::run(&url, "CHECKPOINT").await;
    let written = fill(&store).await;
    assert_eq!(rows(&store).await, (written, 1_000_000));
    assert!(matches!(write(&store, written + 1).await, Err(Failure::Full(_))), "still");
    let more = ["-o", "remount,size=64m"];
    assert!(Command::new("mount").args(more).arg(&disk.0).status().unwrap().success());
    write(&store, written + 1).await.unwrap();
    assert_eq!(rows(&store).await.0, written + 1);
    store.close().await;
    drop(postgres);
    drop(disk);
}
