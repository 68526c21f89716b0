//! The allocation of user and group ids to jobs, of a range that they share: no id is anybody else's who lives.
//!
//! A job keeps its id from run to run, as its working folder is kept, and until its processes are gone and its folders are
//! in the trash. A cluster keeps its group for ever: its bucket may outlive it.

use std::{collections::HashSet, fs, io, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use mlplatform_runner::runner::{Resource, RunId, RunnerError};
use tokio::task::spawn_blocking;

use crate::{credentials::Credentials, proc, process_tree::ProcessTree, shared::Shared, workspace};

/// How often an id whose processes do not end is looked at again.
const AGAIN: Duration = Duration::from_millis(250);
const REMEDY: &str = "the operator can give a larger range";

/// Whose rights a run has (`None`: the platform's), or why it has to wait.
pub(crate) async fn allocate(shared: &Arc<Shared>, run: &RunId) -> Result<Option<Credentials>, RunnerError> {
    let job = &run.job;
    let held = shared.ids.user_of(&job.id).await.map_err(failed)?;
    let Some(range) = shared.id_range() else {
        if held.is_some() {
            // What it has left was written under an id that is its own no more.
            discard(shared, &job.id).await;
            shared.ids.set_user(&job.id, None).await.map_err(failed)?;
        }
        return Ok(shared.job_user().map(|user| Credentials { uid: user.uid, gid: user.gid, cluster: None }));
    };
    let exhausted = |message| RunnerError::Exhausted { resource: Resource::UserIds, message };
    let Some(group) = group(shared, &job.cluster).await? else {
        return Err(exhausted(format!("no id of --job-user {range} is left for the cluster's group: {REMEDY}")));
    };
    let id = match held.filter(|id| range.contains(*id)) {
        Some(id) if all_ended(id, run).await => id,
        Some(id) => {
            return Err(exhausted(format!("processes of the job's last run, of the user {id}, do not end")));
        }
        None => {
            let allocated = shared.ids.allocated().await.map_err(failed)?;
            let after = shared.last_id();
            let free = spawn_blocking(move || first_free(range.after(after), &allocated)).await;
            let Some(id) = free.map_err(|_| failed(io::Error::other("the search for an id panicked")))? else {
                return Err(exhausted(format!(
                    "each of the {} ids of --job-user {range} is a job's or a cluster's: this job starts when another has \
                     ended; {REMEDY}",
                    range.size()
                )));
            };
            discard(shared, &job.id).await;
            shared.ids.set_user(&job.id, Some(id)).await.map_err(failed)?;
            shared.set_last_id(id);
            id
        }
    };
    Ok(Some(Credentials { uid: id, gid: id, cluster: Some(group) }))
}

/// The group of a cluster's bucket; `None`: no id is left for it, or there is no range.
pub(crate) async fn group(shared: &Shared, cluster: &str) -> Result<Option<u32>, RunnerError> {
    let Some(range) = shared.id_range() else { return Ok(None) };
    let known = shared.ids.group_of(cluster).await.map_err(failed)?;
    if let Some(group) = known.filter(|group| range.contains(*group)) {
        return Ok(Some(group));
    }
    let choose = move |held: Option<u32>, allocated: &HashSet<u32>| {
        // Somebody else may have been quicker.
        held.filter(|group| range.contains(*group)).or_else(|| first_free(range.downwards(), allocated))
    };
    shared.ids.claim_group(cluster, Box::new(choose)).await.map_err(failed)
}

fn failed(source: io::Error) -> RunnerError {
    RunnerError::Transient { action: "allocating an id to a job", source }
}

/// Takes back the ids of jobs that are over, for as long as the server runs: once none of their processes is left, and
/// their folders are in the trash.
pub(crate) async fn reclaim(shared: Arc<Shared>) {
    loop {
        match reclaim_once(&shared).await {
            Ok(false) => shared.released.notified().await,
            Ok(true) => tokio::time::sleep(AGAIN).await,
            Err(error) => {
                tracing::error!("ids of jobs that are over could not be taken back: {error}");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Gives whether some are still to come.
async fn reclaim_once(shared: &Arc<Shared>) -> io::Result<bool> {
    let mut left = false;
    for (run, id) in shared.ids.held_by_finished().await? {
        // Only of the range is it known that nobody else has that id.
        if shared.id_range().is_some_and(|range| range.contains(id)) && !all_ended(id, &run).await {
            left = true;
            continue;
        }
        discard(shared, &run.job.id).await;
        let folder = shared.folders.job(&run.job.id);
        let closed = spawn_blocking(move || fs::set_permissions(folder, fs::Permissions::from_mode(0o700))).await;
        match closed.map_err(io::Error::other)? {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!("the folder of the job '{}' cannot be closed: {error}", run.job.name);
                left = true;
                continue;
            }
            _ => {}
        }
        shared.ids.set_user(&run.job.id, None).await?;
        // Somebody may wait for it.
        shared.notify_changed();
    }
    Ok(left)
}

async fn discard(shared: &Shared, job: &str) {
    shared.trash.discard_all(workspace::leftovers(&shared.folders.job(job))).await;
}

/// Whether no process of the id is left; those that are get SIGKILL.
async fn all_ended(id: u32, run: &RunId) -> bool {
    let tree = ProcessTree::of_user(id, &run.to_string());
    let ended = spawn_blocking(move || {
        let ended = tree.is_empty();
        if !ended {
            tree.kill();
        }
        ended
    });
    ended.await.unwrap_or(false)
}

/// The first that is nobody's: neither of those that are allocated, nor of a process.
fn first_free(ids: impl Iterator<Item = u32>, allocated: &HashSet<u32>) -> Option<u32> {
    let mut ids = ids.filter(|id| !allocated.contains(id)).peekable();
    ids.peek()?;
    let living = proc::ids();
    ids.find(|id| !living.contains(id))
}
