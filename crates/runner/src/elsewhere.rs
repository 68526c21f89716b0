//! The runner of a server that runs no jobs, beside one that does on its own machine: there the programs and the logs are.

use std::{
    future::{pending, ready},
    time::Duration,
};

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::{
    runner::{
        Answer, ClusterRef, JobRef, KnownJobs, LogChunk, PreparedRun, Run, RunId, RunStatus, Runner, RunnerError,
        RunnerEvent,
    },
    values::Values,
};

/// Says of everything that it is not here.
#[derive(Clone, Copy, Debug)]
pub struct Elsewhere;

fn elsewhere<'a, T: Send + 'a>() -> Answer<'a, T> {
    Box::pin(ready(Err(RunnerError::Elsewhere)))
}

fn nothing<'a, T: Default + Send + 'a>() -> Answer<'a, T> {
    Box::pin(ready(Ok(T::default())))
}

impl Runner for Elsewhere {
    fn restarts_jobs(&self, _: &str) -> bool {
        false
    }

    fn work(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(pending())
    }

    /// Whoever starts a run makes what its cluster lacks.
    fn ensure<'a>(&'a self, _: &'a ClusterRef) -> Answer<'a, ()> {
        nothing()
    }

    fn remove<'a>(&'a self, _: &'a ClusterRef) -> Answer<'a, ()> {
        nothing()
    }

    fn reconcile(&self, _: KnownJobs) -> Answer<'_, ()> {
        nothing()
    }

    fn upload<'a>(&'a self, _: &'a ClusterRef, _: &'a str, _: &'a str, _: Vec<u8>) -> Answer<'a, String> {
        elsewhere()
    }

    fn remove_upload(&self, _: &ClusterRef, _: &str) {}

    fn check<'a>(&'a self, _: Run<'a>, _: &'a Values) -> Answer<'a, Vec<String>> {
        elsewhere()
    }

    fn ready<'a>(&'a self, _: &'a ClusterRef) -> Answer<'a, ()> {
        elsewhere()
    }

    fn prepare<'a>(&'a self, _: Run<'a>, _: &'a Values) -> Answer<'a, PreparedRun<'a>> {
        elsewhere()
    }

    fn status<'a>(&'a self, _: &'a [RunId]) -> Answer<'a, Vec<RunStatus>> {
        elsewhere()
    }

    fn stop<'a>(&'a self, _: &'a RunId, _: Duration) -> Answer<'a, ()> {
        elsewhere()
    }

    fn forget<'a>(&'a self, _: &'a RunId) -> Answer<'a, ()> {
        elsewhere()
    }

    /// What a job has left goes when the other one reconciles.
    fn clean_up<'a>(&'a self, _: &'a JobRef, _: bool) -> Answer<'a, ()> {
        nothing()
    }

    fn log<'a>(&'a self, _: &'a JobRef, _: u64, _: usize) -> Answer<'a, Option<LogChunk>> {
        elsewhere()
    }

    fn limit_logs(&self, _: Vec<(JobRef, bool)>) -> Answer<'_, Vec<(JobRef, RunnerEvent)>> {
        nothing()
    }

    fn events<'a>(&'a self, _: &'a JobRef, _: Option<&'a str>) -> Answer<'a, Vec<RunnerEvent>> {
        nothing()
    }

    fn describe<'a>(&'a self, _: &'a JobRef) -> Answer<'a, Option<Value>> {
        nothing()
    }

    fn with_user_paths(&self, _: &JobRef, text: String) -> String {
        text
    }
}
