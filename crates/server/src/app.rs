//! What every request works with: the store, the clock, the limits; and a change, which is one transaction together
//! with its audit rows.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use jiff::Timestamp;
use mlplatform_protocol::ErrorCode;
use sqlx::{Sqlite, SqliteConnection, Transaction, pool::PoolConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    Clock, DataDir, Error, Policy, Result, StartError,
    audit::{Audit, Event, NewMark, Outcome, Whence},
    last_used::LastUsed,
    service::sessions::Caller,
    spark::Gateway,
    store::Store,
    strangers::{Counted, Kind, Network, Noted, Strangers},
};

/// Numbers that a test or an operator may want otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a session lives, unless its token ends sooner.
    pub session: Duration,
    /// How long a session of the console lives at most …
    pub console_session: Duration,
    /// … and how long without a request.
    pub console_idle: Duration,
    /// How long a code of `mlplatform-server open` is good.
    pub sign_in_code: Duration,
    /// Requests that are worked on at once; more are told to come again.
    pub requests: usize,
    /// How long a connection may take over the head of a request, or be idle.
    pub head: Duration,
    /// How long the body of a request may take.
    pub body: Duration,
    /// How long requests in flight may take when the server stops.
    pub drain: Duration,
    /// What tokens may be made.
    pub policy: Policy,
    /// Unknown secrets that one address (of IPv6: one /64) may present at once …
    pub unknown: u32,
    /// … and how long until it may present another.
    pub unknown_every: Duration,
    /// For how long refusals of one kind are counted before their number becomes an audit row.
    pub tally: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            session: Duration::from_secs(600),
            // A working day; half an hour away from the desk.
            console_session: Duration::from_secs(12 * 3_600),
            console_idle: Duration::from_secs(1_800),
            sign_in_code: Duration::from_secs(300),
            // Every one of them waits for a core or for the writer: at a millisecond each, the last is served in half a second.
            requests: 512,
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            policy: Policy::default(),
            // A classroom behind one address mistypes less; a machine that tries costs us five reads a second.
            unknown: 500,
            unknown_every: Duration::from_millis(200),
            tally: Duration::from_secs(60),
        }
    }
}

/// The state that handlers share.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    dir: DataDir,
    store: Store,
    audit: Audit,
    clock: Clock,
    limits: Limits,
    slots: Arc<Semaphore>,
    last_used: LastUsed,
    spark: Gateway,
    strangers: Strangers,
}

impl App {
    pub(crate) fn new(dir: DataDir, store: Store, audit: Audit, clock: Clock, limits: Limits) -> Self {
        let slots = Arc::new(Semaphore::new(limits.requests));
        let (last_used, strangers, spark) = (LastUsed::default(), Strangers::new(&limits), Gateway::default());
        Self { inner: Arc::new(Inner { dir, store, audit, clock, limits, slots, last_used, spark, strangers }) }
    }

    /// For a command on the machine: works beside a server that serves the same directory.
    ///
    /// # Errors
    /// When the directory holds no store of this version.
    pub async fn beside(data_dir: &Path, clock: Clock) -> Result<Self, StartError> {
        let dir = DataDir::existing(data_dir)?;
        let store = Store::open_as_it_is(&dir).await?;
        let audit = Audit::open(&dir, false)?;
        Ok(Self::new(dir, store, audit, clock, Limits::default()))
    }

    /// Where its files are.
    #[must_use]
    pub fn dir(&self) -> &DataDir {
        &self.inner.dir
    }

    /// The time.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    pub(crate) fn spark(&self) -> &Gateway {
        &self.inner.spark
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    /// What tokens may be made.
    pub(crate) fn policy(&self) -> &Policy {
        &self.inner.limits.policy
    }

    /// When and from where tokens were used.
    pub(crate) fn last_used(&self) -> &LastUsed {
        &self.inner.last_used
    }

    /// The right to work on a request, as long as it is held.
    ///
    /// # Errors
    /// When as many are worked on as may be.
    pub(crate) fn slot(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.inner.slots).try_acquire_owned().map_err(|_| {
            let text = "the platform has too many requests at once: try again after the seconds in Retry-After";
            Error::refused(ErrorCode::ServiceUnavailable, text)
        })
    }

    pub(crate) fn strangers(&self) -> &Strangers {
        &self.inner.strangers
    }

    /// A connection for reading.
    pub(crate) async fn read(&self) -> Result<PoolConnection<Sqlite>> {
        self.store().read().await
    }

    /// Begins a change on behalf of nobody in particular.
    pub(crate) async fn change<'a>(&'a self, visit: &'a Visit) -> Result<Change<'a>> {
        let tx = self.store().begin().await?;
        // After the lock was given: times in the store rise with the order of the transactions.
        Ok(Change { tx, app: self, visit, now: self.clock().now(), mark: None })
    }

    /// The refusal of a secret that nobody knows. It costs the writer nothing, unless it is the first of its minute: a
    /// flood of them must not make those wait who have a real one.
    pub(crate) async fn refuse_unknown(&self, visit: &Visit, action: &'static str) -> Error {
        let admitted = self.strangers().admit(Network::of(visit.address()));
        let error = admitted.map_or_else(Error::too_many, |()| Error::forbidden(false));
        let detail = serde_json::json!({"reason": "unknown"});
        let event = Event { action, actor: None, subject: None, outcome: Outcome::Refused, detail };
        match self.strangers().tally(visit, &event) {
            Noted::Counted => error,
            Noted::First(kind) => match self.change(visit).await {
                Ok(change) => change.refuse_first(kind, event, error).await,
                Err(failure) => {
                    self.strangers().forget(&kind);
                    failure
                }
            },
        }
    }

    /// Writes the refusals that were only counted: those whose minute is over, or all.
    pub(crate) async fn write_counts(&self, all: bool) {
        let counted = self.strangers().settle(all);
        if counted.is_empty() {
            return;
        }
        if let Err(error) = self.try_to_write(&counted).await {
            tracing::error!("{} counts of refusals could not be written, and wait: {error}", counted.len());
            self.strangers().put_back(counted);
        }
    }

    async fn try_to_write(&self, counted: &[Counted]) -> Result<()> {
        let visit = Visit::local();
        let mut change = self.change(&visit).await?;
        for one in counted {
            let whence = Whence { address: &one.address, request_id: &one.request_id };
            change.record_from(whence, one.event()).await?;
        }
        change.commit().await
    }

    /// Begins a change on behalf of a token, which is read again inside the transaction, with the session: one that was
    /// deleted or rotated since the request was let in must not leave anything behind.
    pub(crate) async fn change_by<'a>(&'a self, visit: &'a Visit, caller: &Caller) -> Result<Change<'a>> {
        let mut change = self.change(visit).await?;
        let now = change.now().as_microsecond();
        let alive: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM sessions s JOIN tokens t ON t.id = s.token_id \
             WHERE s.digest = ? AND s.expires_at > ? AND t.deleted_at IS NULL \
             AND (t.expires_at IS NULL OR t.expires_at > ?))",
        )
        .bind(caller.session())
        .bind(now)
        .bind(now)
        .fetch_one(change.connection())
        .await?;
        if alive { Ok(change) } else { Err(crate::service::sessions::ended()) }
    }
}

/// One request, as the log and the audit know it.
#[derive(Debug)]
pub struct Visit {
    request_id: String,
    address: String,
    caller: OnceLock<String>,
}

impl Visit {
    /// From an address.
    #[must_use]
    pub fn new(address: String) -> Self {
        Self { request_id: request_id(), address, caller: OnceLock::new() }
    }

    /// From a command on the machine.
    #[must_use]
    pub fn local() -> Self {
        Self::new("local".to_owned())
    }

    /// Made by us, never taken from the request: two requests never share one.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Where it came from.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The token that the request was made with, once it is known.
    #[must_use]
    pub fn caller(&self) -> Option<&str> {
        self.caller.get().map(String::as_str)
    }

    pub(crate) fn identify(&self, token_id: &str) {
        let _ = self.caller.set(token_id.to_owned());
    }
}

fn request_id() -> String {
    let mut bytes = [0_u8; 10];
    // An id that repeats because the system has no random bytes is the least of that system's troubles.
    let _ = getrandom::fill(&mut bytes);
    bytes.iter().fold("req_".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

/// One transaction with its audit rows: all of it happens, or nothing.
pub(crate) struct Change<'a> {
    tx: Transaction<'static, Sqlite>,
    app: &'a App,
    visit: &'a Visit,
    now: Timestamp,
    mark: Option<NewMark>,
}

impl Change<'_> {
    /// The time of the whole change.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Where the request came from.
    pub(crate) fn address(&self) -> &str {
        &self.visit.address
    }

    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.tx
    }

    /// The request is that token's: it became known while the change was made.
    pub(crate) fn identify(&self, token_id: &str) {
        self.visit.identify(token_id);
    }

    /// Adds an audit row.
    pub(crate) async fn record(&mut self, event: Event<'_>) -> Result<()> {
        let visit = self.visit;
        self.record_from(Whence { address: &visit.address, request_id: &visit.request_id }, event).await
    }

    async fn record_from(&mut self, whence: Whence<'_>, event: Event<'_>) -> Result<()> {
        let mark = self.app.audit().append(&mut self.tx, self.now.as_microsecond(), whence, event).await?;
        // Of several rows the last one counts; that a gap was recorded must not be forgotten.
        self.mark = Some(mark.after(self.mark));
        Ok(())
    }

    /// Commits, then moves the audit's mark.
    pub(crate) async fn commit(self) -> Result<()> {
        self.tx.commit().await?;
        if let Some(error) = self.mark.and_then(|mark| self.app.audit().keep(mark).err()) {
            // The change is committed: to answer with an error would be a lie. A lagging mark is legal.
            tracing::error!("the audit's mark could not be written: {error}");
        }
        Ok(())
    }

    /// Records a refusal, commits that, and gives back the error to answer with. Of those who have not signed in, only
    /// the first of a minute has a row of its own.
    pub(crate) async fn refuse(mut self, event: Event<'_>, error: Error) -> Error {
        if event.actor.is_none() {
            return match self.app.strangers().tally(self.visit, &event) {
                Noted::First(kind) => self.refuse_first(kind, event, error).await,
                Noted::Counted => self.commit().await.err().unwrap_or(error),
            };
        }
        match self.record(event).await {
            Ok(()) => self.commit().await.err().unwrap_or(error),
            Err(failure) => failure,
        }
    }

    async fn refuse_first(mut self, kind: Kind, event: Event<'_>, error: Error) -> Error {
        let app = self.app;
        let written = match self.record(event).await {
            Ok(()) => self.commit().await,
            Err(failure) => Err(failure),
        };
        written.map_or_else(
            |failure| {
                app.strangers().forget(&kind);
                failure
            },
            |()| error,
        )
    }

    /// From here on, [`undo`](Self::undo) can take back.
    pub(crate) async fn savepoint(&mut self) -> Result<()> {
        sqlx::query("SAVEPOINT attempt").execute(&mut *self.tx).await?;
        Ok(())
    }

    /// Takes back everything since the [`savepoint`](Self::savepoint).
    pub(crate) async fn undo(&mut self) -> Result<()> {
        sqlx::query("ROLLBACK TO attempt").execute(&mut *self.tx).await?;
        Ok(())
    }
}
