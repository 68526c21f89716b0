//! Methods for Spark jobs. Each calls one route; `spark_job_logs` may repeat its request until the job has ended.

use std::{path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use mlplatform_protocol::{
    Explanation, JobDetail, JobEvent, JobInfo, Open,
    jobs::{
        JobLogsRequest, JobRequest, LARGEST_PYCODE, LONGEST_LOG_WAIT_MS, OfClusterRequest, Pycode, SubmitJobRequest,
    },
    routes::{
        DescribeSparkJob, SparkDeleteJob, SparkEvents, SparkJobExplain, SparkJobInfo, SparkJobLogs, SparkJobsList,
        SparkSubmitJob,
    },
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{
    client::Client,
    clusters::cluster_id,
    error::{Error, Kind},
    transport::Streamed,
    upload::OnSent,
};

/// The age up to which a log waits for its job: a notebook that runs all cells requests the log right after the submit.
const YOUTH: Duration = Duration::from_secs(60);
/// The part of the timeout that is reserved for the last answer when a log waits for its job.
const RESERVE: Duration = Duration::from_secs(3);

/// The requested log.
#[derive(Clone, Debug)]
pub struct JobLog {
    /// The bytes that the job wrote.
    pub bytes: Vec<u8>,
    /// Why the log is empty, if a warning is due.
    pub nothing_because: Option<String>,
}

impl Client {
    /// Submits a job. The program file, if there is one, is sent with the request; `on_sent` is called meanwhile.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn spark_submit_job(
        &self,
        cluster: &str,
        manifest: Value,
        pycode: Option<&Path>,
        timeout: Option<Duration>,
        on_sent: Option<OnSent>,
    ) -> Result<JobInfo, Error> {
        let deadline = self.deadline(timeout);
        let pycode = pycode.map(read).transpose()?;
        let request = SubmitJobRequest { cluster_id: cluster_id(cluster)?, manifest, pycode };
        self.upload::<SparkSubmitJob>(&request, deadline, on_sent).await
    }

    /// All jobs of a cluster, in the order of submission.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn spark_jobs_list(&self, cluster: &str, timeout: Option<Duration>) -> Result<Vec<JobInfo>, Error> {
        let cluster_id = cluster_id(cluster)?;
        let request = |page: mlplatform_protocol::PageRequest| OfClusterRequest {
            cluster_id: cluster_id.clone(),
            limit: page.limit,
            cursor: page.cursor,
        };
        self.call_pages::<SparkJobsList, _>(request, self.deadline(timeout)).await
    }

    /// A job and its driver.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn spark_job_info(
        &self,
        cluster: &str,
        job_name: &str,
        timeout: Option<Duration>,
    ) -> Result<JobDetail, Error> {
        self.call::<SparkJobInfo>(&job(cluster, job_name)?, self.deadline(timeout)).await
    }

    /// The current log of a job, or its last lines. `wait`: how long to wait for the end of the job; default: until the job is
    /// a minute old. If the log is empty then, and `wait` was not given, the reason is returned, too.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn spark_job_logs(
        &self,
        cluster: &str,
        job_name: &str,
        tail: Option<u64>,
        wait: Option<Duration>,
        timeout: Option<Duration>,
    ) -> Result<JobLog, Error> {
        let deadline = self.deadline(timeout);
        let named = job(cluster, job_name)?;
        let is_told = wait.is_none() && tail != Some(0);
        let wait = match wait {
            Some(wait) => wait,
            None => match self.call::<SparkJobInfo>(&named, deadline).await {
                Ok(job) if matches!(job.info.status, Open::Known(state) if state.is_final()) => Duration::ZERO,
                Ok(job) => YOUTH.saturating_sub(Duration::try_from_secs_f64(job.age).unwrap_or(YOUTH)),
                // The job was deleted; its log still exists.
                Err(error) if matches!(error.kind(), Kind::Refused(body) if body.status == 404) => Duration::ZERO,
                Err(error) => return Err(error),
            },
        };
        let until = Instant::now() + wait.min(deadline.left().saturating_sub(RESERVE));
        let part = |offset, tail, wait: Duration| {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(LONGEST_LOG_WAIT_MS).min(LONGEST_LOG_WAIT_MS);
            let JobRequest { cluster_id, job_name } = named.clone();
            JobLogsRequest { cluster_id, job_name, offset, tail, wait_ms: (wait_ms > 0).then_some(wait_ms) }
        };
        if tail.is_some() {
            // First wait for the end without reading anything.
            loop {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                let mut end = Streamed::default();
                self.stream::<SparkJobLogs>(|_| part(None, Some(0), left), deadline, &mut end).await?;
                if end.last {
                    break;
                }
            }
        }
        let mut log = Streamed::default();
        loop {
            let left = if tail.is_some() { Duration::ZERO } else { until.saturating_duration_since(Instant::now()) };
            let request = |offset: Option<u64>| match offset {
                None => part(None, tail, left),
                offset => part(offset, None, left),
            };
            self.stream::<SparkJobLogs>(request, deadline, &mut log).await?;
            if log.last || (left.is_zero() && !log.gap) {
                break;
            }
        }
        let nothing_because =
            if log.bytes.is_empty() && is_told { self.why_nothing(&named, timeout).await } else { None };
        Ok(JobLog { bytes: log.bytes, nothing_because })
    }

    /// Why a log is empty: the job may wait for capacity. `None` if the job has ended, because a program need not print
    /// anything. Errors are ignored: the caller requested the log, not this.
    async fn why_nothing(&self, job: &JobRequest, timeout: Option<Duration>) -> Option<String> {
        let told = self.call::<SparkJobExplain>(job, self.deadline(timeout)).await.ok()?;
        let over = matches!(told.status, Open::Known(state) if state.is_final());
        (!over).then(|| format!("the log of '{}' is empty so far. {}", job.job_name, told.sentence))
    }

    /// A job's SparkApplication with its state and events.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn describe_spark_job(
        &self,
        cluster: &str,
        job_name: &str,
        timeout: Option<Duration>,
    ) -> Result<Value, Error> {
        self.call::<DescribeSparkJob>(&job(cluster, job_name)?, self.deadline(timeout)).await
    }

    /// Ends and deletes a job.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn spark_delete_job(
        &self,
        cluster: &str,
        job_name: &str,
        timeout: Option<Duration>,
    ) -> Result<(), Error> {
        self.call::<SparkDeleteJob>(&job(cluster, job_name)?, self.deadline(timeout)).await
    }

    /// The events of a cluster, oldest first.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn spark_events(&self, cluster: &str, timeout: Option<Duration>) -> Result<Vec<JobEvent>, Error> {
        let cluster_id = cluster_id(cluster)?;
        let request = |page: mlplatform_protocol::PageRequest| OfClusterRequest {
            cluster_id: cluster_id.clone(),
            limit: page.limit,
            cursor: page.cursor,
        };
        self.call_pages::<SparkEvents, _>(request, self.deadline(timeout)).await
    }

    /// Why a job is in its state.
    ///
    /// # Errors
    /// See [`crate::Kind`].
    pub async fn spark_job_explain(
        &self,
        cluster: &str,
        job_name: &str,
        timeout: Option<Duration>,
    ) -> Result<Explanation, Error> {
        self.call::<SparkJobExplain>(&job(cluster, job_name)?, self.deadline(timeout)).await
    }
}

pub(crate) fn job(cluster: &str, name: &str) -> Result<JobRequest, Error> {
    // In a path, an empty segment or dots would select another route.
    match name.trim() {
        "" | "." | ".." => {
            let problem =
                format!("'{}' is not the name of a job: spark_jobs_list returns the names", name.escape_debug());
            Err(Error::argument("job_name", problem))
        }
        name => Ok(JobRequest { cluster_id: cluster_id(cluster)?, job_name: name.to_owned() }),
    }
}

/// Reads a program file for the request.
fn read(path: &Path) -> Result<Pycode, Error> {
    let shown = path.display();
    let failed = |problem: String| Error::argument("pycode_file_path", format!("'{shown}': {problem}"));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| failed("it is not a file".to_owned()))?;
    let missing = |problem: std::io::Error| match (problem.kind(), std::env::current_dir()) {
        (std::io::ErrorKind::NotFound, Ok(folder)) if path.is_relative() => {
            failed(format!("there is no such file; it was looked for in '{}'", folder.display()))
        }
        (std::io::ErrorKind::NotFound, _) => failed("there is no such file".to_owned()),
        _ => failed(problem.to_string()),
    };
    let size = std::fs::metadata(path).map_err(missing)?.len();
    if size > LARGEST_PYCODE as u64 {
        return Err(failed(format!(
            "it has {size} bytes, and the limit is {LARGEST_PYCODE}: put it into the cluster's bucket, and set \
             manifest.main_app_file"
        )));
    }
    let content = std::fs::read(path).map_err(|problem| failed(problem.to_string()))?;
    let sha256 = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Pycode { name, sha256, content: STANDARD.encode(content) })
}
