//! Which id a job's runs have, of a range that jobs share: one that nobody else has who lives.
//!
//! A job keeps its id from run to run, as its working folder is kept, and until its processes are gone and its folders are
//! in the trash. A cluster keeps its group for ever: its bucket may outlive it.

use std::{collections::HashSet, fs, io, os::unix::fs::PermissionsExt};

use sqlx::SqliteConnection;
use tokio::task::spawn_blocking;

use super::{
    job_user::Rights,
    processes::{self, Tree},
    trash,
};
use crate::{
    app::App,
    clusters::row::Cluster,
    error::{Error, Result},
    request::RequestContext,
    service::job_rows::{self, JobRow},
};

/// Whose rights a job's next run has (`None`: the platform's), or why it has to wait.
pub(super) async fn grant(app: &App, job: &JobRow, cluster: &Cluster) -> Result<Result<Option<Rights>, String>> {
    let held: Option<u32> = sqlx::query_scalar("SELECT user_id FROM jobs WHERE id = ?")
        .bind(&job.id)
        .fetch_optional(&mut *app.read().await?)
        .await?
        .flatten();
    let Some(range) = app.spark().job_ids() else {
        if held.is_some() {
            // What it has left was written under an id that is its own no more.
            throw_away(app, job).await;
            keep(app, job, None).await?;
        }
        return Ok(Ok(app.spark().job_user().map(|user| Rights { uid: user.uid, gid: user.gid, cluster: None })));
    };
    let Some(group) = group(app, cluster).await? else {
        return Ok(Err(format!("no id of --job-user {range} is left for the cluster's group: {REMEDY}")));
    };
    let id = match held.filter(|id| range.contains(*id)) {
        Some(id) if all_ended(id, job).await => id,
        Some(id) => return Ok(Err(format!("processes of the job's last run, of the user {id}, do not end"))),
        None => {
            let taken = taken(app).await?;
            let after = app.spark().last_id();
            let free = spawn_blocking(move || free(range.after(after), &taken)).await;
            let Some(id) = free.map_err(|_| Error::Fault("the search for an id panicked"))? else {
                return Ok(Err(format!(
                    "each of the {} ids of --job-user {range} is a job's or a cluster's: this job starts when another has \
                     ended; {REMEDY}",
                    range.size()
                )));
            };
            throw_away(app, job).await;
            keep(app, job, Some(id)).await?;
            app.spark().set_last_id(id);
            id
        }
    };
    Ok(Ok(Some(Rights { uid: id, gid: id, cluster: Some(group) })))
}

const REMEDY: &str = "the operator can give a larger range";

/// The group of a cluster's bucket; `None`: no id is left for it, or there is no range.
pub(super) async fn group(app: &App, cluster: &Cluster) -> Result<Option<u32>> {
    let Some(range) = app.spark().job_ids() else { return Ok(None) };
    if let Some(group) = group_of(&mut *app.read().await?, cluster).await?.filter(|group| range.contains(*group)) {
        return Ok(Some(group));
    }
    let context = RequestContext::local();
    let mut tx = app.begin(&context).await?;
    // Somebody else may have been quicker.
    if let Some(group) = group_of(tx.connection(), cluster).await?.filter(|group| range.contains(*group)) {
        return Ok(Some(group));
    }
    let taken = job_rows::ids_of_range(tx.connection()).await?;
    let Some(group) = free(range.downwards(), &taken) else { return Ok(None) };
    sqlx::query("UPDATE clusters SET job_group = ? WHERE id = ?")
        .bind(group)
        .bind(&cluster.id)
        .execute(tx.connection())
        .await?;
    tx.commit().await?;
    Ok(Some(group))
}

async fn group_of(connection: &mut SqliteConnection, cluster: &Cluster) -> Result<Option<u32>> {
    let group: Option<Option<u32>> = sqlx::query_scalar("SELECT job_group FROM clusters WHERE id = ?")
        .bind(&cluster.id)
        .fetch_optional(connection)
        .await?;
    Ok(group.flatten())
}

/// Takes back the ids of jobs that are over: once none of their processes is left, and their folders are in the trash.
/// Gives whether some are still to come.
pub(super) async fn take_back(app: &App) -> Result<bool> {
    let jobs = job_rows::over_with_id(&mut *app.read().await?).await?;
    let mut left = false;
    for (job, id) in jobs {
        // Only of the range is it known that nobody else has that id.
        if app.spark().job_ids().is_some_and(|range| range.contains(id)) && !all_ended(id, &job).await {
            left = true;
            continue;
        }
        throw_away(app, &job).await;
        let folder = job.folder(app);
        let closed = spawn_blocking(move || fs::set_permissions(folder, fs::Permissions::from_mode(0o700))).await;
        match closed.map_err(|_| Error::Fault("the closing of a folder panicked"))? {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!("the folder of the job '{}' cannot be closed: {error}", job.name);
                left = true;
                continue;
            }
            _ => {}
        }
        keep(app, &job, None).await?;
    }
    Ok(left)
}

async fn keep(app: &App, job: &JobRow, id: Option<u32>) -> Result<()> {
    let context = RequestContext::local();
    let mut tx = app.begin(&context).await?;
    sqlx::query("UPDATE jobs SET user_id = ? WHERE id = ?").bind(id).bind(&job.id).execute(tx.connection()).await?;
    tx.commit().await
}

async fn throw_away(app: &App, job: &JobRow) {
    trash::tidy(app, job, false).await;
}

async fn taken(app: &App) -> Result<HashSet<u32>> {
    job_rows::ids_of_range(&mut *app.read().await?).await
}

/// Whether no process of the id is left; those that are get SIGKILL.
async fn all_ended(id: u32, job: &JobRow) -> bool {
    let tree = Tree::of_user(id, &job.mark());
    let ended = spawn_blocking(move || {
        let ended = tree.is_empty();
        if !ended {
            tree.kill();
        }
        ended
    });
    ended.await.unwrap_or(false)
}

/// The first that is nobody's: neither of those who are known, nor of a process.
fn free(ids: impl Iterator<Item = u32>, taken: &HashSet<u32>) -> Option<u32> {
    let mut ids = ids.filter(|id| !taken.contains(id)).peekable();
    ids.peek()?;
    let living = processes::ids();
    ids.find(|id| !living.contains(id))
}
