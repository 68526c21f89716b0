//! `mlplatform-server backup`: beside a server that goes on serving, or without one.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use super::{
    files,
    manifest::{AUDIT_HEAD, AUDIT_KEY, Entry, FORMAT, MANIFEST, Manifest, SECRETS_KEY, STORE, problem},
};
use mlplatform_platform::{audit::Audit, clock::Clock, store};
use mlplatform_spark_local::disk_space;
use mlplatform_store::Store;

use crate::{data_dir::DataDir, safe_path, start::StartError};

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// Where.
    pub path: PathBuf,
    /// Bytes in all.
    pub size: u64,
}

/// Copies the platform of a data directory into a folder that is new or empty.
///
/// # Errors
/// When the folder holds something, there is no room, or the data directory holds no store of this version. Nothing is
/// left in the folder then.
pub async fn backup(data_dir: &Path, to: &Path, secrets_key: bool, clock: Clock) -> Result<Made, StartError> {
    let dir = DataDir::existing(data_dir)?;
    let store = store::open_as_it_is(&dir.database()).await?;
    let made = make(&dir, &store, to, secrets_key, clock).await;
    store.close_as_it_is().await;
    made
}

async fn make(dir: &DataDir, store: &Store, to: &Path, secrets_key: bool, clock: Clock) -> Result<Made, StartError> {
    let to = std::path::absolute(to).map_err(|error| problem(to, format!("cannot be made: {error}")))?;
    safe_path::check(&to)?;
    let was_there = to.exists();
    files::make_folder(&to).map_err(|error| match error.kind() {
        io::ErrorKind::DirectoryNotEmpty => problem(&to, "cannot be made: the folder is not empty; give a new one"),
        _ => problem(&to, format!("cannot be made: {error}; give a folder that you may write to")),
    })?;
    let copied = match room(store, &to).await {
        Ok(()) => copy(dir, store, &to, secrets_key, clock).await,
        Err(error) => Err(error),
    };
    copied.inspect_err(|_| {
        for name in [MANIFEST, STORE, AUDIT_KEY, AUDIT_HEAD, SECRETS_KEY] {
            let _ = fs::remove_file(to.join(name));
        }
        // SQLite's own, of a copy that was not finished.
        let _ = fs::remove_file(to.join(format!("{STORE}-journal")));
        if !was_there {
            let _ = fs::remove_dir(&to);
        }
    })
}

/// That the disk has room for it, and is not nearly full afterwards: jobs would be evicted.
async fn room(store: &Store, to: &Path) -> Result<(), StartError> {
    let needed = store.size().await?.saturating_add(disk_space::low_mark(to));
    match disk_space::free(to) {
        Some(free) if free < needed => Err(problem(
            to,
            format!(
                "cannot be made: {} MiB of its disk are free, and with what must stay free it needs {} MiB; make room, or \
                 give a folder on another disk",
                free >> 20,
                needed.div_ceil(1 << 20)
            ),
        )),
        _ => Ok(()),
    }
}

async fn copy(dir: &DataDir, store: &Store, to: &Path, secrets_key: bool, clock: Clock) -> Result<Made, StartError> {
    let failed = |error: io::Error| {
        let reason = match error.kind() {
            io::ErrorKind::StorageFull => "the disk is full".to_owned(),
            _ => error.to_string(),
        };
        problem(to, format!("cannot be made: {reason}; nothing of it was left"))
    };
    // Those who are served come first.
    let _ = rustix::process::nice(10);
    let made_at = clock.now();
    // Before the store: the mark of a row that is not in the copy would say that rows were cut off.
    let mark = Audit::open(&dir.audit_key(), &dir.audit_head(), false)?.mark_as_text().map_err(failed)?;
    let mut file = files::create(&to.join(AUDIT_HEAD)).map_err(failed)?;
    file.write_all(mark.as_bytes()).map_err(failed)?;
    let copy = to.join(STORE);
    // Empty, so that it has the right mode from the first byte on.
    drop(files::create(&copy).map_err(failed)?);
    store
        .copy_to(&copy)
        .await
        .map_err(|error| problem(to, format!("cannot be made: {error}; nothing of it was left")))?;
    let mut entries: Vec<Entry> = Vec::new();
    for name in [STORE, AUDIT_HEAD] {
        entries.push(files::seal(&to.join(name), name).map_err(failed)?);
    }
    entries.push(files::copy(&dir.audit_key(), &to.join(AUDIT_KEY), AUDIT_KEY).map_err(failed)?);
    if secrets_key {
        match files::copy(&dir.secrets_key(), &to.join(SECRETS_KEY), SECRETS_KEY) {
            // A platform that has no secret needs none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => entries.push(copied.map_err(failed)?),
        }
    }
    let size = entries.iter().map(|entry| entry.size).sum();
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        schema: Store::version().unwrap_or_default(),
        made_at,
        files: entries,
    };
    write(&manifest, to).map_err(failed)?;
    Ok(Made { path: to.to_owned(), size })
}

/// Last, and at once: whoever finds the manifest finds everything that it names.
fn write(manifest: &Manifest, to: &Path) -> io::Result<()> {
    files::sync(to)?;
    let beside = to.join(format!("{MANIFEST}.tmp"));
    let written = files::create(&beside).and_then(|mut file| {
        file.write_all(&serde_json::to_vec_pretty(manifest)?)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&beside, to.join(MANIFEST))
    });
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written?;
    files::sync(to)?;
    to.parent().map_or(Ok(()), files::sync)
}
