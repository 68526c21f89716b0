//! Looking up the job and the cluster that a request names.

use mlplatform_protocol::{ErrorCode, jobs::JobRequest};
use mlplatform_store::Connection;

use super::row::{self, JobRow};
use crate::{
    app::App,
    clusters::{self, inactivity::settle, row::Cluster},
    error::{Error, Result},
};

/// A cluster that is there.
pub(crate) async fn cluster(app: &App, id: &str) -> Result<Cluster> {
    settle(app).await?;
    let now = app.clock().now().as_microsecond();
    let found = clusters::row::find(&mut app.read().await?, id).await?;
    found.filter(|cluster| cluster.status(now).is_some()).ok_or_else(|| clusters::row::unknown(id))
}

pub(crate) async fn living(app: &App, request: &JobRequest) -> Result<(Cluster, JobRow)> {
    let cluster = cluster(app, &request.cluster_id).await?;
    let job = row::living(&mut app.read().await?, &cluster.id, &request.job_name).await?;
    job.map(|job| (cluster, job)).ok_or_else(|| unknown(&request.job_name))
}

/// The job that has the name, or had it last.
pub(crate) async fn last(app: &App, request: &JobRequest) -> Result<JobRow> {
    let mut connection = app.read().await?;
    last_in(&mut connection, &request.cluster_id, &request.job_name).await
}

pub(crate) async fn last_in(connection: &mut Connection, cluster: &str, name: &str) -> Result<JobRow> {
    row::last(connection, cluster, name).await?.ok_or_else(|| unknown(name))
}

pub(crate) fn unknown(name: &str) -> Error {
    let text = format!("there is no job named '{name}' in this cluster: spark_jobs_list lists those there are");
    Error::refused(ErrorCode::NotFound, text)
}
