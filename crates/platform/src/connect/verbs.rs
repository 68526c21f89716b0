//! The methods: which sessions there are, closing one, and what a cluster's server loads.

use mlplatform_protocol::{
    ErrorCode,
    clusters::ClusterRequest,
    connect::{AddJarsRequest, SparkConnectSettings, SparkSessionInfo, SparkSessionRequest, SparkSessions},
};
use serde_json::json;

use super::{
    live::CallEnd,
    server,
    sessions::{self, CLOSE, SessionRow},
    settings, watch,
};
use crate::{
    app::App,
    audit::Outcome,
    caller::Caller,
    clock::timestamp,
    clusters::row::{event, wanted},
    error::{Error, Result},
    idempotency::Key,
    jobs::lookup,
    request::RequestContext,
    text::harmless,
};

/// Entries of a list, and bytes of one.
const MOST_ENTRIES: usize = 100;
const LONGEST_ENTRY: usize = 1000;

/// `get_spark_sessions`, in the order of opening: a User's own, all for an Administrator.
///
/// # Errors
/// When there is no such cluster, or the store fails.
pub async fn get_spark_sessions(app: &App, caller: &Caller, request: ClusterRequest) -> Result<SparkSessions> {
    let cluster = lookup::cluster(app, &request.cluster_id).await?;
    let own = (!caller.is_administrator()).then(|| caller.id());
    let rows = sessions::listed(&mut app.read().await?, &cluster.id, own).await?;
    let now = app.clock().now().as_microsecond();
    Ok(SparkSessions { items: rows.into_iter().map(|session| info(app, session, now)).collect() })
}

fn info(app: &App, session: SessionRow, now: i64) -> SparkSessionInfo {
    let seen = app.connect().seen(&session.key(), now);
    let (running, operations, last_at) = seen.map_or((0, session.operations, session.last_at), |seen| {
        (seen.running, seen.operations.max(session.operations), seen.last_at.max(session.last_at))
    });
    SparkSessionInfo {
        session_id: session.session_id,
        token_id: session.token_id,
        token_name: session.token_name,
        address: session.address,
        opened_at: timestamp(session.opened_at),
        last_used_at: timestamp(last_at),
        running: u64::try_from(running).unwrap_or(u64::MAX),
        operations: u64::try_from(operations).unwrap_or_default(),
    }
}

/// `close_spark_session`: interrupts what runs in it. A User may close its own sessions.
///
/// # Errors
/// When there is no such session, or the store fails.
pub async fn close_spark_session(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    key: Option<&Key>,
    request: SparkSessionRequest,
) -> Result<()> {
    let cluster = lookup::cluster(app, &request.cluster_id).await?;
    let own = (!caller.is_administrator()).then(|| caller.id());
    let mut tx = app.begin_as(context, caller).await?;
    if Key::is_spent(key, &mut tx, caller).await? {
        return Ok(());
    }
    let found = sessions::listed(tx.connection(), &cluster.id, own).await?;
    let end = CallEnd::Closed(format!("'{}' has closed it", caller.name()));
    let found = found.into_iter().filter(|session| session.session_id == request.session_id);
    let over: Vec<_> = found.map(|session| (end.clone(), session)).collect();
    if over.is_empty() {
        let id = harmless(&request.session_id);
        let detail = json!({"reason": "unknown session", "session": id});
        let event = event(CLOSE, caller, None, Outcome::Refused, detail);
        let text = format!(
            "there is no open session '{id}' of yours on this cluster: get_spark_sessions lists those there are"
        );
        return Err(tx.refuse(event, Error::refused(ErrorCode::NotFound, text)).await);
    }
    watch::close(app, &mut tx, &over, Some(caller.id())).await?;
    Key::spend(key, &mut tx, caller).await?;
    tx.commit().await?;
    watch::closed(app, over);
    Ok(())
}

/// `add_spark_connect_jars`: adds what is not there yet; a server that runs is started again when nothing runs on it.
///
/// # Errors
/// When an entry is none, there is no such cluster, or the store fails.
pub async fn add_spark_connect_jars(
    app: &App,
    context: &RequestContext,
    caller: &Caller,
    request: AddJarsRequest,
) -> Result<SparkConnectSettings> {
    const ACTION: &str = "add_spark_connect_jars";
    let given = [("jars", &request.jars), ("packages", &request.packages), ("repositories", &request.repositories)];
    for (name, list) in given {
        list.iter().flatten().try_for_each(|entry| check(name, entry))?;
    }
    lookup::cluster(app, &request.cluster_id).await?;
    let (mut tx, cluster) = wanted(app.begin_as(context, caller).await?, ACTION, caller, &request.cluster_id).await?;
    let before = settings::read(tx.connection(), &cluster.id).await?;
    let mut after = before.clone();
    for (list, more) in [
        (&mut after.jars, &request.jars),
        (&mut after.packages, &request.packages),
        (&mut after.repositories, &request.repositories),
    ] {
        for entry in more.iter().flatten() {
            if !list.contains(entry) {
                list.push(entry.clone());
            }
        }
        if list.len() > MOST_ENTRIES {
            let text = format!("the list would have {} entries, and at most {MOST_ENTRIES} are kept", list.len());
            return Err(Error::refused(ErrorCode::BadRequest, text));
        }
    }
    let mut ends = 0;
    if after != before {
        settings::write(&mut tx, &cluster.id, &after).await?;
        if let Some((job, _)) = server::newest(tx.connection(), &cluster.id).await?.filter(|(job, _)| !job.is_over()) {
            ends = sessions::count(tx.connection(), &job.id, "").await?.1;
        }
        let detail = json!({"cluster": cluster.name, "jars": after.jars, "packages": after.packages,
            "repositories": after.repositories, "ends_sessions": ends});
        tx.record(event(ACTION, caller, Some(&cluster.id), Outcome::Done, detail)).await?;
        tx.commit().await?;
        app.connect().wake();
    }
    let mut all: Vec<(String, String)> = settings::conf(app.connect().port().unwrap_or_default())
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    if app.connect().port().is_none() {
        all.retain(|(key, _)| key != settings::PORT);
    }
    for (key, list) in [
        ("spark.jars.repositories", after.repositories),
        ("spark.jars", after.jars),
        ("spark.jars.packages", after.packages),
    ] {
        if !list.is_empty() {
            all.push((key.to_owned(), list.join(",")));
        }
    }
    let settings = all.into_iter().collect();
    Ok(SparkConnectSettings { settings, ends_sessions: u64::try_from(ends).unwrap_or_default() })
}

fn check(list: &str, entry: &str) -> Result<()> {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != ',';
    if (1..=LONGEST_ENTRY).contains(&entry.len()) && entry.chars().all(plain) {
        return Ok(());
    }
    let text = format!(
        "{list}: '{}' is no entry of this list: it has 1 to {LONGEST_ENTRY} bytes, without spaces and ',', such as \
         s3a://<bucket>/a.jar or org.example:name:1.0",
        harmless(entry)
    );
    Err(Error::refused(ErrorCode::BadRequest, text))
}
