//! What a run is doing, from what is seen and what is remembered of it.

use std::sync::Arc;

use mlplatform_runner::{
    runner::{RunId, RunState, RunStatus, RunnerError},
    termination::Termination,
};

use crate::{
    names,
    shared::Shared,
    view::{ApplicationView, PodView},
};

pub(crate) async fn status(shared: &Arc<Shared>, run: &RunId) -> Result<RunStatus, RunnerError> {
    let job = &run.job.id;
    let record = shared.record(job, run.number).await?;
    if let Some((record, end)) = record.as_ref().and_then(|record| Some((record, record.end.clone()?))) {
        let (started_at, attempts) = (record.started_at, record.attempts);
        return Ok(RunStatus { state: RunState::Ended(end), started_at, attempts });
    }
    let (seen, is_stopping) = {
        let jobs = shared.jobs();
        let job = jobs.get(job);
        (job.and_then(|job| job.application.clone()), job.is_some_and(|job| job.is_stopping))
    };
    let without = |state| RunStatus { state, started_at: None, attempts: None };
    if is_stopping {
        return Ok(without(RunState::Running));
    }
    let seen = match seen.filter(|seen| seen.run == run.number) {
        Some(seen) => Some(seen),
        // The watch may be behind.
        None => shared.find_application(job).await?.filter(|seen| seen.run == run.number),
    };
    match seen {
        Some(application) => of_application(shared, &application).await,
        None if record.is_some() => {
            let name = names::application(job);
            Ok(without(RunState::Lost(format!("its SparkApplication '{name}' was deleted in Kubernetes"))))
        }
        None => Ok(without(RunState::NotStarted)),
    }
}

async fn of_application(shared: &Arc<Shared>, seen: &ApplicationView) -> Result<RunStatus, RunnerError> {
    let driver = driver_of(shared, seen);
    let started_at = driver.as_ref().and_then(|driver| driver.started_at);
    let attempts = Some(seen.attempts);
    let state = if seen.is_final() {
        if !is_log_complete(shared, seen).await? {
            return Ok(RunStatus { state: RunState::Running, started_at, attempts });
        }
        // It may have been seen only now.
        let driver = driver_of(shared, seen);
        let started_at = driver.as_ref().and_then(|driver| driver.started_at);
        let end = end_of(seen, driver.as_ref());
        shared.note_end(seen, started_at, &end).await?;
        return Ok(RunStatus { state: RunState::Ended(end), started_at, attempts });
    } else if seen.state == "PENDING_RERUN" {
        RunState::Restarting(end_of(seen, driver.as_ref()))
    } else if seen.has_ended() || seen.state == "RUNNING" {
        RunState::Running
    } else {
        RunState::Pending(driver.and_then(|driver| driver.waits_for).or_else(|| seen.error.clone()))
    };
    Ok(RunStatus { state, started_at, attempts })
}

pub(crate) fn driver_of(shared: &Shared, seen: &ApplicationView) -> Option<PodView> {
    shared.jobs().get(&seen.job).and_then(|job| job.driver(seen.submission.as_deref())).cloned()
}

/// How the last attempt ended: as its pod tells, which knows more, where the operator does not say otherwise.
fn end_of(seen: &ApplicationView, driver: Option<&PodView>) -> Termination {
    if seen.attempts == 0 && seen.state == "FAILED" {
        let error = seen.error.as_deref().unwrap_or("the operator does not say why");
        return Termination::problem(&format!("the operator could not submit it: {error}"));
    }
    let told = seen.termination();
    match driver.and_then(|driver| driver.end.clone()) {
        Some(end) if end.is_success() == told.is_success() => end,
        _ => told,
    }
}

/// Whether all is kept that its last attempt printed. The end of a run is told after its log.
async fn is_log_complete(shared: &Arc<Shared>, seen: &ApplicationView) -> Result<bool, RunnerError> {
    let (Some(attempt), Some(_)) = (&seen.submission, &seen.driver) else { return Ok(true) };
    let known = shared.logs.is_complete(&seen.job, attempt).await;
    if let Some(is_complete) = known.map_err(RunnerError::transient("reading how far a log is kept"))? {
        return Ok(is_complete);
    }
    let pods = shared.find_pods(&seen.job).await?;
    if !pods.iter().any(|pod| pod.is_driver && pod.attempt == *attempt) {
        shared.logs.give_up(&seen.job, attempt);
        return Ok(true);
    }
    Ok(false)
}
