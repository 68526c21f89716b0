//! The view of a job for its page: what the API tells by several verbs, read at one time.

use mlplatform_protocol::{Explanation, JobDetail, JobEvent, Timestamp, jobs::JobRequest};
use mlplatform_runner::{
    plan::Pod,
    quantity::{cores_text, memory_text},
};

use super::{
    form,
    logs::{self, LogEnd},
    lookup,
    supervisor::plan_of,
    verbs,
};
use crate::{app::App, clock::timestamp, error::Result};

/// How much of a log's end is shown: a few screens.
const SHOWN: u64 = 64 * 1024;

/// What a manifest asks for.
pub struct Pods {
    /// How many of them.
    pub count: u64,
    /// Of each.
    pub cores: String,
    /// Of each.
    pub memory: String,
}

impl Pods {
    fn of(pod: &Pod, count: u64) -> Self {
        Self { count, cores: cores_text(pod.millicores), memory: memory_text(pod.memory_mib) }
    }
}

/// A job, from its submit to now.
pub struct JobStory {
    /// State and attempts.
    pub detail: JobDetail,
    /// The cluster's name.
    pub cluster: String,
    /// How often it was started.
    pub runs: i64,
    /// When its last run began.
    pub started_at: Option<Timestamp>,
    /// When its last run ended.
    pub ended_at: Option<Timestamp>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
    /// Nothing will change any more.
    pub is_over: bool,
    /// The driver's name.
    pub pod: String,
    /// `None`: the manifest cannot be read.
    pub driver: Option<Pods>,
    /// `None`: the manifest asks for none, or cannot be read.
    pub executors: Option<Pods>,
    /// Its newest events, the oldest first.
    pub events: Vec<JobEvent>,
    /// Why its state is what it is.
    pub explanation: Explanation,
    /// The end of its log.
    pub log: LogEnd,
}

/// The job that has the name, or had it last.
///
/// # Errors
/// When there never was such a job, or the store fails.
pub async fn job_story(app: &App, request: &JobRequest) -> Result<JobStory> {
    let cluster = lookup::cluster(app, &request.cluster_id).await?;
    let job = lookup::last(app, request).await?;
    let events = verbs::events(app, &job).await?;
    let explanation = verbs::explain(app, &cluster, &job, &events).await?;
    let mut log = logs::end_of(app, &job.job_ref(), 0, SHOWN).await?;
    // A line that is cut is left out, unless it is the only one.
    if log.from > 0
        && let Some(line) = log.bytes.iter().position(|byte| *byte == b'\n')
        && line.saturating_add(1) < log.bytes.len()
    {
        log.from += log.bytes.drain(..=line).len() as u64;
    }
    let plan = plan_of(&job).ok();
    Ok(JobStory {
        detail: form::detail(app, &job),
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
