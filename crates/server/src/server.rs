//! Starting and stopping the platform: of a listener, a configuration and a shutdown signal.

use std::{
    net::{SocketAddr, TcpListener},
    ops::RangeInclusive,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use axum_server::{
    Handle,
    accept::DefaultAcceptor,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use hyper_util::rt::TokioTimer;
use mlplatform_api::proxies::Proxies;
use mlplatform_console::site::{PublicUrl, Site};
use mlplatform_platform::{
    app::App,
    clock::Clock,
    clusters::{inactivity, verbs},
    concurrency::ConcurrencyLimit,
    jobs::{lease, supervisor},
    last_used::WRITE_EVERY,
    limits::Limits,
    s3_secret,
    tokens::admin,
};
use mlplatform_spark_local::{Folders, JobUserError, JobUsers, JobsAs, SparkConfig, path_walk};
use serde::Serialize;
use tokio::{
    sync::oneshot,
    time::{MissedTickBehavior, timeout},
};

use crate::{
    audit_mark::write_marks,
    connect::{self, ConnectListener},
    data_dir::{DataDir, DirLock, keep_admin_token},
    listen::{ConnectionLimits, LimitedAcceptor, MOST_HTTP2, raise_file_limit},
    local_jobs::{LocalSystem, local_jobs},
    metrics::{self, MetricsListener},
    router::router,
    safe_path,
    start::StartError,
    storage::{Database, Opened, open_to_serve},
    tls::TlsFiles,
};

/// The most that is read of a request's head: a token has 43 bytes, and a browser's cookies are not ours.
const LARGEST_HEAD: usize = 16 * 1024;
/// An HTTP/2 connection is asked whether it is still there this often …
const PING_EVERY: Duration = Duration::from_secs(30);
/// … and closed when it has not answered for this long.
const PING_PATIENCE: Duration = Duration::from_secs(20);

/// Requests that one HTTP/2 connection has at once: more wait in the client, where they cost nothing here.
const MOST_STREAMS: u32 = 32;
/// What may come of a body before somebody reads it, of one and of all of a connection …
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// … and what of an answer that goes on is handed over before the client takes it.
const SEND_BUFFER: usize = 64 * 1024;

/// What is counted in minutes is looked at this often.
const SETTLE_EVERY: Duration = Duration::from_secs(1);

/// What a platform is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// With it, the database is there, and not in that directory.
    pub database: Option<Database>,
    /// With it, HTTPS is spoken, and nothing else.
    pub tls: Option<TlsFiles>,
    /// The address that the world knows, when a proxy stands before it.
    pub public_url: Option<PublicUrl>,
    /// How much and how long.
    pub limits: Limits,
    /// The time.
    pub clock: Clock,
    /// How jobs are run.
    pub spark: SparkConfig,
    /// Jobs that run on another machine are given up, so that this one may run jobs.
    pub abandon_jobs: bool,
    /// Proxies that are believed about whom they speak for.
    pub proxies: Proxies,
}

impl Config {
    /// The defaults, in that directory.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            database: None,
            tls: None,
            public_url: None,
            limits: Limits::default(),
            clock: Clock::default(),
            spark: SparkConfig::default(),
            abandon_jobs: false,
            proxies: Proxies::default(),
        }
    }
}

/// What whoever started the platform wants to know: printed as one line of JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// Where it listens.
    pub url: String,
    /// The file with the newest Administrator token that was made on this machine; `None`: on PostgreSQL, none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_token_file: Option<PathBuf>,
    /// Where metrics are scraped from, if they have a listener of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_url: Option<String>,
    /// What clients of Spark Connect are given, if it is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_url: Option<String>,
}

/// A platform whose store is open and whose listener is bound: connections already queue.
pub struct Server {
    app: App,
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    proxies: Arc<Proxies>,
    site: Arc<Site>,
    ready: Ready,
    metrics: Option<MetricsListener>,
    connect: Option<ConnectListener>,
    /// Jobs end when this does.
    end_jobs: bool,
    database: Option<Database>,
    /// Jobs have the platform's own rights.
    jobs_as_myself: bool,
    /// The users that jobs have, and nobody else.
    job_uids: Option<RangeInclusive<u32>>,
    _lock: DirLock,
}

impl Server {
    /// Takes the data directory, opens the store, and in a new data directory makes the first Administrator token.
    ///
    /// # Errors
    /// When anything of that cannot be done; the text says what to do about it.
    pub async fn start(listener: TcpListener, config: Config) -> Result<Self, StartError> {
        for path in config.tls.iter().flat_map(|tls| [&tls.cert, &tls.key]) {
            safe_path::check(path)?;
        }
        let tls = config.tls.as_ref().map(TlsFiles::load).transpose()?.map(RustlsConfig::from_config);
        let failed = |error| StartError::System("the listener failed", error);
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let url = url(address, tls.is_some());
        let dir = DataDir::create(&config.data_dir)?;
        if config.spark.jobs != JobsAs::Off && dir.path().to_string_lossy().contains(',') {
            let path = dir.path().display();
            return Err(StartError::Jobs(JobUserError(format!(
                "the data directory '{path}' has a ',' in its path, which is what separates folders for Spark: give another --data-dir, or serve with --no-jobs"
            ))));
        }
        let job_users = config.spark.jobs.check(exposed(&config, address).as_deref(), owned(&config, &dir))?;
        let lock = dir.lock()?;
        dir.check_file_system()?;
        if job_users.is_some() {
            let failed =
                |error| StartError::System("the data directory cannot be opened to the user of the jobs", error);
            Folders::new(dir.path()).open_to_jobs().map_err(failed)?;
        }
        let known_as = config.public_url.as_ref().map_or(url.as_str(), PublicUrl::as_str).to_owned();
        dir.serve_at(&known_as)?;
        let site = Arc::new(Site::new(address, tls.is_some(), config.public_url));
        let Opened { store, audit, secrets_key, renewed } = open_to_serve(&dir, config.database.as_ref()).await?;
        let jobs_as_myself = config.spark.jobs == JobsAs::Myself;
        let end_jobs = config.spark.end_with_server;
        let job_uids = job_users.as_ref().map(JobUsers::uids);
        let jobs = local_jobs(&dir, &store, config.spark, job_users, known_as)?;
        let app = App::new(secrets_key, store, audit, config.clock, config.limits, jobs, LocalSystem::new(&dir));
        let admin_token = dir.admin_token();
        if config.database.is_some() {
            admin::must_exist(&app).await?;
        } else if admin::bootstrap(&app, |value| keep_admin_token(&admin_token, value)).await? {
            tracing::info!("made the first Administrator token: {}", admin_token.display());
        }
        // Where several share a database, it may have been made elsewhere.
        let made_here = config.database.is_none() || admin_token.exists();
        let ready =
            Ready { url, admin_token_file: made_here.then_some(admin_token), metrics_url: None, connect_url: None };
        if renewed {
            s3_secret::renew(&app).await?;
        }
        verbs::bootstrap(&app).await?;
        lease::claim(&app, config.abandon_jobs).await?;
        supervisor::reconcile(&app).await?;
        if jobs_as_myself {
            warn_of_others(&app).await?;
        }
        let proxies = Arc::new(config.proxies);
        Ok(Self {
            app,
            listener,
            tls,
            proxies,
            site,
            ready,
            metrics: None,
            connect: None,
            end_jobs,
            jobs_as_myself,
            database: config.database,
            job_uids,
            _lock: lock,
        })
    }

    /// Serves metrics on a listener of their own, too.
    ///
    /// # Errors
    /// When it is not a loopback address.
    pub fn with_metrics(mut self, listener: TcpListener) -> Result<Self, StartError> {
        let listener = MetricsListener::new(listener)?;
        self.ready.metrics_url = Some(listener.url());
        self.metrics = Some(listener);
        Ok(self)
    }

    /// Serves Spark Connect on that listener, too.
    ///
    /// # Errors
    /// When others than this machine's owner could run programs with the platform's own rights by it.
    pub fn with_connect(mut self, listener: TcpListener) -> Result<Self, StartError> {
        let listener = ConnectListener::new(listener, self.tls.as_ref().map(RustlsConfig::get_inner))?;
        if self.jobs_as_myself && !listener.is_loopback() {
            JobsAs::Myself.check(Some("others can reach --connect-listen"), [])?;
        }
        self.ready.connect_url = Some(listener.url());
        self.connect = Some(listener);
        Ok(self)
    }

    /// Where it listens.
    #[must_use]
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Answers requests until `shutdown`, then finishes those in flight, for a while, and closes the store.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), StartError> {
        let (handle, drain) = (Handle::new(), self.app.limits().drain);
        let (stopping, app) = (handle.clone(), self.app.clone());
        tokio::spawn(async move {
            shutdown.await;
            // Whoever sends requests here is told first that no more are wanted.
            app.readiness().drain();
            let delay = app.limits().drain_delay;
            if !delay.is_zero() {
                tracing::info!("not ready any more; requests are answered for another {} seconds", delay.as_secs());
                tokio::time::sleep(delay).await;
            }
            app.stop_waiting();
            tracing::info!("stopping: requests in flight have {} seconds", drain.as_secs());
            stopping.graceful_shutdown(Some(drain));
        });
        let settling = tokio::spawn(settle(self.app.clone()));
        let writer = tokio::spawn(write_last_used(self.app.clone()));
        let (stop_supervising, stopped) = oneshot::channel::<()>();
        let supervising = tokio::spawn(supervisor::supervise(self.app.clone(), self.end_jobs, stopped));
        let (stop_counting, stopped) = oneshot::channel();
        let counting = tokio::spawn(write_counts(self.app.clone(), stopped));
        let (stop_marking, ended) = oneshot::channel();
        let marking = self
            .database
            .map(|database| tokio::spawn(write_marks(self.app.clone(), database.audit_mark.map(Into::into), ended)));
        let scraping = self
            .metrics
            .map(|listener| tokio::spawn(metrics::serve(self.app.clone(), listener, self.job_uids.clone())));
        let gateway = self.connect.map(|listener| connect::start(&self.app, listener, self.job_uids.clone()));
        let failed = |error| StartError::System("the listener failed", error);
        let mut server = axum_server::from_tcp(self.listener).map_err(failed)?.handle(handle);
        let service = router(&self.app, Arc::clone(&self.proxies), &self.site)
            .into_make_service_with_connect_info::<SocketAddr>();
        let patience = self.app.limits().head;
        let limits = ConnectionLimits {
            patience,
            stall: self.app.limits().stall,
            permits: ConcurrencyLimit::new(raise_file_limit()),
            http2: ConcurrencyLimit::new(MOST_HTTP2),
            proxies: self.proxies,
            job_users: self.job_uids,
        };
        self.app.metrics().watch_limit("connections", &limits.permits);
        self.app.metrics().watch_limit("http2_connections", &limits.http2);
        let builder = server.http_builder();
        builder.http1().timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(LARGEST_HEAD);
        let mut http2 = builder.http2();
        http2.timer(TokioTimer::new()).keep_alive_interval(PING_EVERY).keep_alive_timeout(PING_PATIENCE);
        http2
            .max_concurrent_streams(MOST_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(LARGEST_HEAD).unwrap_or(u32::MAX));
        let served = match self.tls {
            Some(tls) => {
                let acceptor = RustlsAcceptor::new(tls).handshake_timeout(patience);
                server.acceptor(LimitedAcceptor::new(acceptor, limits)).serve(service).await
            }
            None => server.acceptor(LimitedAcceptor::new(DefaultAcceptor::new(), limits)).serve(service).await,
        };
        settling.abort();
        if let Some(gateway) = gateway {
            gateway.stop().await;
        }
        if let Some(scraping) = scraping {
            scraping.abort();
        }
        writer.abort();
        drop(stop_supervising);
        if let Err(error) = supervising.await {
            tracing::error!("the supervisor of jobs has failed: {error}");
        }
        drop(stop_counting);
        if let Err(error) = counting.await {
            tracing::error!("the last refusals were not counted: {error}");
        }
        drop(stop_marking);
        if let Some(marking) = marking
            && let Err(error) = marking.await
        {
            tracing::error!("the audit's last mark was not written: {error}");
        }
        // Work whose client has hung up is no connection any more, but holds one to the store: that is waited for here.
        let close = async {
            if let Err(error) = self.app.last_used().write(self.app.store()).await {
                tracing::warn!("when tokens were last used could not be written: {error}");
            }
            self.app.store().close().await;
        };
        if timeout(drain, close).await.is_err() {
            tracing::warn!("the store was busy for too long to be closed: its log is read at the next start");
        }
        tracing::info!("stopped");
        served.map_err(failed)
    }
}

/// Refusals that were only counted become audit rows; at the end, all of them. Never in the middle of a write, after which
/// it would not be known whether they are rows already.
async fn write_counts(app: App, mut stopped: oneshot::Receiver<()>) {
    while timeout(app.transactions().refusals().flush_interval(), &mut stopped).await.is_err() {
        app.transactions().write_counts(false).await;
    }
    app.transactions().write_counts(true).await;
}

/// Writes when tokens were last used, a minute apart.
async fn write_last_used(app: App) {
    let mut ticks = tokio::time::interval(WRITE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = app.last_used().write(app.store()).await {
            tracing::warn!("when tokens were last used could not be written, and is tried again in a minute: {error}");
        }
    }
}

/// Suspends and deletes inactive clusters, also while nobody asks for them. A request that comes first does the same.
async fn settle(app: App) {
    let mut ticks = tokio::time::interval(SETTLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = inactivity::settle(&app).await {
            tracing::warn!("inactive clusters could not be looked after: {error}");
        }
    }
}

/// Why others than this machine's owner can submit jobs, as far as it shows.
fn exposed(config: &Config, address: SocketAddr) -> Option<String> {
    if !address.ip().to_canonical().is_loopback() {
        return Some(format!("others can reach {address}"));
    }
    if let Some(url) = &config.public_url {
        return Some(format!("others can reach {}", url.as_str()));
    }
    config.proxies.0.first().map(|_| "a proxy passes on the requests of others (--trusted-proxy)".to_owned())
}

/// Who runs jobs with the platform's own rights is told how many people have these rights.
async fn warn_of_others(app: &App) -> Result<(), StartError> {
    let others = admin::others(app).await?;
    if others > 0 {
        tracing::warn!(
            "--jobs-as-myself: whoever holds one of {others} access tokens can run programs as this user, and read the platform's secrets"
        );
    }
    Ok(())
}

/// What must not belong to the user that jobs run as: the platform's files, and every folder on the way to them.
fn owned(config: &Config, dir: &DataDir) -> impl Iterator<Item = PathBuf> {
    let tls = config.tls.iter().flat_map(|tls| [tls.cert.clone(), tls.key.clone()]);
    let files: Vec<PathBuf> = tls.chain(std::env::current_exe().ok()).collect();
    let all = std::iter::once(dir.path().to_owned()).chain(files);
    let ways = all.filter_map(|path| std::path::absolute(path).ok()).flat_map(|path| path_walk::steps(&path));
    dir.owned().chain(ways.collect::<Vec<_>>())
}

/// A socket for all addresses is shown as the one that surely leads to it from here.
fn url(address: SocketAddr, tls: bool) -> String {
    let mut address = address;
    if address.ip().is_unspecified() {
        let loopback = if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        address.set_ip(loopback);
    }
    format!("{}://{address}", if tls { "https" } else { "http" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        assert_eq!(url("127.0.0.1:8765".parse().unwrap(), false), "http://127.0.0.1:8765");
        assert_eq!(url("[::1]:8765".parse().unwrap(), true), "https://[::1]:8765");
        assert_eq!(url("0.0.0.0:1".parse().unwrap(), true), "https://127.0.0.1:1");
        assert_eq!(url("[::]:1".parse().unwrap(), true), "https://[::1]:1");
    }
}
