//! The view of a job for its page: what the API tells by several verbs, read at one time.

use mlplatform_protocol::{Explanation, JobDetail, JobEvent, Timestamp, jobs::JobRequest};
use mlplatform_runner::{
    plan::Pod,
    quantity::{cores_text, memory_text},
};

use super::{
    job_form,
    job_logs::{self, LogEnd},
    job_supervisor::plan_of,
    jobs,
};
use crate::{Result, app::App, clock::timestamp};

/// How much of a log's end is shown: a few screens.
const SHOWN: u64 = 64 * 1024;

/// What a manifest asks for.
pub(crate) struct Pods {
    pub(crate) count: u64,
    /// Of each.
    pub(crate) cores: String,
    pub(crate) memory: String,
}

impl Pods {
    fn of(pod: &Pod, count: u64) -> Self {
        Self { count, cores: cores_text(pod.millicores), memory: memory_text(pod.memory_mib) }
    }
}

/// A job, from its submit to now.
pub(crate) struct JobStory {
    pub(crate) detail: JobDetail,
    /// The cluster's name.
    pub(crate) cluster: String,
    pub(crate) runs: i64,
    /// When its last run began.
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) deleted_at: Option<Timestamp>,
    /// Nothing will change any more.
    pub(crate) is_over: bool,
    /// The driver's name.
    pub(crate) pod: String,
    /// `None`: the manifest cannot be read.
    pub(crate) driver: Option<Pods>,
    pub(crate) executors: Option<Pods>,
    pub(crate) events: Vec<JobEvent>,
    pub(crate) explanation: Explanation,
    pub(crate) log: LogEnd,
}

/// The job that has the name, or had it last.
///
/// # Errors
/// When there never was such a job, or the store fails.
pub(crate) async fn job_story(app: &App, request: &JobRequest) -> Result<JobStory> {
    let cluster = jobs::cluster(app, &request.cluster_id).await?;
    let job = jobs::last(app, request).await?;
    let events = jobs::events(app, &job).await?;
    let explanation = jobs::explain(app, &cluster, &job, &events).await?;
    let mut log = job_logs::end_of(app, &job.job_ref(), 0, SHOWN).await?;
    // A line that is cut is left out, unless it is the only one.
    if log.from > 0
        && let Some(line) = log.bytes.iter().position(|byte| *byte == b'\n')
        && line.saturating_add(1) < log.bytes.len()
    {
        log.from += log.bytes.drain(..=line).len() as u64;
    }
    let plan = plan_of(&job).ok();
    Ok(JobStory {
        detail: job_form::detail(app, &job),
        cluster: cluster.name,
        runs: job.runs,
        started_at: job.started_at.map(timestamp),
        ended_at: job.ended_at.filter(|_| !job.alive).map(timestamp),
        deleted_at: job.deleted_at.map(timestamp),
        is_over: job.is_over(),
        pod: job.pod(),
        driver: plan.as_ref().map(|plan| Pods::of(&plan.driver, 1)),
        executors: plan.as_ref().map(|plan| Pods::of(&plan.executor, plan.instances)),
        events,
        explanation,
        log,
    })
}
