//! Idle clusters: when a cluster on which no job runs is suspended, and when it is deleted.
//!
//! Nothing is scheduled. [`settle`] looks which times have come; every request about clusters begins with it, so that
//! what is answered is what holds, and a task of the server repeats it for when nobody asks.

use mlplatform_protocol::{
    ClusterInfo, ErrorCode, Minutes,
    clusters::{ClusterRequest, ClusterTimeRequest},
};
use mlplatform_store::{Connection, joined, query};
use serde_json::json;

use super::{
    phase::Phase,
    row::{Cluster, MINUTE, SELECT, delete, event, find, wanted},
};
use crate::{
    app::App,
    audit::{Event, Outcome},
    caller::Caller,
    error::{Error, Result, causes},
    jobs::row::KEEPS_ACTIVE,
    request::RequestContext,
};

/// Does what has become due: suspends and deletes clusters that were inactive for long enough, and lets go of the names
/// of those that are gone. Most of the time it is one look at a handful of rows.
///
/// # Errors
/// When the store fails.
pub async fn settle(app: &App) -> Result<()> {
    let now = app.clock().now().as_microsecond();
    if due(app, &mut app.read().await?, now).await?.is_empty() {
        return Ok(());
    }
    let context = RequestContext::local();
    let mut tx = app.begin(&context).await?;
    let now = tx.now().as_microsecond();
    let mut gone = Vec::new();
    // Again, now that nobody else can change them.
    for cluster in due(app, tx.connection(), now).await? {
        let minutes = now.saturating_sub(cluster.last_active_at) / MINUTE;
        let reason = format!("{minutes} minutes without a job");
        let action = if cluster.is_being_deleted() {
            query("UPDATE clusters SET gone_at = $1 WHERE id = $2")
                .bind(now)
                .bind(&cluster.id)
                .execute(tx.connection())
                .await?;
            gone.push(cluster.cluster_ref());
            continue;
        } else if cluster.delete_after_min.is_some_and(|after| minutes >= after) {
            delete(&mut tx, &cluster.id, Some(&reason), None).await?;
            "delete_inactive_cluster"
        } else {
            query("UPDATE clusters SET phase = 'suspend', phase_since = $1, status_reason = $2 WHERE id = $3")
                .bind(now)
                .bind(&reason)
                .bind(&cluster.id)
                .execute(tx.connection())
                .await?;
            "suspend_inactive_cluster"
        };
        let detail = json!({"name": cluster.name, "reason": reason});
        let subject = Some(cluster.id.as_str());
        tx.record(Event { action, actor: None, subject, outcome: Outcome::Done, detail }).await?;
    }
    tx.commit().await?;
    for cluster in gone {
        if let Err(error) = app.jobs().runner().remove(&cluster).await {
            tracing::warn!(
                "what the cluster '{}' needed cannot be removed: {error}: {:?}",
                cluster.name,
                causes(&error)
            );
        }
    }
    Ok(())
}

/// The clusters for which a time has come. `last_active_at` lies ahead while one is on its way to running.
async fn due(app: &App, connection: &mut Connection, now: i64) -> Result<Vec<Cluster>> {
    let mut rows: Vec<Cluster> = joined(&[
        SELECT,
        " AND (phase = 'delete' OR NOT ",
        KEEPS_ACTIVE,
        ") AND CASE phase WHEN 'delete' THEN phase_since <= $1 ELSE last_active_at + delete_after_min * 60000000 <= $2 OR (phase <> 'suspend' AND last_active_at + suspend_after_min * 60000000 <= $3) END",
    ])
    .bind(now.saturating_sub(Phase::Delete.length()))
    .bind(now)
    .bind(now)
    .all(connection)
    .await?;
    // The store is told of calls of Spark Connect a little later.
    rows.retain(|cluster| {
        let active = app.connect().last_active(&cluster.id, now);
        cluster.is_being_deleted() || active.is_none() || cluster.is_inactive(now, active)
    });
    Ok(rows)
}

/// What happens to an inactive cluster.
#[derive(Clone, Copy, Debug)]
enum InactivityAction {
    Suspend,
    Delete,
}

/// `set_cluster_delete_time`.
///
/// # Errors
/// When there is no such cluster, it is being deleted, or the store fails.
pub async fn set_cluster_delete_time(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    request: ClusterTimeRequest,
) -> Result<ClusterInfo> {
    let action = "set_cluster_delete_time";
    set_time(app, context, caller, action, InactivityAction::Delete, &request.cluster_id, Some(request.minutes)).await
}

/// `remove_cluster_delete_time`.
///
/// # Errors
/// As [`set_cluster_delete_time`].
pub async fn remove_cluster_delete_time(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    request: ClusterRequest,
) -> Result<ClusterInfo> {
    set_time(app, context, caller, "remove_cluster_delete_time", InactivityAction::Delete, &request.cluster_id, None)
        .await
}

/// `set_cluster_suspend_time`.
///
/// # Errors
/// As [`set_cluster_delete_time`].
pub async fn set_cluster_suspend_time(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    request: ClusterTimeRequest,
) -> Result<ClusterInfo> {
    let action = "set_cluster_suspend_time";
    set_time(app, context, caller, action, InactivityAction::Suspend, &request.cluster_id, Some(request.minutes)).await
}

/// `remove_cluster_suspend_time`.
///
/// # Errors
/// As [`set_cluster_delete_time`].
pub async fn remove_cluster_suspend_time(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    request: ClusterRequest,
) -> Result<ClusterInfo> {
    set_time(app, context, caller, "remove_cluster_suspend_time", InactivityAction::Suspend, &request.cluster_id, None)
        .await
}

async fn set_time(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    action: &'static str,
    then: InactivityAction,
    id: &str,
    minutes: Option<Minutes>,
) -> Result<ClusterInfo> {
    settle(app).await?;
    let (mut tx, cluster) = wanted(app.begin_as(context, caller).await?, action, caller, id).await?;
    if cluster.is_being_deleted() {
        let event = event(action, caller, Some(id), Outcome::Refused, json!({"reason": "being deleted"}));
        let text = format!("the cluster '{}' is being deleted: nothing can be set for it any more", cluster.name);
        return Err(tx.refuse(event, Error::refused(ErrorCode::Conflict, text)).await);
    }
    let statement = match then {
        InactivityAction::Suspend => "UPDATE clusters SET suspend_after_min = $1 WHERE id = $2",
        InactivityAction::Delete => "UPDATE clusters SET delete_after_min = $1 WHERE id = $2",
    };
    let minutes = minutes.map(Minutes::get);
    query(statement).bind(minutes).bind(id).execute(tx.connection()).await?;
    tx.record(event(action, caller, Some(id), Outcome::Done, json!({"minutes": minutes}))).await?;
    let now = tx.now().as_microsecond();
    let cluster = find(tx.connection(), id).await?.and_then(|cluster| cluster.info(now));
    tx.commit().await?;
    cluster.ok_or(Error::Fault("a cluster went away in the middle of its change"))
}
