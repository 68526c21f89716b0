//! The calls about Spark jobs. Each is one route, but for the log, which is asked for until it is there.

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

/// A notebook that is run from top to bottom asks for the log right behind the submit: a job so young is waited for.
const YOUTH: Duration = Duration::from_secs(60);
/// Of a call's time, what is left for the last answer when its log is waited for.
const RESERVE: Duration = Duration::from_secs(3);

/// What was asked of a log.
#[derive(Clone, Debug)]
pub struct JobLog {
    /// As the job wrote it.
    pub bytes: Vec<u8>,
    /// Why it is empty, where that is worth a warning.
    pub nothing_because: Option<String>,
}

impl Client {
    /// Submits a job. The program, if it comes along, is read here and travels with the request.
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

    /// All jobs of a cluster, in the order of their submitting.
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

    /// The log of a job as it is, or its last lines. `wait`: for how long the job's end is waited for; when left out,
    /// until the job is a minute old. What is there when the time is over is given back; where that is nothing, and nobody
    /// said how long to wait, why.
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
                // It was deleted: its log is there.
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
            // Its end is waited for first, and nothing of it sent.
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

    /// Nothing was printed, and nobody sees why: the job may wait for others, or for ever. A job that has ended is silent,
    /// as programs may be; and the log was asked for, not this, so that an error here is none.
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

    /// What happened on a cluster, oldest first.
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

    /// Why a job is where it is.
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
    // It goes into the path, where nothing and dots would mean another route.
    match name.trim() {
        "" | "." | ".." => {
            let problem = format!("'{}' is not the name of a job: spark_jobs_list lists them", name.escape_debug());
            Err(Error::argument("job_name", problem))
        }
        name => Ok(JobRequest { cluster_id: cluster_id(cluster)?, job_name: name.to_owned() }),
    }
}

/// A program, as it travels.
fn read(path: &Path) -> Result<Pycode, Error> {
    let shown = path.display();
    let failed = |problem: String| Error::argument("pycode_file_path", format!("'{shown}': {problem}"));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| failed("it is no file".to_owned()))?;
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
            "it has {size} bytes, and at most {LARGEST_PYCODE} travel with a job: put it into the cluster's bucket, and \
             name it as manifest.main_app_file"
        )));
    }
    let content = std::fs::read(path).map_err(|problem| failed(problem.to_string()))?;
    let sha256 = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Pycode { name, sha256, content: STANDARD.encode(content) })
}
