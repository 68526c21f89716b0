//! The end of a run, and the removal of what was made for it.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams};
use mlplatform_runner::{
    runner::{KnownJobs, RunId, RunnerError},
    termination::Termination,
};
use tokio::time::timeout;

use crate::{
    errors::{ask, ask_for},
    names::{self, JOB, PLATFORM, PROGRAM, PURPOSE, VALUES},
    shared::Shared,
    start::delete_application,
    status::driver_of,
    view::ApplicationView,
};

/// How much longer than its grace period a pod may take: its node kills it, and tells.
const SLACK: Duration = Duration::from_secs(60);
/// A pod that is deleted without any grace goes before its processes do.
const LEAST_GRACE: u32 = 1;
/// How long the rest of a log is waited for.
const LOG: Duration = Duration::from_secs(15);
/// How often the API is asked when no watch tells anything.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) async fn stop(shared: &Arc<Shared>, run: &RunId, grace: Duration) -> Result<(), RunnerError> {
    let job = &run.job.id;
    if shared.record(job, run.number).await?.is_some_and(|record| record.end.is_some()) {
        return Ok(());
    }
    let seen = shared.find_application(job).await?.filter(|seen| seen.run == run.number);
    let Some(seen) = seen else {
        // What a deleted application leaves behind, goes with it; it may still be on its way.
        return end_pods(shared, job, grace).await;
    };
    if seen.is_final() {
        return Ok(());
    }
    set_stopping(shared, job, true);
    let stopped = stop_application(shared, &seen, grace).await;
    set_stopping(shared, job, false);
    shared.changed.notify_one();
    stopped
}

fn set_stopping(shared: &Shared, job: &str, is_stopping: bool) {
    if let Some(seen) = shared.jobs().get_mut(job) {
        seen.is_stopping = is_stopping;
    }
}

async fn stop_application(shared: &Arc<Shared>, seen: &ApplicationView, grace: Duration) -> Result<(), RunnerError> {
    // First, so that the operator does not run it again.
    delete_application(shared, seen).await?;
    end_pods(shared, &seen.job, grace).await?;
    if let Some(attempt) = &seen.submission {
        let began = Instant::now();
        while shared.logs.is_complete(&seen.job, attempt).await.is_ok_and(|known| known == Some(false))
            && began.elapsed() < LOG
        {
            let _ = timeout(LOOK, shared.ended.notified()).await;
        }
    }
    let driver = driver_of(shared, seen);
    let started_at = driver.as_ref().and_then(|driver| driver.started_at);
    let end = driver.and_then(|driver| driver.end);
    let end = end.unwrap_or_else(|| Termination::problem("it was deleted before its driver's end was seen"));
    shared.note_end(seen, started_at, &end).await?;
    if let Some(job) = shared.jobs().get_mut(&seen.job) {
        job.application = None;
    }
    Ok(())
}

/// Returns when no pod of a job runs any more.
async fn end_pods(shared: &Arc<Shared>, job: &str, grace: Duration) -> Result<(), RunnerError> {
    let seconds = u32::try_from(grace.as_secs()).unwrap_or(u32::MAX).max(LEAST_GRACE);
    let params = DeleteParams { grace_period_seconds: Some(seconds), ..DeleteParams::default() };
    let began = Instant::now();
    let mut asked: Vec<String> = Vec::new();
    loop {
        let notified = shared.ended.notified();
        let running: Vec<_> = shared.find_pods(job).await?.into_iter().filter(|pod| !pod.is_over).collect();
        if running.is_empty() {
            return Ok(());
        }
        for pod in running {
            // Executors go with their driver; those that a driver starts meanwhile are found in the next round.
            if !asked.contains(&pod.uid) {
                ask_for("deleting a pod", shared.pods.delete(&pod.name, &params)).await?;
                asked.push(pod.uid);
            }
        }
        if began.elapsed() > grace.saturating_add(SLACK) {
            let problem = io::Error::new(io::ErrorKind::TimedOut, "pods of it do not end: is their node alive?");
            return Err(RunnerError::transient("ending the pods of a run")(problem));
        }
        let _ = timeout(LOOK, notified).await;
    }
}

/// Removes the secrets and config maps of a job; once it is deleted, everything of it.
pub(crate) async fn clean_up(shared: &Arc<Shared>, job: &str, deleted: bool) -> Result<(), RunnerError> {
    let of_job = names::of_job(&shared.config.platform, job);
    let selector = if deleted { of_job } else { format!("{of_job},{PURPOSE}={VALUES}") };
    delete_objects(shared, &selector).await?;
    if !deleted {
        return Ok(());
    }
    if let Some(seen) = shared.find_application(job).await? {
        delete_application(shared, &seen).await?;
    }
    shared.logs.forget(job);
    shared.jobs().remove(job);
    Ok(())
}

async fn delete_objects(shared: &Shared, selector: &str) -> Result<(), RunnerError> {
    let (params, which) = (DeleteParams::default(), ListParams::default().labels(selector));
    ask("deleting secrets", shared.secrets.delete_collection(&params, &which)).await?;
    ask("deleting config maps", shared.config_maps.delete_collection(&params, &which)).await?;
    Ok(())
}

/// Everything of a cluster.
pub(crate) async fn remove_cluster(shared: &Shared, cluster: &str) -> Result<(), RunnerError> {
    let selector = names::of_cluster(&shared.config.platform, cluster);
    delete_objects(shared, &selector).await?;
    let (params, which) = (DeleteParams::default(), ListParams::default().labels(&selector));
    ask("deleting SparkApplications", shared.applications.delete_collection(&params, &which)).await?;
    Ok(())
}

/// What a server that was killed has left of jobs that are over or gone.
pub(crate) async fn reconcile(shared: &Arc<Shared>, known: &KnownJobs) -> Result<(), RunnerError> {
    let of_purpose = |purpose: &str| {
        ListParams::default().labels(&format!("{PLATFORM}={},{PURPOSE}={purpose}", shared.config.platform))
    };
    let programs = ask("listing programs", shared.config_maps.list(&of_purpose(PROGRAM))).await?;
    let maps = ask("listing config maps", shared.config_maps.list(&of_purpose(VALUES))).await?;
    let secrets = ask("listing secrets", shared.secrets.list(&of_purpose(VALUES))).await?;
    let ours = ListParams::default().labels(&format!("{PLATFORM}={}", shared.config.platform));
    let applications = ask("listing SparkApplications", shared.applications.list(&ours)).await?;
    let job = |labels: Option<&std::collections::BTreeMap<String, String>>| labels?.get(JOB).cloned();
    // The API server's times are whole seconds.
    let is_new = |map: &ConfigMap| {
        let made = map.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second().saturating_add(1));
        known.uploads_until.is_some_and(|until| made.is_some_and(|made| made > until.as_second()))
    };
    let programs = programs.iter().filter(|map| !is_new(map));
    let mut gone: Vec<String> = programs.filter_map(|map| job(map.metadata.labels.as_ref())).collect();
    gone.extend(applications.iter().filter_map(|application| job(application.metadata.labels.as_ref())));
    gone.retain(|job| !known.kept.contains(job));
    let mut over: Vec<String> = maps.iter().filter_map(|map| job(map.metadata.labels.as_ref())).collect();
    over.extend(secrets.iter().filter_map(|secret| job(secret.metadata.labels.as_ref())));
    over.retain(|job| !known.open.contains(job) && !gone.contains(job));
    for (mut jobs, deleted) in [(gone, true), (over, false)] {
        jobs.sort();
        jobs.dedup();
        for job in jobs {
            clean_up(shared, &job, deleted).await?;
        }
    }
    Ok(())
}
