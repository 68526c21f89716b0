//! Metrics of one server, for Prometheus: counters and histograms that are updated as things happen, and gauges that are
//! read when somebody scrapes ([`sample`]).
//!
//! Whoever counts calls a method of [`Metrics`] and knows neither HTTP nor the text format. Labels have few values, all of
//! them from this program's own tables: never an id, a name or a path that a client chose.

mod process;
mod sample;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use crate::concurrency::ConcurrencyLimit;

/// What an answer in that format says of itself.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds. An exchange takes a millisecond or two, a page some ten; a long poll up to 20 seconds.
const REQUEST_BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
/// Seconds. A commit waits for the disk; whoever waits for the store longer than ten seconds is turned away.
const STORE_BUCKETS: [f64; 11] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];

/// What became of a secret that is not good.
const REFUSED: &str = "refused";
const RATE_LIMITED: &str = "rate_limited";

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: String,
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusalLabels {
    limit: &'static str,
    scope: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PoolLabels {
    pool: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ConnectionLabels {
    pool: &'static str,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RoleLabels {
    role: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CheckLabels {
    check: &'static str,
}

/// Which connections of the store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pool {
    Reader,
    Writer,
}

impl Pool {
    const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
        }
    }
}

/// How a run of a job ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RunEnd {
    Succeeded,
    Failed,
    Evicted,
    NotStarted,
}

impl RunEnd {
    const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Evicted => "evicted",
            Self::NotStarted => "not_started",
        }
    }
}

/// All of one server.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_duration: Histograms<RouteLabels>,
    failed_authentications: Family<ResultLabels, Counter>,
    store_wait: Histograms<PoolLabels>,
    transaction_duration: Histogram,
    commits: Counter,
    job_starts: Counter,
    job_ends: Family<ResultLabels, Counter>,
    uploads: Counter,
    upload_bytes: Counter,
    gauges: Gauges,
    limits: Mutex<Vec<(&'static str, Arc<ConcurrencyLimit>)>>,
    /// One scrape after the other: they set the same gauges.
    scraping: tokio::sync::Mutex<()>,
}

/// What is set at each scrape.
#[derive(Default)]
struct Gauges {
    limit_in_use: Family<LimitLabels, Gauge>,
    limit_max: Family<LimitLabels, Gauge>,
    limit_refusals: Family<RefusalLabels, Counter>,
    sessions: Family<KindLabels, Gauge>,
    open_jobs: Family<StateLabels, Gauge>,
    store_connections: Family<ConnectionLabels, Gauge>,
    store_connections_max: Family<PoolLabels, Gauge>,
    jobs_role: Family<RoleLabels, Gauge>,
    jobs_lease_epoch: Gauge,
    store_bytes: Gauge,
    audit_last_row: Gauge,
    audit_marked_row: Gauge,
    disk_free: Gauge,
    disk_size: Gauge,
    ready: Family<CheckLabels, Gauge>,
    sampled: Gauge,
    process: process::Gauges,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        let platform = registry.sub_registry_with_prefix("mlplatform");
        platform.register("build", "The program", build);
        let requests = Family::default();
        platform.register("http_requests", "Requests that were answered", requests.clone());
        let request_duration: Histograms<RouteLabels> =
            Family::new_with_constructor(|| Histogram::new(REQUEST_BUCKETS));
        let help =
            "From the head of a request to the head of its answer; what a refusal is held back for does not count";
        platform.register_with_unit("http_request_duration", help, Unit::Seconds, request_duration.clone());
        let failed_authentications = Family::<ResultLabels, Counter>::default();
        let help = "Secrets that were presented and are not good; rate_limited: the address had presented too many";
        platform.register("failed_authentications", help, failed_authentications.clone());
        let store_wait: Histograms<PoolLabels> = Family::new_with_constructor(|| Histogram::new(STORE_BUCKETS));
        platform.register_with_unit("store_wait", "For a connection to the store", Unit::Seconds, store_wait.clone());
        let transaction_duration = Histogram::new(STORE_BUCKETS);
        let help = "From the begin of a transaction that was committed to the end of its commit";
        platform.register_with_unit("store_transaction_duration", help, Unit::Seconds, transaction_duration.clone());
        let commits = Counter::default();
        platform.register("store_commits", "Transactions that were committed", commits.clone());
        let job_starts = Counter::default();
        platform.register("job_starts", "Runs of jobs that were started", job_starts.clone());
        let job_ends = Family::<ResultLabels, Counter>::default();
        platform.register("job_ends", "Runs of jobs that ended, or could not start", job_ends.clone());
        let (uploads, upload_bytes) = (Counter::default(), Counter::default());
        platform.register("uploads", "Programs that came along with jobs", uploads.clone());
        platform.register_with_unit("upload", "Size of these programs", Unit::Bytes, upload_bytes.clone());
        // There from the beginning: what is 0 can be told from what is not counted.
        for result in [REFUSED, RATE_LIMITED] {
            drop(failed_authentications.get_or_create(&ResultLabels { result }));
        }
        for end in [RunEnd::Succeeded, RunEnd::Failed, RunEnd::Evicted, RunEnd::NotStarted] {
            drop(job_ends.get_or_create(&ResultLabels { result: end.name() }));
        }
        let gauges = Gauges::default();
        gauges.register(platform);
        gauges.process.register(&mut registry);
        Self {
            registry,
            requests,
            request_duration,
            failed_authentications,
            store_wait,
            transaction_duration,
            commits,
            job_starts,
            job_ends,
            uploads,
            upload_bytes,
            gauges,
            limits: Mutex::default(),
            scraping: tokio::sync::Mutex::default(),
        }
    }
}

impl Gauges {
    fn register(&self, registry: &mut Registry) {
        registry.register("limit_in_use", "Of each limit, what is in use", self.limit_in_use.clone());
        registry.register("limit_max", "Of each limit, what there is in all", self.limit_max.clone());
        let help = "What a limit refused; client: one address had its share, total: all of it was in use";
        registry.register("limit_refusals", help, self.limit_refusals.clone());
        registry.register("sessions", "Sessions that have not ended", self.sessions.clone());
        registry.register("open_jobs", "Jobs that are not over, by state", self.open_jobs.clone());
        registry.register("store_connections", "Connections to the store", self.store_connections.clone());
        let help = "How many connections to the store there may be";
        registry.register("store_connections_max", help, self.store_connections_max.clone());
        registry.register_with_unit("store_size", "The store's files", Unit::Bytes, self.store_bytes.clone());
        registry.register("audit_last_row", "Number of the newest audit row", self.audit_last_row.clone());
        let help = "Number of the audit row that the mark beside the store knows: never above the newest";
        registry.register("audit_marked_row", help, self.audit_marked_row.clone());
        let help = "What can still be written on the disk of the data directory";
        registry.register_with_unit("disk_free", help, Unit::Bytes, self.disk_free.clone());
        registry.register_with_unit("disk_size", "The disk of the data directory", Unit::Bytes, self.disk_size.clone());
        let help = "Whether this server looks after jobs: 1 in one state";
        registry.register("jobs_role", help, self.jobs_role.clone());
        let help = "Number of the lease under which this server looks after jobs; 0: without one";
        registry.register("jobs_lease_epoch", help, self.jobs_lease_epoch.clone());
        registry.register("ready", "Whether each check of /readyz passes", self.ready.clone());
        let help = "Whether the store could be read for this scrape; if not, what comes from there is older";
        registry.register("scrape_complete", help, self.sampled.clone());
    }
}

impl Metrics {
    /// A request was answered. Route and method must be of a bounded set.
    pub fn request(&self, route: &str, method: &str, status: u16, took: Duration) {
        let class = match status {
            100..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        let labels = RequestLabels { route: route.to_owned(), method: method.to_owned(), status: class };
        self.requests.get_or_create(&labels).inc();
        let labels = RouteLabels { route: labels.route };
        self.request_duration.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A secret that is not good was presented.
    pub(crate) fn failed_authentication(&self, rate_limited: bool) {
        let result = if rate_limited { RATE_LIMITED } else { REFUSED };
        self.failed_authentications.get_or_create(&ResultLabels { result }).inc();
    }

    /// A connection to the store was waited for.
    pub(crate) fn waited_for_store(&self, pool: Pool, took: Duration) {
        self.store_wait.get_or_create(&PoolLabels { pool: pool.name() }).observe(took.as_secs_f64());
    }

    /// A transaction was committed.
    pub(crate) fn committed(&self, took: Duration) {
        self.commits.inc();
        self.transaction_duration.observe(took.as_secs_f64());
    }

    /// A run of a job was started.
    pub(crate) fn job_started(&self) {
        self.job_starts.inc();
    }

    /// A run of a job ended, or could not start.
    pub(crate) fn job_ended(&self, end: RunEnd) {
        self.job_ends.get_or_create(&ResultLabels { result: end.name() }).inc();
    }

    /// A program came along with a job.
    pub(crate) fn uploaded(&self, bytes: usize) {
        self.uploads.inc();
        self.upload_bytes.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Shows that limit from now on.
    pub fn watch_limit(&self, name: &'static str, limit: &Arc<ConcurrencyLimit>) {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).push((name, Arc::clone(limit)));
    }

    /// All of it as text.
    pub(crate) fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::with_capacity(64 * 1024);
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}
