//! The application state that all requests share.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use mlplatform_store::{Connection, Store, query};
use tokio::sync::watch;

use crate::{
    admission::Admission,
    audit::Audit,
    caller::Caller,
    clock::Clock,
    connect::live::Connect,
    error::Result,
    jobs::runtime::Jobs,
    last_used::LastUsed,
    limits::Limits,
    metrics::{Metrics, Pool},
    policy::Policy,
    readiness::{Readiness, System},
    request::RequestContext,
    transaction::{Transaction, Transactions},
    vault::Vault,
};

/// Cheap to clone: all clones are the same state.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    secrets_key: PathBuf,
    transactions: Transactions,
    limits: Limits,
    admission: Admission,
    last_used: LastUsed,
    jobs: Jobs,
    connect: Arc<Connect>,
    stopping: watch::Sender<bool>,
    system: Arc<dyn System>,
    readiness: Readiness,
}

impl App {
    /// Of an open store; the key of the secrets is read from its file when it is needed.
    #[must_use]
    pub fn new(
        secrets_key: PathBuf,
        store: Store,
        audit: Audit,
        clock: Clock,
        limits: Limits,
        jobs: Jobs,
        system: Arc<dyn System>,
    ) -> Self {
        let (metrics, admission) = (Metrics::default(), Admission::new(&limits));
        admission.watch(&metrics);
        let inner = Inner {
            secrets_key,
            transactions: Transactions::new(store, audit, clock, &limits, metrics),
            limits,
            admission,
            last_used: LastUsed::default(),
            jobs,
            connect: Arc::default(),
            stopping: watch::Sender::new(false),
            system,
            readiness: Readiness::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The time.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.inner.transactions.clock()
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// What encrypts the values of secrets; its key is read anew.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn vault(&self) -> Result<Vault> {
        Vault::open(&self.inner.secrets_key)
    }

    /// What tokens may be made.
    pub(crate) fn policy(&self) -> &Policy {
        &self.inner.limits.policy
    }

    /// The database.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.inner.transactions.store()
    }

    /// What begins transactions and counts refusals.
    pub fn transactions(&self) -> &Transactions {
        &self.inner.transactions
    }

    /// How much may be worked on at once.
    pub fn admission(&self) -> &Admission {
        &self.inner.admission
    }

    /// When and from where tokens were used.
    pub fn last_used(&self) -> &LastUsed {
        &self.inner.last_used
    }

    /// The runner of jobs, and what requests share with the supervisor.
    #[must_use]
    pub fn jobs(&self) -> &Jobs {
        &self.inner.jobs
    }

    /// The calls of Spark Connect in progress.
    #[must_use]
    pub fn connect(&self) -> &Arc<Connect> {
        &self.inner.connect
    }

    /// The file with the key of the secrets.
    pub(crate) fn secrets_key(&self) -> &Path {
        &self.inner.secrets_key
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        self.inner.transactions.metrics()
    }

    /// Whether it should get requests.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.inner.readiness
    }

    /// What the machine knows of the platform's disk.
    pub(crate) fn system(&self) -> &dyn System {
        &*self.inner.system
    }

    /// The chain of who did what.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        self.inner.transactions.audit()
    }

    /// When the newest audit row was written, in microseconds since 1970.
    pub(crate) async fn audit_time(&self) -> Result<Option<i64>> {
        let newest = query("SELECT at FROM audit ORDER BY seq DESC LIMIT 1");
        Ok(newest.optional_scalar(&mut self.read().await?).await?)
    }

    /// Whoever waits for something that may come does so no longer.
    pub fn stop_waiting(&self) {
        self.inner.stopping.send_replace(true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.inner.stopping.borrow()
    }

    /// Resolves when nobody shall wait any longer.
    pub(crate) async fn stopping(&self) {
        // An error would mean that the sender is gone, which `self` holds.
        let _ = self.inner.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// A connection for reading.
    pub(crate) async fn read(&self) -> Result<Connection> {
        let asked = Instant::now();
        let connection = self.store().read().await;
        self.metrics().waited_for_store(Pool::Reader, asked.elapsed());
        Ok(connection?)
    }

    /// Begins a transaction on behalf of nobody in particular.
    pub(crate) async fn begin<'a>(&'a self, context: &'a RequestContext) -> Result<Transaction<'a>> {
        self.inner.transactions.begin(context).await
    }

    /// Begins a transaction on behalf of a caller, whose session and token are read again inside it.
    pub(crate) async fn begin_as<'a>(
        &'a self,
        context: &'a RequestContext,
        caller: &Caller,
    ) -> Result<Transaction<'a>> {
        self.inner.transactions.begin_as(context, caller).await
    }
}
