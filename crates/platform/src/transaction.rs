//! Transactions with their audit rows: a change, and the rows that say who made it, are committed together or not at all.
//!
//! [`Transactions`] begins them. It also holds what refusals need that are not changes: their rate limit by address, and
//! the counts that become audit rows later.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use mlplatform_store::{Connection, Mode, Store, query};

use crate::{
    audit::{Audit, AuditOrigin, Event, NewMark, Outcome},
    caller::{Caller, session_ended},
    clock::Clock,
    error::{Error, Result},
    limits::Limits,
    metrics::{Metrics, Pool},
    rate_limit::FailureRateLimit,
    refusals::{Counted, Kind, Recording, Refusals},
    request::RequestContext,
};

/// Begins transactions, and keeps count of refusals.
pub struct Transactions {
    store: Store,
    audit: Audit,
    clock: Clock,
    rate_limit: FailureRateLimit,
    refusals: Refusals,
    metrics: Metrics,
}

impl Transactions {
    pub(crate) fn new(store: Store, audit: Audit, clock: Clock, limits: &Limits, metrics: Metrics) -> Self {
        let (rate_limit, refusals) = (FailureRateLimit::new(limits), Refusals::new(limits));
        Self { store, audit, clock, rate_limit, refusals, metrics }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn audit(&self) -> &Audit {
        &self.audit
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The refusals that were counted and not written yet.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Begins a change on behalf of nobody in particular.
    pub(crate) async fn begin<'a>(&'a self, context: &'a RequestContext) -> Result<Transaction<'a>> {
        self.begin_in(Mode::Exclusive, context).await
    }

    /// Begins a transaction; a concurrent one leaves no audit row.
    pub(crate) async fn begin_in<'a>(&'a self, mode: Mode, context: &'a RequestContext) -> Result<Transaction<'a>> {
        let asked = Instant::now();
        let tx = self.store.begin(mode).await;
        self.metrics.waited_for_store(Pool::Writer, asked.elapsed());
        let tx = tx?;
        // After the lock was given: times in the store rise with the order of the transactions.
        Ok(Transaction {
            tx,
            transactions: self,
            context,
            now: self.clock.now(),
            mark: None,
            mode,
            began: Instant::now(),
        })
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
        let charged = self.rate_limit.charge(context.network());
        self.metrics.failed_authentication(charged.is_err());
        charged.inspect_err(|_| context.delay_response())
    }

    /// Notes a refusal, and gives back the error to answer with. It costs the writer nothing, unless it is the first of
    /// its minute, or one of the first of somebody who has signed in: a flood of them must not make others wait.
    pub(crate) async fn refuse(&self, context: &RequestContext, event: Event<'_>, error: Error) -> Error {
        let recording = self.refusals.record(context, &event, self.clock.now());
        let (kind, tx) = match recording {
            Recording::Counted => return error,
            Recording::Row => (None, self.begin(context).await),
            Recording::First(kind) => (Some(kind), self.begin(context).await),
        };
        match (kind, tx) {
            (None, Ok(tx)) => tx.refuse_at_once(event, error).await,
            (Some(kind), Ok(tx)) => tx.refuse_first(kind, event, error).await,
            (kind, Err(failure)) => {
                kind.inspect(|kind| self.refusals.forget(kind));
                failure
            }
        }
    }

    /// Writes the refusals that were only counted: those whose minute is over, or all.
    pub async fn write_counts(&self, all: bool) {
        let counted = self.refusals.due(all);
        if counted.is_empty() {
            return;
        }
        match self.try_to_write(&counted).await {
            Ok(()) => self.refusals.flushed(&counted),
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
        let alive: bool = query(
            "SELECT EXISTS (SELECT 1 FROM sessions s JOIN tokens t ON t.id = s.token_id \
             WHERE s.digest = $1 AND s.expires_at > $2 AND t.deleted_at IS NULL \
             AND (t.expires_at IS NULL OR t.expires_at > $3))",
        )
        .bind(caller.session())
        .bind(now)
        .bind(now)
        .scalar(tx.connection())
        .await?;
        if alive { Ok(tx) } else { Err(session_ended()) }
    }
}

/// One transaction with its audit rows: all of it happens, or nothing.
pub(crate) struct Transaction<'a> {
    tx: Connection,
    transactions: &'a Transactions,
    context: &'a RequestContext,
    now: Timestamp,
    mark: Option<NewMark>,
    mode: Mode,
    began: Instant,
}

impl Transaction<'_> {
    /// The time of the whole change.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Where the request came from.
    pub(crate) fn address(&self) -> &str {
        self.context.address()
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
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
            count_replays(self, id, count, latest).await?;
        }
        self.record_from(origin, event).await
    }

    async fn record_from(&mut self, origin: AuditOrigin<'_>, event: Event<'_>) -> Result<()> {
        if self.mode != Mode::Exclusive {
            return Err(Error::Fault("an audit row was to be written beside other transactions"));
        }
        let mark = self.transactions.audit.append(&mut self.tx, self.now.as_microsecond(), origin, event).await?;
        // Of several rows the last one counts; that a gap was recorded must not be forgotten.
        self.mark = Some(mark.after(self.mark));
        Ok(())
    }

    /// Commits, then moves the audit's mark.
    pub(crate) async fn commit(self) -> Result<()> {
        self.tx.commit().await?;
        self.transactions.metrics.committed(self.began.elapsed());
        if let Some(error) = self.mark.and_then(|mark| self.transactions.audit.keep(mark).err()) {
            // The change is committed: to answer with an error would be a lie. A lagging mark is legal.
            tracing::error!("the audit's mark could not be written: {error}");
        }
        Ok(())
    }

    /// Records a refusal, commits that, and gives back the error to answer with. Of many in a minute, not each has a row.
    pub(crate) async fn refuse(self, event: Event<'_>, error: Error) -> Error {
        if event.actor.is_none() {
            let _ = self.transactions.charge(self.context);
        }
        match self.transactions.refusals.record(self.context, &event, self.now) {
            Recording::Row => self.refuse_at_once(event, error).await,
            Recording::First(kind) => self.refuse_first(kind, event, error).await,
            Recording::Counted => self.commit().await.err().unwrap_or(error),
        }
    }

    async fn refuse_at_once(mut self, event: Event<'_>, error: Error) -> Error {
        match self.record(event).await {
            Ok(()) => self.commit().await.err().unwrap_or(error),
            Err(failure) => failure,
        }
    }

    async fn refuse_first(mut self, kind: Kind, event: Event<'_>, error: Error) -> Error {
        let (transactions, origin, now) = (self.transactions, self.context.origin(), self.now);
        let written = match self.record_refusals(origin, event, 1, now).await {
            Ok(()) => self.commit().await,
            Err(failure) => Err(failure),
        };
        written.map_or_else(
            |failure| {
                transactions.refusals.forget(&kind);
                failure
            },
            |()| error,
        )
    }

    /// From here on, [`undo`](Self::undo) can take back.
    pub(crate) async fn savepoint(&mut self) -> Result<()> {
        Ok(self.tx.savepoint().await?)
    }

    /// Takes back everything since the [`savepoint`](Self::savepoint).
    pub(crate) async fn undo(&mut self) -> Result<()> {
        Ok(self.tx.rollback_to_savepoint().await?)
    }
}

/// For the issuer: it was tried again so often, the last time then.
async fn count_replays(tx: &mut Transaction<'_>, id: &str, count: u64, latest: Timestamp) -> Result<()> {
    query(
        "UPDATE register_tokens SET replay_count = replay_count + $1, last_replay_at = CASE WHEN last_replay_at > $2 THEN last_replay_at ELSE $2 END WHERE id = $3",
    )
    .bind(i64::try_from(count).unwrap_or(i64::MAX))
    .bind(latest.as_microsecond())
    .bind(id).execute(tx.connection())
    .await?;
    Ok(())
}
