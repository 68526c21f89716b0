//! What every request works with: the store, the clock, the limits; and a change, which is one transaction together
//! with its audit rows.

use std::{
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http::Extensions;
use jiff::Timestamp;
use mlplatform_protocol::ErrorCode;
use sqlx::{Sqlite, SqliteConnection, pool::PoolConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};

use crate::{
    Clock, DataDir, Error, Policy, Result, StartError,
    audit::{Audit, AuditOrigin, Event, NewMark, Outcome},
    concurrency::{ConcurrencyLimit, Full, Permit},
    last_used::LastUsed,
    metrics::{Metrics, Pool},
    readiness::Readiness,
    service::{redeem, sessions::Caller},
    spark::Gateway,
    store::Store,
    strangers::{Counted, Kind, Network, Noted, Strangers},
};

const MIB: usize = 1024 * 1024;

/// Numbers that a test or an operator may want otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a session lives, unless its token ends sooner.
    pub session: Duration,
    /// How long a session of the console lives at most …
    pub console_session: Duration,
    /// … and how long without a request.
    pub console_idle: Duration,
    /// For how long a session of the console may change something after its token's value was presented in it.
    pub console_confirmed: Duration,
    /// How long a code of `mlplatform-server open` is good.
    pub sign_in_code: Duration,
    /// Requests that are worked on at once, of one address half of them; more are told to come again.
    pub requests: usize,
    /// How long a connection may take over the head of a request, or be idle.
    pub head: Duration,
    /// How long the body of a request may take.
    pub body: Duration,
    /// Bytes of request bodies that are held at once, of one address half of them; more are told to come again. For the
    /// bodies that every route takes …
    pub small_bodies: usize,
    /// … and for those that only routes which upload something take.
    pub large_bodies: usize,
    /// Bytes of answers that were made and not taken yet, of one address half of them; whoever asks for more is told to
    /// take those first.
    pub answers: usize,
    /// How long a connection may take next to nothing of an answer that waits for it, before it is closed.
    pub stall: Duration,
    /// How long the server goes on answering after it was told to stop, while `/readyz` says so: until a balancer has seen
    /// that, it sends requests.
    pub drain_delay: Duration,
    /// How long requests in flight may take when the server stops.
    pub drain: Duration,
    /// What tokens may be made.
    pub policy: Policy,
    /// Secrets that are not good which one address (of IPv6: one /64) may present at once …
    pub refusals: u32,
    /// … and how long until it may present another.
    pub refusals_every: Duration,
    /// How late those are answered who came with too many requests or too many secrets that are not good: who waits for
    /// his answer and then asks again at once, whatever `Retry-After` says, costs the others less.
    pub late: Duration,
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
            // Long enough to make a few tokens in a row, short enough that whoever goes for a coffee leaves no more than a
            // session that reads.
            console_confirmed: Duration::from_secs(300),
            sign_in_code: Duration::from_secs(300),
            // Every one of them waits for a core or for the writer: at a millisecond each, the last is served in a second.
            requests: 1024,
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            small_bodies: 64 * MIB,
            // Of one address three programs of the largest size.
            large_bodies: 96 * MIB,
            answers: 128 * MIB,
            // Some hundred bytes a second are a slow client; what it holds meanwhile is bounded anyway.
            stall: Duration::from_secs(60),
            drain_delay: Duration::ZERO,
            drain: Duration::from_secs(10),
            policy: Policy::default(),
            // A classroom behind one address mistypes less; a machine that tries costs us five reads a second.
            refusals: 500,
            refusals_every: Duration::from_millis(200),
            // Of ten times what can be served, each asking again at once: those who are refused must not take the processor
            // from those who are served. At three seconds these are ten times as many as at one.
            late: Duration::from_secs(3),
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
    places: Arc<Semaphore>,
    clients: Arc<ConcurrencyLimit>,
    small_bodies: Arc<ConcurrencyLimit>,
    large_bodies: Arc<ConcurrencyLimit>,
    answers: Arc<ConcurrencyLimit>,
    /// For who reads a large body.
    reading: Semaphore,
    last_used: LastUsed,
    spark: Gateway,
    strangers: Strangers,
    commits: watch::Sender<()>,
    stopping: AtomicBool,
    metrics: Metrics,
    readiness: Readiness,
}

impl App {
    pub(crate) fn new(dir: DataDir, store: Store, audit: Audit, clock: Clock, limits: Limits) -> Self {
        let (places, clients) = (Arc::new(Semaphore::new(limits.requests)), ConcurrencyLimit::half(limits.requests));
        let (last_used, strangers, spark) = (LastUsed::default(), Strangers::new(&limits), Gateway::default());
        let (small_bodies, large_bodies) =
            (ConcurrencyLimit::half(limits.small_bodies), ConcurrencyLimit::half(limits.large_bodies));
        let answers = ConcurrencyLimit::half(limits.answers);
        let metrics = Metrics::default();
        metrics.watch_limit("requests", &clients);
        metrics.watch_limit("small_bodies", &small_bodies);
        metrics.watch_limit("large_bodies", &large_bodies);
        metrics.watch_limit("answers", &answers);
        let inner = Inner {
            dir,
            store,
            audit,
            clock,
            limits,
            places,
            clients,
            small_bodies,
            large_bodies,
            answers,
            reading: Semaphore::new(1),
            last_used,
            spark,
            strangers,
            commits: watch::Sender::new(()),
            stopping: AtomicBool::new(false),
            metrics,
            readiness: Readiness::default(),
        };
        Self { inner: Arc::new(inner) }
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

    /// Rings whenever something was committed, and when the server stops.
    pub(crate) fn commits(&self) -> watch::Receiver<()> {
        self.inner.commits.subscribe()
    }

    /// Whoever waits for something that may come does so no longer.
    pub(crate) fn stop_waiting(&self) {
        self.inner.stopping.store(true, Ordering::SeqCst);
        self.inner.commits.send_replace(());
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.inner.stopping.load(Ordering::SeqCst)
    }

    /// What is counted.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Whether it should get requests.
    pub(crate) fn readiness(&self) -> &Readiness {
        &self.inner.readiness
    }

    /// When the newest audit row was written, in microseconds since 1970.
    pub(crate) async fn audit_time(&self) -> Result<Option<i64>> {
        let newest = "SELECT at FROM audit ORDER BY seq DESC LIMIT 1";
        Ok(sqlx::query_scalar(newest).fetch_optional(&mut *self.read().await?).await?)
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
    /// When as many are worked on as may be, in all or of that address.
    pub(crate) fn place(&self, context: &RequestContext) -> Result<RequestPermit> {
        const TEXT: &str = "the platform has too many requests at once: try again after the seconds in Retry-After";
        let client = self.inner.clients.acquire(context.network()).map_err(|full| busy(context, full, TEXT))?;
        let place = Arc::clone(&self.inner.places).try_acquire_owned().map_err(|_| busy(context, Full::All, TEXT))?;
        Ok(RequestPermit { _place: place, _client: client })
    }

    /// Room for a body of so many bytes, which no route takes unless it is `large`.
    ///
    /// # Errors
    /// When there is no room for it, in all or for that address.
    pub(crate) fn room_for_body(&self, context: &RequestContext, bytes: usize, large: bool) -> Result<Permit> {
        let bodies = if large { &self.inner.large_bodies } else { &self.inner.small_bodies };
        bodies.acquire_many(context.network(), bytes).map_err(|full| Self::no_room_for_body(context, full))
    }

    /// What is said when there is no room for a body.
    pub(crate) fn no_room_for_body(context: &RequestContext, full: Full) -> Error {
        busy(
            context,
            full,
            "the platform reads too many large bodies at once: try again after the seconds in Retry-After",
        )
    }

    /// The turn to read a large body: one after the other, so that those who bring several leave a processor to the others.
    pub(crate) async fn turn_to_read(&self) -> Option<SemaphorePermit<'_>> {
        self.inner.reading.acquire().await.ok()
    }

    /// Room for an answer of so many bytes.
    ///
    /// # Errors
    /// When there is no room for it, in all or for that address.
    pub(crate) fn room_for_answer(&self, context: &RequestContext, bytes: usize) -> Result<Permit> {
        self.inner.answers.acquire_many(context.network(), bytes).map_err(|full| {
            let text = "too many answers wait to be read: read those that you asked for, and try again after the seconds in Retry-After";
            busy(context, full, text)
        })
    }

    pub(crate) fn strangers(&self) -> &Strangers {
        &self.inner.strangers
    }

    /// A connection for reading.
    pub(crate) async fn read(&self) -> Result<PoolConnection<Sqlite>> {
        let asked = Instant::now();
        let connection = self.store().read().await;
        self.metrics().waited_for_store(Pool::Reader, asked.elapsed());
        connection
    }

    /// Begins a change on behalf of nobody in particular.
    pub(crate) async fn begin<'a>(&'a self, context: &'a RequestContext) -> Result<Transaction<'a>> {
        let asked = Instant::now();
        let tx = self.store().begin().await;
        self.metrics().waited_for_store(Pool::Writer, asked.elapsed());
        let tx = tx?;
        // After the lock was given: times in the store rise with the order of the transactions.
        Ok(Transaction { tx, app: self, context, now: self.clock().now(), mark: None, began: Instant::now() })
    }

    /// The refusal of a secret that nobody knows.
    pub(crate) async fn refuse_unknown(&self, context: &RequestContext, action: &'static str) -> Error {
        let error = self.charge(context).map_or_else(Error::too_many, |()| Error::forbidden(false));
        let detail = serde_json::json!({"reason": "unknown"});
        self.refuse(context, Event { action, actor: None, subject: None, outcome: Outcome::Refused, detail }, error)
            .await
    }

    /// The refusal of a secret that was real: its holder is always told the same, though late when many came.
    pub(crate) async fn refuse_ended(&self, context: &RequestContext, event: Event<'_>, error: Error) -> Error {
        let _ = self.charge(context);
        self.refuse(context, event, error).await
    }

    /// The refusal of a value that was presented to confirm, and is not that of the caller's token: real or not, it counts
    /// as one that nobody knows. The right one is never slowed.
    pub(crate) async fn refuse_confirmation(&self, context: &RequestContext, event: Event<'_>) -> Error {
        let error = self.charge(context).map_or_else(Error::too_many, |()| Error::forbidden(false));
        self.refuse(context, event, error).await
    }

    /// A secret that is not good costs its address some of what it has; who has nothing left is answered late.
    pub(crate) fn charge(&self, context: &RequestContext) -> Result<(), Duration> {
        let charged = self.strangers().charge(context.network());
        self.metrics().failed_authentication(charged.is_err());
        charged.inspect_err(|_| context.delay_response())
    }

    /// Notes a refusal, and gives back the error to answer with. It costs the writer nothing, unless it is the first of
    /// its minute, or one of the first of somebody who has signed in: a flood of them must not make others wait.
    pub(crate) async fn refuse(&self, context: &RequestContext, event: Event<'_>, error: Error) -> Error {
        let noted = self.strangers().tally(context, &event, self.clock().now());
        let (kind, tx) = match noted {
            Noted::Counted => return error,
            Noted::Row => (None, self.begin(context).await),
            Noted::First(kind) => (Some(kind), self.begin(context).await),
        };
        match (kind, tx) {
            (None, Ok(tx)) => tx.refuse_at_once(event, error).await,
            (Some(kind), Ok(tx)) => tx.refuse_first(kind, event, error).await,
            (kind, Err(failure)) => {
                kind.inspect(|kind| self.strangers().forget(kind));
                failure
            }
        }
    }

    /// Writes the refusals that were only counted: those whose minute is over, or all.
    pub(crate) async fn write_counts(&self, all: bool) {
        let counted = self.strangers().counted(all);
        if counted.is_empty() {
            return;
        }
        match self.try_to_write(&counted).await {
            Ok(()) => self.strangers().written(&counted),
            Err(error) => {
                tracing::error!("{} counts of refusals could not be written, and wait: {error}", counted.len());
            }
        }
    }

    async fn try_to_write(&self, counted: &[Counted]) -> Result<()> {
        let context = RequestContext::local();
        let mut tx = self.begin(&context).await?;
        for one in counted {
            let origin = AuditOrigin { address: &one.address, request_id: &one.request_id };
            tx.record_refusals(origin, one.event(), one.more, one.latest).await?;
        }
        tx.commit().await
    }

    /// Begins a change on behalf of a token, which is read again inside the transaction, with the session: one that was
    /// deleted or rotated since the request was let in must not leave anything behind.
    pub(crate) async fn begin_as<'a>(
        &'a self,
        context: &'a RequestContext,
        caller: &Caller,
    ) -> Result<Transaction<'a>> {
        let mut tx = self.begin(context).await?;
        let now = tx.now().as_microsecond();
        let alive: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM sessions s JOIN tokens t ON t.id = s.token_id \
             WHERE s.digest = ? AND s.expires_at > ? AND t.deleted_at IS NULL \
             AND (t.expires_at IS NULL OR t.expires_at > ?))",
        )
        .bind(caller.session())
        .bind(now)
        .bind(now)
        .fetch_one(tx.connection())
        .await?;
        if alive { Ok(tx) } else { Err(crate::service::sessions::ended()) }
    }
}

/// Who took all of his share is told so late.
fn busy(context: &RequestContext, full: Full, text: &str) -> Error {
    if full == Full::Share {
        context.delay_response();
    }
    Error::refused(ErrorCode::ServiceUnavailable, text)
}

/// The right to work on a request.
pub(crate) struct RequestPermit {
    _place: OwnedSemaphorePermit,
    _client: Permit,
}

/// One request, as the log and the audit know it.
#[derive(Debug)]
pub struct RequestContext {
    request_id: String,
    address: String,
    network: Network,
    caller: OnceLock<String>,
    late: AtomicBool,
}

impl RequestContext {
    /// From an address.
    #[must_use]
    pub fn new(address: String) -> Self {
        let network = Network::of(&address);
        Self { request_id: request_id(), address, network, caller: OnceLock::new(), late: AtomicBool::new(false) }
    }

    /// That of a request that came through the outer layer.
    pub(crate) fn of(extensions: &Extensions) -> Result<Arc<Self>> {
        extensions.get().cloned().ok_or(Error::Fault("a request came around the outer layer"))
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

    fn origin(&self) -> AuditOrigin<'_> {
        AuditOrigin { address: &self.address, request_id: &self.request_id }
    }

    /// Where it came from.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whom limits by address count it to.
    pub(crate) fn network(&self) -> Network {
        self.network
    }

    /// Its answer is held back for a while, when all work is done and nobody waits for it.
    fn delay_response(&self) {
        self.late.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_delayed(&self) -> bool {
        self.late.load(Ordering::Relaxed)
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
pub(crate) struct Transaction<'a> {
    tx: sqlx::Transaction<'static, Sqlite>,
    app: &'a App,
    context: &'a RequestContext,
    now: Timestamp,
    mark: Option<NewMark>,
    began: Instant,
}

impl Transaction<'_> {
    /// The time of the whole change.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Where the request came from.
    pub(crate) fn address(&self) -> &str {
        &self.context.address
    }

    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.tx
    }

    /// The request is that token's: it became known while the change was made.
    pub(crate) fn identify(&self, token_id: &str) {
        self.context.identify(token_id);
    }

    /// Adds an audit row.
    pub(crate) async fn record(&mut self, event: Event<'_>) -> Result<()> {
        self.record_from(self.context.origin(), event).await
    }

    /// Adds the row of so many refusals, and counts those that somebody is to be shown elsewhere.
    async fn record_refusals(
        &mut self,
        origin: AuditOrigin<'_>,
        event: Event<'_>,
        count: u64,
        latest: Timestamp,
    ) -> Result<()> {
        if event.outcome == Outcome::Replay
            && let Some(id) = event.subject
        {
            redeem::count_replays(self, id, count, latest).await?;
        }
        self.record_from(origin, event).await
    }

    async fn record_from(&mut self, origin: AuditOrigin<'_>, event: Event<'_>) -> Result<()> {
        let mark = self.app.audit().append(&mut self.tx, self.now.as_microsecond(), origin, event).await?;
        // Of several rows the last one counts; that a gap was recorded must not be forgotten.
        self.mark = Some(mark.after(self.mark));
        Ok(())
    }

    /// Commits, then moves the audit's mark.
    pub(crate) async fn commit(self) -> Result<()> {
        self.tx.commit().await?;
        self.app.metrics().committed(self.began.elapsed());
        self.app.inner.commits.send_replace(());
        if let Some(error) = self.mark.and_then(|mark| self.app.audit().keep(mark).err()) {
            // The change is committed: to answer with an error would be a lie. A lagging mark is legal.
            tracing::error!("the audit's mark could not be written: {error}");
        }
        Ok(())
    }

    /// Records a refusal, commits that, and gives back the error to answer with. Of many in a minute, not each has a row.
    pub(crate) async fn refuse(self, event: Event<'_>, error: Error) -> Error {
        if event.actor.is_none() {
            let _ = self.app.charge(self.context);
        }
        match self.app.strangers().tally(self.context, &event, self.now) {
            Noted::Row => self.refuse_at_once(event, error).await,
            Noted::First(kind) => self.refuse_first(kind, event, error).await,
            Noted::Counted => self.commit().await.err().unwrap_or(error),
        }
    }

    async fn refuse_at_once(mut self, event: Event<'_>, error: Error) -> Error {
        match self.record(event).await {
            Ok(()) => self.commit().await.err().unwrap_or(error),
            Err(failure) => failure,
        }
    }

    async fn refuse_first(mut self, kind: Kind, event: Event<'_>, error: Error) -> Error {
        let (app, origin, now) = (self.app, self.context.origin(), self.now);
        let written = match self.record_refusals(origin, event, 1, now).await {
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
