//! Lets a call in: its token must be good, its cluster there, its server ready, and its session open.

use std::sync::Arc;

use mlplatform_protocol::ErrorCode;
use mlplatform_store::{Mode, joined};
use serde_json::json;
use tokio::sync::watch;

use super::{
    live::{CallEnd, Key, LiveCall, Server},
    server, sessions,
};
use crate::{
    app::App,
    audit::{Event, Outcome},
    clusters::{
        inactivity::settle,
        row::{Cluster, SELECT},
        verbs::LOCAL,
    },
    error::{Error, Result},
    request::RequestContext,
    secret::{Digest, digest},
    sessions::exchange::{admit, first_use, living, refuse},
    text::harmless,
};

/// Sessions of one token, and of all, with a server: each costs it memory.
const MOST_OF_TOKEN: i64 = 50;
const MOST: i64 = 500;

/// A living token that calls.
#[derive(Clone, Debug)]
pub struct ConnectUser {
    id: String,
    digest: Digest,
    context: Arc<RequestContext>,
}

impl ConnectUser {
    /// The token's public id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// What a call does.
#[derive(Clone, Copy, Debug)]
pub struct CallKind {
    /// It runs something.
    pub runs: bool,
    /// It opens its session, if that is not open.
    pub opens: bool,
}

/// A call that is let in.
pub struct BegunCall {
    /// Who answers it.
    pub server: Arc<Server>,
    /// Ends with it.
    pub call: LiveCall,
    /// Set when it must end.
    pub ended: watch::Receiver<Option<CallEnd>>,
}

/// Whose token it is.
///
/// # Errors
/// One answer for every token that is not good: the audit knows why.
pub async fn authenticate(app: &App, context: Arc<RequestContext>, token: &str) -> Result<ConnectUser> {
    let digest = digest(token);
    let now = app.clock().now();
    let found = living(&mut app.read().await?, now, &digest).await?;
    match found {
        Ok(living) => {
            context.identify(&living.token.id);
            app.last_used().record(&living.token.id, now.as_microsecond(), context.address());
            Ok(ConnectUser { id: living.token.id, digest, context })
        }
        Err(ended) => Err(refuse(app, &context, sessions::OPEN, &ended).await),
    }
}

/// Begins a call. It waits for a server that is being started.
///
/// # Errors
/// When there is no such cluster, its server cannot be started in time, the token has ended or has too many sessions.
pub async fn begin(
    app: &App,
    user: &ConnectUser,
    cluster: Option<&str>,
    session_id: &str,
    kind: CallKind,
) -> Result<BegunCall> {
    let cluster = find(app, cluster).await?;
    let (job_id, server) = server::ready(app, &user.context, &user.id, &cluster).await?;
    let key = Key { job_id, token_id: user.id.clone(), session_id: session_id.to_owned() };
    let begin = || {
        let now = app.clock().now().as_microsecond();
        app.connect().begin(key.clone(), &cluster.id, kind.runs, user.digest.clone(), now)
    };
    let begun = match begin() {
        Some(begun) => Some(begun),
        None if is_open(app, &cluster, &key).await? => begin(),
        None if !kind.opens => Some(app.connect().begin_other(user.digest.clone())),
        None => {
            open(app, user, &cluster, &key).await?;
            begin()
        }
    };
    let (call, ended) = begun.ok_or_else(|| {
        Error::refused(ErrorCode::Conflict, "the session has just been closed: make a new SparkSession")
    })?;
    Ok(BegunCall { server, call, ended })
}

/// By its id, by its name, or the one that is there, or `local` of several.
async fn find(app: &App, wanted: Option<&str>) -> Result<Cluster> {
    settle(app).await?;
    let now = app.clock().now().as_microsecond();
    let all: Vec<Cluster> = joined(&[SELECT, " ORDER BY seq"]).all(&mut app.read().await?).await?;
    let mut all: Vec<Cluster> =
        all.into_iter().filter(|cluster| cluster.status(now).is_some() && !cluster.is_being_deleted()).collect();
    let place = match wanted {
        Some(wanted) => all
            .iter()
            .position(|cluster| cluster.id == wanted)
            .or_else(|| all.iter().position(|cluster| cluster.name == wanted)),
        None if all.len() == 1 => Some(0),
        None => all.iter().position(|cluster| cluster.name == LOCAL),
    };
    place.map(|place| all.swap_remove(place)).ok_or_else(|| {
        let text = match wanted {
            Some(wanted) => format!("there is no cluster with the id or name '{}'", harmless(wanted)),
            None => format!("there are {} clusters: say which, as ;cluster=<id or name>", all.len()),
        };
        Error::refused(ErrorCode::NotFound, format!("{text}; get_clusters lists those there are"))
    })
}

/// Whether the store has the session: the platform was started anew.
async fn is_open(app: &App, cluster: &Cluster, key: &Key) -> Result<bool> {
    let found = sessions::find(&mut app.read().await?, key).await?;
    if let Some((operations, last_at)) = found {
        app.connect().add(key.clone(), &cluster.id, operations, last_at);
    }
    Ok(found.is_some())
}

/// Opens a session, unless another call has.
async fn open(app: &App, user: &ConnectUser, cluster: &Cluster, key: &Key) -> Result<()> {
    let (mut tx, _) = admit(app, &user.context, sessions::OPEN, &user.digest, Mode::Exclusive).await?;
    let now = tx.now().as_microsecond();
    if sessions::find(tx.connection(), key).await?.is_none() {
        let (own, all) = sessions::count(tx.connection(), &key.job_id, &user.id).await?;
        if own >= MOST_OF_TOKEN || all >= MOST {
            let detail = json!({"reason": "too many", "has": own, "all": all});
            let event = Event {
                action: sessions::OPEN,
                actor: Some(&user.id),
                subject: None,
                outcome: Outcome::Refused,
                detail,
            };
            let text = format!(
                "this token has {own} open sessions of the {all} on the cluster '{}', and at most {MOST_OF_TOKEN} of {MOST} \
                 may be: end some with spark.stop() or close_spark_session",
                cluster.name
            );
            return Err(tx.refuse(event, Error::refused(ErrorCode::TooManyRequests, text)).await);
        }
        sessions::open(&mut tx, &cluster.id, &cluster.name, key).await?;
        first_use(&mut tx, &user.digest).await?;
        tx.commit().await?;
    }
    app.connect().add(key.clone(), &cluster.id, 0, now);
    Ok(())
}
