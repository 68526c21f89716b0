//! The row of a cluster in the table `clusters`, and the statements that several methods share.

use mlplatform_protocol::{ClusterInfo, ClusterStatus, ErrorCode};
use mlplatform_runner::runner::ClusterRef;
use mlplatform_store::{Connection, FromRow, joined, query};
use serde_json::{Map, Value, json};

use super::phase::Phase;
use crate::{
    audit::{Event, Outcome},
    caller::Caller,
    error::{Error, Result},
    idempotency::Key,
    text::harmless,
    transaction::Transaction,
};

pub(crate) const MINUTE: i64 = 60 * 1_000_000;

/// A cluster, as the store has it.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Cluster {
    pub(crate) seq: i64,
    pub(crate) id: String,
    pub(crate) name: String,
    phase: String,
    phase_since: i64,
    status_reason: Option<String>,
    pub(crate) max_cores: i64,
    /// In bytes.
    pub(crate) max_memory: i64,
    /// The folder is [`DataDir::bucket`](crate::DataDir::bucket) of it.
    pub(crate) bucket: String,
    registry_id: String,
    info: String,
    pub(crate) last_active_at: i64,
    suspend_after_min: Option<i64>,
    pub(crate) delete_after_min: Option<i64>,
    /// Which cluster of Kubernetes it is, as JSON; `None`: it is this machine.
    pub(crate) kubernetes: Option<String>,
}

/// What of a cluster is read: all but the keys.
pub(crate) const SELECT: &str = "SELECT seq, id, name, phase, phase_since, status_reason, max_cores, max_memory, bucket, \
     registry_id, info, last_active_at, suspend_after_min, delete_after_min, kubernetes FROM clusters WHERE gone_at IS NULL";

impl Cluster {
    /// What it is doing; `None`: it is gone.
    pub(crate) fn status(&self, now: i64) -> Option<ClusterStatus> {
        // The CHECK of the table holds the others away.
        let phase = Phase::from_name(&self.phase).unwrap_or(Phase::Delete);
        phase.status(now.saturating_sub(self.phase_since))
    }

    /// As a runner knows it.
    pub(crate) fn cluster_ref(&self) -> ClusterRef {
        ClusterRef {
            id: self.id.clone(),
            name: self.name.clone(),
            bucket: self.bucket.clone(),
            kubernetes: self.kubernetes.clone(),
        }
    }

    /// Whether it was inactive for so long that it is to be suspended or deleted; `active`: when it was called last.
    pub(crate) fn is_inactive(&self, now: i64, active: Option<i64>) -> bool {
        let since = active.map_or(self.last_active_at, |active| active.max(self.last_active_at));
        let over = |minutes: Option<i64>| {
            minutes.is_some_and(|minutes| since.saturating_add(minutes.saturating_mul(MINUTE)) <= now)
        };
        over(self.delete_after_min) || (self.phase != Phase::Suspend.name() && over(self.suspend_after_min))
    }

    pub(crate) fn is_being_deleted(&self) -> bool {
        self.phase == Phase::Delete.name()
    }

    pub(crate) fn info(self, now: i64) -> Option<ClusterInfo> {
        let status = self.status(now)?;
        let info: Map<String, Value> = serde_json::from_str(&self.info).unwrap_or_default();
        Some(ClusterInfo {
            id: self.id,
            name: self.name,
            k8s_id: None,
            status: status.into(),
            status_reason: self.status_reason,
            info,
            s3_bucket_name: Some(self.bucket),
            docker_registry_id: self.registry_id,
            history_server_url: None,
            control_instance_id: None,
            inactive_min: now.saturating_sub(self.last_active_at).max(0) / MINUTE,
            suspend_after_inactive_min: self.suspend_after_min,
            delete_after_inactive_min: self.delete_after_min,
            max_cores: u32::try_from(self.max_cores).ok(),
            max_memory: u64::try_from(self.max_memory).ok(),
        })
    }
}

/// Starts a suspended cluster.
pub(crate) async fn wake(tx: &mut Transaction<'_>, id: &str, key: Option<&Key>) -> Result<()> {
    let now = tx.now().as_microsecond();
    query(
        "UPDATE clusters SET phase = 'start', phase_since = $1, status_reason = NULL, last_active_at = $2, \
         wake_key = $3 WHERE id = $4",
    )
    .bind(now)
    .bind(now.saturating_add(Phase::Start.length()))
    .bind(key.map(|key| &key.digest))
    .bind(id)
    .execute(tx.connection())
    .await?;
    Ok(())
}

pub(crate) async fn delete(tx: &mut Transaction<'_>, id: &str, reason: Option<&str>, key: Option<&Key>) -> Result<()> {
    let now = tx.now().as_microsecond();
    query("UPDATE clusters SET phase = 'delete', phase_since = $1, status_reason = $2, delete_key = $3 WHERE id = $4")
        .bind(now)
        .bind(reason)
        .bind(key.map(|key| &key.digest))
        .bind(id)
        .execute(tx.connection())
        .await?;
    query("DELETE FROM object_values WHERE object IN (SELECT seq FROM objects WHERE cluster_id = $1)")
        .bind(id)
        .execute(tx.connection())
        .await?;
    query("UPDATE objects SET deleted_at = $1 WHERE cluster_id = $2 AND deleted_at IS NULL")
        .bind(now)
        .bind(id)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// A cluster that is there.
pub(crate) async fn find(connection: &mut Connection, id: &str) -> Result<Option<Cluster>> {
    let cluster = joined(&[SELECT, " AND id = $1"]).bind(id).optional(connection);
    Ok(cluster.await?)
}

/// Whether a cluster that is there has that id or that name.
pub(crate) async fn exists(connection: &mut Connection, named: &str) -> Result<bool> {
    let found = query("SELECT EXISTS (SELECT 1 FROM clusters WHERE gone_at IS NULL AND (id = $1 OR name = $2))");
    Ok(found.bind(named).bind(named).scalar(connection).await?)
}

/// The cluster that a change is about; when there is none, the change ends with a refusal.
pub(crate) async fn wanted<'a>(
    mut tx: Transaction<'a>,
    action: &'static str,
    caller: &Caller,
    id: &str,
) -> Result<(Transaction<'a>, Cluster)> {
    let now = tx.now().as_microsecond();
    match find(tx.connection(), id).await? {
        Some(cluster) if cluster.status(now).is_some() => Ok((tx, cluster)),
        _ => {
            // Somebody may have pasted a token.
            let detail = json!({"reason": "unknown cluster", "id": harmless(id)});
            let event = event(action, caller, None, Outcome::Refused, detail);
            Err(tx.refuse(event, unknown(id)).await)
        }
    }
}

/// The refusal for an id that no cluster has.
pub(crate) fn unknown(id: &str) -> Error {
    let text = format!("there is no cluster with the id '{id}': get_clusters lists those there are");
    Error::refused(ErrorCode::NotFound, text)
}

pub(crate) fn event<'a>(
    action: &'static str,
    caller: &'a Caller,
    subject: Option<&'a str>,
    outcome: Outcome,
    detail: Value,
) -> Event<'a> {
    Event { action, actor: Some(caller.id()), subject, outcome, detail }
}
