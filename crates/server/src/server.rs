//! A listener, a configuration and a shutdown become a running platform.

use std::{
    net::{SocketAddr, TcpListener},
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
use serde::Serialize;
use tokio::{
    sync::oneshot,
    time::{MissedTickBehavior, timeout},
};

use crate::{
    App, Clock, DataDir, DirLock, Limits, Proxies, PublicUrl, StartError, TlsFiles,
    audit::Audit,
    concurrency::ConcurrencyLimit,
    http, last_used,
    listen::{Gate, MOST_HTTP2, Prompt, raise_file_limit},
    metrics::{self, MetricsListener},
    safe_path,
    service::{admin, clusters, inactivity, objects, s3_secret},
    site::Site,
    spark::{self, JobsAs, SparkConfig},
    store::Store,
    vault::Vault,
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
    /// Proxies that are believed about whom they speak for.
    pub proxies: Proxies,
}

impl Config {
    /// The defaults, in that directory.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            tls: None,
            public_url: None,
            limits: Limits::default(),
            clock: Clock::default(),
            spark: SparkConfig::default(),
            proxies: Proxies::default(),
        }
    }
}

/// What whoever started the platform wants to know: printed as one line of JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// Where it listens.
    pub url: String,
    /// The file with the newest Administrator token that was made on this machine.
    pub admin_token_file: PathBuf,
    /// Where metrics are scraped from, if they have a listener of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_url: Option<String>,
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
    _lock: DirLock,
}

impl Server {
    /// Takes the data directory, opens the store in it, makes the first Administrator token on the first start.
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
            return Err(StartError::Jobs(format!(
                "the data directory '{path}' has a ',' in its path, which is what separates folders for Spark: give another --data-dir, or serve with --no-jobs"
            )));
        }
        let job_users = config.spark.jobs.check(exposed(&config, address).as_deref(), owned(&config, &dir))?;
        let lock = dir.lock()?;
        dir.check_file_system()?;
        if job_users.is_some() {
            let failed =
                |error| StartError::System("the data directory cannot be opened to the user of the jobs", error);
            dir.let_through().map_err(failed)?;
        }
        let known_as = config.public_url.as_ref().map_or(url.as_str(), PublicUrl::as_str).to_owned();
        dir.serve_at(&known_as)?;
        let site = Arc::new(Site::new(address, tls.is_some(), config.public_url));
        let store = Store::open(&dir).await?;
        let audit = Audit::open(&dir, store.is_fresh().await?)?;
        let new_key = Vault::prepare(&dir, objects::any_secret(&mut *store.read().await?).await?)?;
        let ready = Ready { url, admin_token_file: dir.admin_token(), metrics_url: None };
        let app = App::new(dir, store, audit, config.clock, config.limits);
        admin::bootstrap(&app).await?;
        if new_key {
            s3_secret::renew(&app).await?;
        }
        clusters::bootstrap(&app).await?;
        app.spark().configure(config.spark, known_as);
        if let Some(users) = job_users {
            app.spark().run_jobs_as(users);
        }
        spark::prepare_trash(&app).await?;
        if app.spark().config().jobs == JobsAs::Myself {
            warn_of_others(&app).await?;
        }
        let proxies = Arc::new(config.proxies);
        Ok(Self { app, listener, tls, proxies, site, ready, metrics: None, _lock: lock })
    }

    /// Serves metrics on a listener of their own, too.
    ///
    /// # Errors
    /// When others than this machine can reach it.
    pub fn with_metrics(mut self, listener: TcpListener) -> Result<Self, StartError> {
        let listener = MetricsListener::new(listener)?;
        self.ready.metrics_url = Some(listener.url());
        self.metrics = Some(listener);
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
        let writer = tokio::spawn(last_used::write_every_minute(self.app.clone()));
        let supervising = tokio::spawn(spark::supervise(self.app.clone()));
        tokio::spawn(spark::warn_of_no_jobs(self.app.clone()));
        let (stop_counting, stopped) = oneshot::channel();
        let counting = tokio::spawn(write_counts(self.app.clone(), stopped));
        let scraping = self.metrics.map(|listener| tokio::spawn(metrics::serve(self.app.clone(), listener)));
        let failed = |error| StartError::System("the listener failed", error);
        let mut server = axum_server::from_tcp(self.listener).map_err(failed)?.handle(handle);
        let service = http::service(&self.app, Arc::clone(&self.proxies), &self.site)
            .into_make_service_with_connect_info::<SocketAddr>();
        let patience = self.app.limits().head;
        let gate = Gate {
            patience,
            stall: self.app.limits().stall,
            permits: ConcurrencyLimit::half(raise_file_limit()),
            http2: ConcurrencyLimit::half(MOST_HTTP2),
            proxies: self.proxies,
            job_users: self.app.spark().job_uids(),
        };
        self.app.metrics().watch_limit("connections", &gate.permits);
        self.app.metrics().watch_limit("http2_connections", &gate.http2);
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
                server.acceptor(Prompt::new(acceptor, gate)).serve(service).await
            }
            None => server.acceptor(Prompt::new(DefaultAcceptor::new(), gate)).serve(service).await,
        };
        settling.abort();
        if let Some(scraping) = scraping {
            scraping.abort();
        }
        writer.abort();
        supervising.abort();
        if self.app.spark().config().end_with_server
            && let Err(error) = spark::end_all(&self.app).await
        {
            tracing::warn!("running jobs could not be ended: {error}");
        }
        drop(stop_counting);
        if let Err(error) = counting.await {
            tracing::error!("the last refusals were not counted: {error}");
        }
        // Work whose client has hung up is no connection any more, but holds one to the store: that is waited for here.
        let close = async {
            if let Err(error) = last_used::write(&self.app).await {
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
    while timeout(app.strangers().pace(), &mut stopped).await.is_err() {
        app.write_counts(false).await;
    }
    app.write_counts(true).await;
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
    let ways = all.filter_map(|path| std::path::absolute(path).ok()).flat_map(|path| safe_path::way(&path));
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
