//! The calls in progress, in memory. Their sessions are in the store.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use mlplatform_protocol::Secret;
use tokio::sync::{Notify, watch};

use crate::secret::Digest;

/// What requests share about Spark Connect.
#[derive(Default)]
pub struct Connect {
    state: Mutex<State>,
    /// One start of a server at a time.
    pub(super) starting: tokio::sync::Mutex<()>,
    /// Sessions that were closed, and that their servers do not know to be.
    releases: Mutex<Vec<Release>>,
    wake: Notify,
    port: OnceLock<u16>,
}

#[derive(Default)]
struct State {
    sessions: HashMap<Key, Session>,
    /// Calls that ask about a session which is not open, or end it once more.
    others: HashMap<u64, CallInProgress>,
    /// Servers that have been seen to listen, by their jobs.
    ready: HashMap<String, Arc<Server>>,
    /// The last call of each cluster that had one.
    active: HashMap<String, i64>,
    next: u64,
}

/// A session: of a server, of a token, with the client's own id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) job_id: String,
    pub(super) token_id: String,
    pub(super) session_id: String,
}

/// What the store does not know yet of a session.
#[derive(Default)]
pub(super) struct Session {
    pub(super) cluster_id: String,
    /// Those that ran something, those in progress included.
    pub(super) operations: i64,
    pub(super) last_at: i64,
    /// The client has ended it.
    pub(super) released: bool,
    /// Of that, the store does not know.
    pub(super) changed: bool,
    calls: HashMap<u64, CallInProgress>,
}

struct CallInProgress {
    runs: bool,
    /// Of the token's value that it came with.
    digest: Digest,
    end: watch::Sender<Option<CallEnd>>,
}

/// Why the platform ends a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// Its token is not good any more: `deleted`, `expired`, `rotated`.
    Token(String),
    /// Its session was closed; the text says by whom or why.
    Closed(String),
    /// Its server has ended.
    Server,
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    /// Its port on the loopback address.
    pub port: u16,
    /// The user that it has of a range of ids.
    pub user_id: Option<u32>,
    /// What it lets callers in by.
    pub secret: Secret,
}

/// A call in progress, until it is dropped.
pub struct LiveCall {
    connect: Arc<Connect>,
    /// `None`: of no open session.
    key: Option<Key>,
    id: u64,
}

impl Connect {
    /// Begins a call, of a session that is in the store.
    pub(super) fn begin(
        self: &Arc<Self>,
        key: Key,
        cluster_id: &str,
        runs: bool,
        digest: Digest,
        now: i64,
    ) -> Option<(LiveCall, watch::Receiver<Option<CallEnd>>)> {
        let mut state = self.state();
        let id = state.next;
        state.next = id.wrapping_add(1);
        state.active.insert(cluster_id.to_owned(), now);
        let session = state.sessions.get_mut(&key).filter(|session| !session.released)?;
        session.operations = session.operations.saturating_add(i64::from(runs));
        (session.last_at, session.changed) = (now, true);
        let (end, ended) = watch::channel(None);
        session.calls.insert(id, CallInProgress { runs, digest, end });
        Some((LiveCall { connect: Arc::clone(self), key: Some(key), id }, ended))
    }

    /// Begins a call of a session that is not open, which the server knows to refuse.
    pub(super) fn begin_other(self: &Arc<Self>, digest: Digest) -> (LiveCall, watch::Receiver<Option<CallEnd>>) {
        let mut state = self.state();
        let id = state.next;
        state.next = id.wrapping_add(1);
        let (end, ended) = watch::channel(None);
        state.others.insert(id, CallInProgress { runs: false, digest, end });
        (LiveCall { connect: Arc::clone(self), key: None, id }, ended)
    }

    /// A session that is in the store.
    pub(super) fn add(&self, key: Key, cluster_id: &str, operations: i64, last_at: i64) {
        let session = Session { cluster_id: cluster_id.to_owned(), operations, last_at, ..Session::default() };
        self.state().sessions.entry(key).or_insert(session);
    }

    /// A session that is not in the store any more: its calls end.
    pub(super) fn remove(&self, key: &Key, end: &CallEnd) {
        for call in self.state().sessions.remove(key).into_iter().flat_map(|session| session.calls.into_values()) {
            call.end.send_replace(Some(end.clone()));
        }
    }

    /// Ends the calls that came with a token's value.
    pub(super) fn end_calls_of(&self, digest: &Digest, reason: &str) {
        for call in self.state().calls() {
            if call.digest == *digest {
                call.end.send_replace(Some(CallEnd::Token(reason.to_owned())));
            }
        }
    }

    /// The values that calls in progress came with.
    pub(super) fn digests(&self) -> HashSet<Digest> {
        self.state().calls().map(|call| call.digest.clone()).collect()
    }

    /// How many calls of a session run something, its operations, its last call, and whether it was
    /// released; `None`: it has had no call since the platform was started.
    pub(super) fn seen(&self, key: &Key, now: i64) -> Option<Seen> {
        let state = self.state();
        let session = state.sessions.get(key)?;
        let busy = !session.calls.is_empty();
        Some(Seen {
            running: session.calls.values().filter(|call| call.runs).count(),
            operations: session.operations,
            last_at: if busy { now } else { session.last_at },
            released: session.released,
        })
    }

    /// What the store is to be told of sessions; it counts as told.
    pub(super) fn take_changes(&self) -> Vec<(Key, String, i64, i64)> {
        let mut state = self.state();
        let changed = state.sessions.iter_mut().filter(|(_, session)| session.changed);
        let taken = changed.map(|(key, session)| {
            session.changed = !session.calls.is_empty();
            (key.clone(), session.cluster_id.clone(), session.operations, session.last_at)
        });
        taken.collect()
    }

    /// When a cluster was called last; now, while a call is in progress.
    pub(crate) fn last_active(&self, cluster_id: &str, now: i64) -> Option<i64> {
        let state = self.state();
        let mut of_cluster = state.sessions.values().filter(|session| session.cluster_id == cluster_id);
        if of_cluster.any(|session| !session.calls.is_empty()) {
            return Some(now);
        }
        state.active.get(cluster_id).copied()
    }

    /// Whether something runs on a cluster's server.
    pub(super) fn runs(&self, cluster_id: &str) -> bool {
        let state = self.state();
        let of_cluster = state.sessions.values().filter(|session| session.cluster_id == cluster_id);
        of_cluster.flat_map(|session| session.calls.values()).any(|call| call.runs)
    }

    pub(super) fn ready(&self, job_id: &str) -> Option<Arc<Server>> {
        self.state().ready.get(job_id).map(Arc::clone)
    }

    pub(super) fn is_ready(&self, job_id: &str, server: Arc<Server>) {
        self.state().ready.insert(job_id.to_owned(), server);
    }

    pub(super) fn forget_server(&self, job_id: &str) {
        self.state().ready.remove(job_id);
    }

    /// Sessions whose servers are to be told that they were closed.
    pub(super) fn release(&self, more: Vec<Release>) {
        self.releases.lock().unwrap_or_else(PoisonError::into_inner).extend(more);
        self.wake();
    }

    /// Those; they count as told.
    #[must_use]
    pub fn take_releases(&self) -> Vec<Release> {
        std::mem::take(&mut *self.releases.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The gateway's port, once it listens.
    pub(super) fn port(&self) -> Option<u16> {
        self.port.get().copied()
    }

    /// The gateway listens there.
    pub fn listens(&self, port: u16) {
        let _ = self.port.set(port);
    }

    /// Tells whoever watches that there is something to do.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Resolves when there is something to do.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that was closed.
pub struct Release {
    /// The server.
    pub server: Arc<Server>,
    /// The user, as the server knows it.
    pub token_id: String,
    /// The session, as the client calls it.
    pub session_id: String,
}

impl State {
    fn calls(&self) -> impl Iterator<Item = &CallInProgress> {
        self.sessions.values().flat_map(|session| session.calls.values()).chain(self.others.values())
    }
}

/// A session with calls since the platform was started.
pub(super) struct Seen {
    pub(super) running: usize,
    pub(super) operations: i64,
    pub(super) last_at: i64,
    pub(super) released: bool,
}

impl LiveCall {
    /// The client has ended the session with it.
    pub fn released(&self) {
        let mut state = self.connect.state();
        if let Some(session) = self.key.as_ref().and_then(|key| state.sessions.get_mut(key)) {
            session.released = true;
        }
        drop(state);
        self.connect.wake();
    }

    /// It is over, at that time.
    pub fn end(self, now: i64) {
        let mut state = self.connect.state();
        state.others.remove(&self.id);
        if let Some(session) = self.key.as_ref().and_then(|key| state.sessions.get_mut(key)) {
            session.calls.remove(&self.id);
            (session.last_at, session.changed) = (now, true);
            let cluster = session.cluster_id.clone();
            state.active.insert(cluster, now);
        }
    }
}
