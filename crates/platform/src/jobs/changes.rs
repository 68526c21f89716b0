//! Long polling for changes of jobs.
//!
//! One request tells what changed among all jobs of a cluster, so however many are waited for, a client needs one.
//!
//! The version of a cluster's jobs is the number of its last event: whatever changes a job notes an event in the same
//! transaction. So it outlives the server, and nothing is missed between two requests.
//!
//! The answer begins at once and its content comes later: a request that waits holds no place among those that are worked
//! on, and is gone as soon as its client is.

use std::{io, time::Duration};

use futures_util::future::BoxFuture;
use mlplatform_protocol::jobs::{JobChange, JobChanges, JobChangesRequest, LONGEST_LOG_WAIT_MS};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    form::{self, bad},
    lookup, row,
};
use crate::{app::App, error::Result};

/// Of how many events one answer tells.
const EVENTS: i64 = 1000;
/// Changes that come within this time are answered together; nobody asks the store more often.
const TOGETHER: Duration = Duration::from_millis(30);

/// `wait_for_spark_job`. Gives the future of the answer's JSON.
///
/// # Errors
/// When there is no such cluster, the request breaks a rule, or the store fails.
pub async fn wait_for_spark_job(
    app: &App,
    request: JobChangesRequest,
) -> Result<BoxFuture<'static, io::Result<Vec<u8>>>> {
    let wait = request.wait_ms.unwrap_or(0);
    if wait > LONGEST_LOG_WAIT_MS {
        return Err(bad(format!(
            "wait_ms: {wait} is longer than {LONGEST_LOG_WAIT_MS}: ask again with the new version"
        )));
    }
    let cluster = lookup::cluster(app, &request.cluster_id).await?.id;
    let newest = row::last_event(&mut app.read().await?, &cluster).await?;
    let since = match request.since {
        None => newest,
        Some(since) => i64::try_from(since).ok().filter(|since| *since <= newest).ok_or_else(|| {
            bad(format!("since: {since} lies behind the newest version, {newest}: ask without it, and begin anew"))
        })?,
    };
    let until = request.since.map(|_| Instant::now() + Duration::from_millis(wait));
    let app = app.clone();
    Ok(Box::pin(async move {
        let changes = match until {
            None => JobChanges { version: since.cast_unsigned(), jobs: Vec::new() },
            Some(until) => wait_for(&app, &cluster, since, until).await.map_err(io::Error::other)?,
        };
        serde_json::to_vec(&changes).map_err(io::Error::other)
    }))
}

async fn wait_for(app: &App, cluster: &str, since: i64, until: Instant) -> Result<JobChanges> {
    let mut changes = app.store().subscribe(row::TOPIC);
    loop {
        let changed = row::changed(&mut app.read().await?, cluster, since, EVENTS).await?;
        if !changed.is_empty() || app.is_stopping() || Instant::now() >= until {
            let version = changed.last().map_or(since, |changed| changed.event);
            let change = |changed: &row::Changed| JobChange {
                info: form::info(app, &changed.job),
                deleted: changed.job.deleted_at.is_some(),
            };
            let jobs = changed.iter().map(change).collect();
            return Ok(JobChanges { version: version.cast_unsigned(), jobs });
        }
        tokio::select! {
            () = changes.changed() => {}
            () = app.stopping() => {}
            () = sleep_until(until) => {}
        }
        sleep(TOGETHER).await;
    }
}
