//! `mlplatform-server restore`: makes a new data directory from a backup.
//!
//! Everything is checked before the directory has its name, and a directory that is there is never touched. What the backup
//! cannot know is not pretended: sessions end, jobs that were not over have failed, and a row of the audit says that the
//! platform was restored.

use std::{
    collections::HashSet,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    files,
    manifest::{FILES, FORMAT, MANIFEST, Manifest, NEEDED, SECRETS_KEY, problem},
};
use mlplatform_platform::{
    app::App,
    audit::Audit,
    clock::Clock,
    limits::Limits,
    restored::{Backup, end_what_was_open},
    store,
};
use mlplatform_store::Store;

use crate::{
    data_dir::DataDir,
    local_jobs::{LocalSystem, no_jobs},
    safe_path,
    start::StartError,
};

/// A manifest has some hundred bytes.
const LONGEST: u64 = 64 * 1024;

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// The data directory.
    pub path: PathBuf,
    /// When the backup was made: nothing later is in it.
    pub made_at: Timestamp,
    /// Audit rows that were proved.
    pub rows: i64,
    /// Jobs that were not over, and have failed.
    pub jobs: usize,
    /// The key of the secrets' values was in it.
    pub has_secrets_key: bool,
}

/// Makes a data directory, which must not be there, from a backup.
///
/// # Errors
/// When the backup is not whole, is of a newer version, or its audit does not prove; when the directory is there, or cannot
/// be made. Nothing is left then.
pub async fn restore(from: &Path, data_dir: &Path, clock: Clock) -> Result<Restored, StartError> {
    let manifest = read(from)?;
    let failed = |error: io::Error| problem(from, format!("cannot be restored to '{}': {error}", data_dir.display()));
    let to = std::path::absolute(data_dir).map_err(failed)?;
    safe_path::check(&to)?;
    if fs::symlink_metadata(&to).is_ok() {
        let text = format!("is restored only to a new data directory, and '{}' is there: give another", to.display());
        return Err(problem(from, text));
    }
    let name = to.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = to.with_file_name(format!(".{name}.restoring-{}", std::process::id()));
    files::make_folder(&beside).map_err(failed)?;
    let restored = match unpack(from, &beside, &manifest) {
        Ok(()) => renew(from, &beside, &manifest, clock).await,
        Err(error) => Err(error),
    };
    let named = restored.and_then(|restored| {
        files::sync(&beside).map_err(failed)?;
        // Never over another: what came meanwhile is not empty, or is no folder.
        fs::rename(&beside, &to).map_err(failed)?;
        to.parent().map_or(Ok(()), files::sync).map_err(failed)?;
        Ok(Restored { path: to.clone(), ..restored })
    });
    named.inspect_err(|_| {
        let _ = fs::remove_dir_all(&beside);
    })
}

fn read(from: &Path) -> Result<Manifest, StartError> {
    let mut text = String::new();
    let read = files::open(&from.join(MANIFEST)).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(problem(from, "has no manifest.json: it was never finished, or is none; give another folder"));
        }
        Err(error) => return Err(problem(from, format!("cannot be read: {MANIFEST}: {error}"))),
        Ok(_) => {}
    }
    let manifest: Manifest = serde_json::from_str(&text)
        .map_err(|error| problem(from, format!("cannot be read: {MANIFEST}: {error}; is it damaged?")))?;
    if manifest.format != FORMAT || Store::version().is_none_or(|own| manifest.schema > own) {
        let text =
            format!("was made by version {} of mlplatform-server: install that one, or a newer one", manifest.version);
        return Err(problem(from, text));
    }
    let names: HashSet<&str> = manifest.files.iter().map(|entry| entry.name.as_str()).collect();
    if let Some(missing) = NEEDED.iter().find(|name| !names.contains(*name)) {
        return Err(problem(from, format!("is damaged: {MANIFEST} does not name {missing}")));
    }
    if names.len() != manifest.files.len() || names.iter().any(|name| !FILES.contains(name)) {
        return Err(problem(from, format!("is damaged: {MANIFEST} names files that no backup has")));
    }
    Ok(manifest)
}

/// Copies the files, each of which must be what the manifest says.
fn unpack(from: &Path, to: &Path, manifest: &Manifest) -> Result<(), StartError> {
    for entry in &manifest.files {
        let name = entry.name.as_str();
        let copied = files::copy(&from.join(name), &to.join(name), name)
            .map_err(|error| problem(from, format!("cannot be restored: {name}: {error}")))?;
        if (copied.size, &copied.sha256) != (entry.size, &entry.sha256) {
            return Err(problem(from, format!("is damaged: {name} is not what was written: restore another backup")));
        }
    }
    Ok(())
}

/// Brings the store to this version's form, proves the audit, and ends what cannot go on.
async fn renew(from: &Path, dir: &Path, manifest: &Manifest, clock: Clock) -> Result<Restored, StartError> {
    let dir = DataDir::existing(dir)?;
    let store = store::open(&dir.database()).await?;
    let audit = Audit::open(&dir.audit_key(), &dir.audit_head(), false)?;
    let proof = audit.verify(&mut store.read().await?).await?;
    let whole = match proof {
        Ok(whole) => whole,
        Err(broken) => {
            store.close().await;
            return Err(problem(from, format!("has an audit that is broken: {broken}; restore an older backup")));
        }
    };
    let jobs = no_jobs(&dir, &store);
    let app = App::new(dir.secrets_key(), store, audit, clock, Limits::default(), jobs, LocalSystem::new(&dir));
    let jobs = end_what_was_open(&app, &Backup { made_at: manifest.made_at, version: &manifest.version }).await;
    app.store().close().await;
    let has_secrets_key = manifest.files.iter().any(|entry| entry.name == SECRETS_KEY);
    Ok(Restored {
        path: dir.path().to_owned(),
        made_at: manifest.made_at,
        rows: whole.rows,
        jobs: jobs?,
        has_secrets_key,
    })
}
