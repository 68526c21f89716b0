//! The methods on clusters: list, create, delete, wake up. A cluster has a capacity, a bucket, and times after which it
//! is suspended or deleted when no job runs.
//!
//! Their states follow from the time alone ([`phase`](super::phase)); what happens when no job runs is in
//! [`inactivity`](super::inactivity).

use mlplatform_protocol::{
    ClusterInfo, ClusterStatus, ErrorCode, Minutes, Page, PageRequest,
    clusters::{ClusterRequest, CreateClusterRequest, NodesUsage},
};
use mlplatform_runner::runner::ClusterRef;
use mlplatform_store::{joined, query};
use serde_json::json;

use super::{
    form::{self, Capacity},
    inactivity::settle,
    phase::Phase,
    row::{Cluster, SELECT, delete, event, find, unknown, wake, wanted},
};
use crate::{
    app::App,
    audit::{Event, Outcome},
    caller::Caller,
    error::{Error, Result},
    idempotency::Key,
    page::Window,
    request::RequestContext,
    s3_secret,
    secret::uuid,
    transaction::Transaction,
};

/// The cluster of a new platform.
pub const LOCAL: &str = "local";

/// Makes the first cluster, unless one was ever made.
///
/// # Errors
/// When the store fails, or its bucket cannot be made.
pub async fn bootstrap(app: &App) -> Result<()> {
    let context = RequestContext::local();
    let mut tx = app.begin(&context).await?;
    let any: bool = query("SELECT EXISTS (SELECT 1 FROM clusters)").scalar(tx.connection()).await?;
    if any {
        return Ok(());
    }
    let id = insert(app, &mut tx, NewCluster::running(LOCAL, Capacity::default())).await?;
    added(&mut tx, &id, LOCAL).await?;
    tx.commit().await
}

/// Makes a running cluster of that capacity, for a command on the machine; `kubernetes`: which one of Kubernetes it is, as
/// its runner reads it.
///
/// # Errors
/// When the name breaks its rule or is taken, or the store fails.
pub async fn add(app: &App, name: &str, capacity: Capacity, kubernetes: Option<String>) -> Result<ClusterInfo> {
    form::check_name(name)?;
    settle(app).await?;
    let context = RequestContext::local();
    let mut tx = app.begin(&context).await?;
    let now = tx.now().as_microsecond();
    if name_is_taken(&mut tx, name).await? {
        return Err(name_taken(name));
    }
    let id = insert(app, &mut tx, NewCluster { kubernetes, ..NewCluster::running(name, capacity) }).await?;
    added(&mut tx, &id, name).await?;
    let cluster = find(tx.connection(), &id).await?.and_then(|cluster| cluster.info(now));
    tx.commit().await?;
    cluster.ok_or(Error::Fault("a new cluster is not there"))
}

/// Which cluster of Kubernetes the cluster of that name is, as its runner reads it; `None`: it is this machine.
///
/// # Errors
/// When no cluster has that name, or the store fails.
pub async fn kubernetes_of(app: &App, name: &str) -> Result<Option<String>> {
    let found: Option<Option<String>> = query("SELECT kubernetes FROM clusters WHERE name = $1 AND gone_at IS NULL")
        .bind(name)
        .optional_scalar(&mut app.read().await?)
        .await?;
    found.ok_or_else(|| {
        let text = format!("no cluster is named '{name}': `mlplatform-server cluster list` lists those there are");
        Error::refused(ErrorCode::NotFound, text)
    })
}

async fn added(tx: &mut Transaction<'_>, id: &str, name: &str) -> Result<()> {
    let detail = json!({"name": name, "secret": s3_secret::NAME});
    tx.record(Event { action: "add_cluster", actor: None, subject: Some(id), outcome: Outcome::Done, detail }).await
}

/// `get_clusters`, in the order of their making.
///
/// # Errors
/// When the page asked for is none, or the store fails.
pub async fn get_clusters(app: &App, request: PageRequest) -> Result<Page<ClusterInfo>> {
    let window = Window::read(&request)?;
    settle(app).await?;
    let now = app.clock().now().as_microsecond();
    let rows: Vec<Cluster> = joined(&[SELECT, " AND seq > $1 ORDER BY seq LIMIT $2"])
        .bind(window.after)
        .bind(window.rows())
        .all(&mut app.read().await?)
        .await?;
    let page: Page<Cluster> = window.page(rows, |row| row.seq);
    let items = page.items.into_iter().filter_map(|cluster| cluster.info(now)).collect();
    Ok(Page { items, next_cursor: page.next_cursor })
}

/// `get_cluster_info`.
///
/// # Errors
/// When there is no such cluster, or the store fails.
pub async fn get_cluster_info(app: &App, request: ClusterRequest) -> Result<ClusterInfo> {
    settle(app).await?;
    let now = app.clock().now().as_microsecond();
    let cluster = find(&mut app.read().await?, &request.cluster_id).await?;
    cluster.and_then(|cluster| cluster.info(now)).ok_or_else(|| unknown(&request.cluster_id))
}

/// `top_nodes_info`.
///
/// # Errors
/// When there is no such cluster, or the runner cannot say.
pub async fn top_nodes_info(app: &App, request: ClusterRequest) -> Result<NodesUsage> {
    settle(app).await?;
    let now = app.clock().now().as_microsecond();
    let cluster = find(&mut app.read().await?, &request.cluster_id).await?;
    let cluster = cluster.filter(|cluster| cluster.status(now).is_some());
    let cluster = cluster.ok_or_else(|| unknown(&request.cluster_id))?;
    Ok(NodesUsage { nodes: app.jobs().runner().nodes(&cluster.cluster_ref()).await? })
}

/// `create_cluster`. It answers at once; the cluster runs a little later.
///
/// # Errors
/// When a field breaks its rule, the name is taken, or the store fails.
pub async fn create_cluster(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    key: Option<&Key>,
    request: CreateClusterRequest,
) -> Result<ClusterInfo> {
    const ACTION: &str = "create_cluster";
    let name = request.name.clone();
    form::check_name(&name)?;
    let spec = form::spec(&request)?;
    let (suspend_after, delete_after) = form::times(&spec)?;
    let info = serde_json::to_string(&request).map_err(|_| Error::Fault("a cluster's body cannot be written"))?;
    settle(app).await?;
    let mut tx = app.begin_as(context, caller).await?;
    let now = tx.now().as_microsecond();
    if let Some(key) = key {
        let made: Option<(String, String)> =
            query("SELECT id, info FROM clusters WHERE created_by = $1 AND create_key = $2")
                .bind(caller.id())
                .bind(&key.digest)
                .optional(tx.connection())
                .await?;
        if let Some((id, made)) = made {
            let same = find(tx.connection(), &id).await?.filter(|_| made == info).and_then(|c| c.info(now));
            let text = "this Idempotency-Key made another cluster, or one that is gone: send a new key";
            return same.ok_or_else(|| Error::refused(ErrorCode::Conflict, text));
        }
    }
    if name_is_taken(&mut tx, &name).await? {
        let event = event(ACTION, caller, None, Outcome::Refused, json!({"reason": "name taken", "name": name}));
        return Err(tx.refuse(event, name_taken(&name)).await);
    }
    let new = NewCluster {
        name: &name,
        phase: Phase::Create,
        capacity: Capacity::default(),
        registry: spec.registry.and_then(|registry| registry.existing_registry_id),
        info,
        suspend_after,
        delete_after,
        by: Some((caller.id(), key)),
        kubernetes: None,
    };
    let id = insert(app, &mut tx, new).await?;
    let detail = json!({"name": name, "secret": s3_secret::NAME});
    tx.record(event(ACTION, caller, Some(&id), Outcome::Done, detail)).await?;
    let cluster = find(tx.connection(), &id).await?.and_then(|cluster| cluster.info(now));
    tx.commit().await?;
    cluster.ok_or(Error::Fault("a new cluster is not there"))
}

/// `delete_cluster`: its secrets and config maps end at once, its bucket's files stay.
///
/// # Errors
/// When there is no such cluster, or the store fails.
pub async fn delete_cluster(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    key: Option<&Key>,
    request: ClusterRequest,
) -> Result<()> {
    const ACTION: &str = "delete_cluster";
    settle(app).await?;
    let mut tx = app.begin_as(context, caller).await?;
    if let Some(key) = key {
        // Of one that is gone by now, too.
        let done: bool = query("SELECT EXISTS (SELECT 1 FROM clusters WHERE id = $1 AND delete_key = $2)")
            .bind(&request.cluster_id)
            .bind(&key.digest)
            .scalar(tx.connection())
            .await?;
        if done {
            return Ok(());
        }
    }
    let (mut tx, cluster) = wanted(tx, ACTION, caller, &request.cluster_id).await?;
    if cluster.is_being_deleted() {
        return Ok(());
    }
    delete(&mut tx, &cluster.id, None, key).await?;
    tx.record(event(ACTION, caller, Some(&cluster.id), Outcome::Done, json!({"name": cluster.name}))).await?;
    tx.commit().await
}

/// `wake_up_cluster`: starts a suspended cluster.
///
/// # Errors
/// When there is no such cluster, it is not `SHUTOFF`, or the store fails.
pub async fn wake_up_cluster(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    key: Option<&Key>,
    request: ClusterRequest,
) -> Result<()> {
    const ACTION: &str = "wake_up_cluster";
    settle(app).await?;
    let mut tx = app.begin_as(context, caller).await?;
    if let Some(key) = key {
        let done: bool = query("SELECT EXISTS (SELECT 1 FROM clusters WHERE id = $1 AND wake_key = $2)")
            .bind(&request.cluster_id)
            .bind(&key.digest)
            .scalar(tx.connection())
            .await?;
        if done {
            return Ok(());
        }
    }
    let (mut tx, cluster) = wanted(tx, ACTION, caller, &request.cluster_id).await?;
    let status = cluster.status(tx.now().as_microsecond()).map_or("gone", ClusterStatus::name);
    if status != ClusterStatus::Shutoff.name() {
        let event = event(ACTION, caller, Some(&cluster.id), Outcome::Refused, json!({"reason": status}));
        let text = format!("the cluster '{}' is {status}: only one that is SHUTOFF can be woken up", cluster.name);
        return Err(tx.refuse(event, Error::refused(ErrorCode::Conflict, text)).await);
    }
    wake(&mut tx, &cluster.id, key).await?;
    tx.record(event(ACTION, caller, Some(&cluster.id), Outcome::Done, json!({"name": cluster.name}))).await?;
    tx.commit().await
}

async fn name_is_taken(tx: &mut Transaction<'_>, name: &str) -> Result<bool> {
    let taken = query("SELECT EXISTS (SELECT 1 FROM clusters WHERE name = $1 AND gone_at IS NULL)")
        .bind(name)
        .scalar(tx.connection())
        .await?;
    Ok(taken)
}

fn name_taken(name: &str) -> Error {
    let text = format!("a cluster is named '{name}': delete it first (delete_cluster), or give another name");
    Error::refused(ErrorCode::Conflict, text)
}

/// What a new cluster is made of.
struct NewCluster<'a> {
    name: &'a str,
    phase: Phase,
    capacity: Capacity,
    registry: Option<String>,
    info: String,
    suspend_after: Option<Minutes>,
    delete_after: Option<Minutes>,
    by: Option<(&'a str, Option<&'a Key>)>,
    kubernetes: Option<String>,
}

impl<'a> NewCluster<'a> {
    /// One that is made on the machine, and runs at once.
    fn running(name: &'a str, capacity: Capacity) -> Self {
        let info = json!({"name": name}).to_string();
        Self {
            name,
            phase: Phase::Start,
            capacity,
            registry: None,
            info,
            suspend_after: None,
            delete_after: None,
            by: None,
            kubernetes: None,
        }
    }
}

async fn insert(app: &App, tx: &mut Transaction<'_>, new: NewCluster<'_>) -> Result<String> {
    let now = tx.now().as_microsecond();
    let id = uuid()?;
    let bucket = bucket(tx, new.name, &id).await?;
    // Before the commit: a cluster without its bucket would fail later, a bucket without its cluster harms nobody.
    let cluster = ClusterRef { id, name: new.name.to_owned(), bucket, kubernetes: new.kubernetes };
    app.jobs().runner().ensure(&cluster).await?;
    let ClusterRef { id, bucket, kubernetes, .. } = cluster;
    let since = if new.phase == Phase::Start { now.saturating_sub(Phase::Start.length()) } else { now };
    query(
        "INSERT INTO clusters (id, name, phase, phase_since, max_cores, max_memory, bucket, registry_id, info, \
         last_active_at, suspend_after_min, delete_after_min, created_at, created_by, create_key, \
         kubernetes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(&id)
    .bind(new.name)
    .bind(new.phase.name())
    .bind(since)
    .bind(new.capacity.cores)
    .bind(i64::try_from(new.capacity.memory).unwrap_or(i64::MAX))
    .bind(bucket)
    .bind(new.registry.map_or_else(uuid, Ok)?)
    .bind(new.info)
    .bind(since.saturating_add(new.phase.length()))
    .bind(new.suspend_after.map(Minutes::get))
    .bind(new.delete_after.map(Minutes::get))
    .bind(now)
    .bind(new.by.map(|(id, _)| id))
    .bind(new.by.and_then(|(_, key)| key).map(|key| &key.digest))
    .bind(kubernetes)
    .execute(tx.connection())
    .await?;
    s3_secret::make(app, tx, &id).await?;
    Ok(id)
}

/// A bucket's name that says whose it is, and that no cluster ever had: files of one that is gone are not its
/// namesake's.
async fn bucket(tx: &mut Transaction<'_>, cluster: &str, id: &str) -> Result<String> {
    let readable = format!("spark-{}", cluster.to_ascii_lowercase().replace('_', "-"));
    let taken: bool = query("SELECT EXISTS (SELECT 1 FROM clusters WHERE bucket = $1)")
        .bind(&readable)
        .scalar(tx.connection())
        .await?;
    Ok(if taken { format!("{readable}-{}", id.get(..8).unwrap_or(id)) } else { readable })
}
