//! What is read when somebody scrapes: numbers that the store, the disk and the limits hold anyway.

use std::{sync::atomic::Ordering, time::Duration};

use mlplatform_protocol::JobState;
use mlplatform_store::{Connections, query};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    CheckLabels, ConnectionLabels, KindLabels, LimitLabels, Metrics, PoisonError, Pool, PoolLabels, RefusalLabels,
    RoleLabels, StateLabels,
};
use crate::{
    app::App,
    concurrency::LimitReached,
    error::{Error, Result},
    jobs::placement::Role,
    readiness::check,
};

/// A store that is busy for longer is told of by the numbers themselves: they are those of the scrape before.
const PATIENCE: Duration = Duration::from_secs(3);

impl Metrics {
    /// All of it, as text, as it is now.
    ///
    /// # Errors
    /// When it cannot be written as text, which would be a bug.
    pub async fn scrape(&self, app: &App) -> Result<String> {
        let _turn = self.scraping.lock().await;
        self.sample_limits();
        self.sample_role(app.jobs().role());
        for check in check::check(app).await.checks() {
            let labels = CheckLabels { check: check.name() };
            self.gauges.ready.get_or_create(&labels).set(i64::from(check.problem().is_none()));
        }
        let sampled = timeout(PATIENCE, self.sample_store(app)).await;
        if let Ok(Err(error)) = &sampled {
            tracing::warn!("the store could not be read for the metrics: {error}");
        }
        self.gauges.sampled.set(i64::from(matches!(sampled, Ok(Ok(())))));
        self.sample_pools(app);
        if let Ok(Ok(size)) = timeout(PATIENCE, app.store().size()).await {
            set(&self.gauges.store_bytes, size);
        }
        let (app, process) = (app.clone(), self.gauges.process.clone());
        let disk = spawn_blocking(move || {
            process.sample();
            (app.system().free(), app.system().size())
        });
        if let Ok((free, size)) = disk.await {
            set(&self.gauges.disk_free, free.unwrap_or_default());
            set(&self.gauges.disk_size, size.unwrap_or_default());
        }
        self.encode().map_err(|_| Error::Fault("the metrics cannot be written as text"))
    }

    fn sample_role(&self, role: Role) {
        for one in [Role::Off, Role::Standby, Role::Active { epoch: 0 }] {
            let is = one.name() == role.name();
            self.gauges.jobs_role.get_or_create(&RoleLabels { role: one.name() }).set(i64::from(is));
        }
        self.gauges.jobs_lease_epoch.set(if let Role::Active { epoch } = role { epoch } else { 0 });
    }

    fn sample_limits(&self) {
        for (limit, what) in self.limits.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = LimitLabels { limit };
            set(&self.gauges.limit_in_use.get_or_create(&labels), what.in_use());
            set(&self.gauges.limit_max.get_or_create(&labels), what.max());
            for (scope, full) in [("client", LimitReached::PerNetwork), ("total", LimitReached::Total)] {
                let refusals = self.gauges.limit_refusals.get_or_create_owned(&RefusalLabels { limit, scope });
                refusals.inner().store(what.refusals(full), Ordering::Relaxed);
            }
        }
    }

    fn sample_pools(&self, app: &App) {
        for (pool, connections) in [(Pool::Reader, app.store().readers()), (Pool::Writer, app.store().writers())] {
            let Connections { all, idle, max } = connections;
            set(&self.gauges.store_connections_max.get_or_create(&PoolLabels { pool: pool.name() }), max);
            for (state, count) in [("idle", idle), ("in_use", all.saturating_sub(idle))] {
                let labels = ConnectionLabels { pool: pool.name(), state };
                set(&self.gauges.store_connections.get_or_create(&labels), count);
            }
        }
    }

    async fn sample_store(&self, app: &App) -> Result<()> {
        let now = app.clock().now().as_microsecond();
        let mut connection = app.store().read().await?;
        let counts: Vec<(bool, i64)> =
            query("SELECT last_seen_at IS NOT NULL, count(*) FROM sessions WHERE expires_at > $1 GROUP BY 1")
                .bind(now)
                .all(&mut connection)
                .await?;
        for (kind, console) in [("api", false), ("console", true)] {
            let count = counts.iter().find(|(is_console, _)| *is_console == console).map_or(0, |(_, count)| *count);
            self.gauges.sessions.get_or_create(&KindLabels { kind }).set(count);
        }
        let counts: Vec<(String, i64)> = query(
            "SELECT state, count(*) FROM jobs \
             WHERE alive = TRUE OR (deleted_at IS NULL AND state NOT IN ('COMPLETED', 'FAILED')) GROUP BY state",
        )
        .all(&mut connection)
        .await?;
        for state in JobState::ALL.iter().filter(|state| !state.is_final()) {
            let count = counts.iter().find(|(name, _)| name == state.name()).map_or(0, |(_, count)| *count);
            self.gauges.open_jobs.get_or_create(&StateLabels { state: state.name() }).set(count);
        }
        let last: Option<i64> = query("SELECT max(seq) FROM audit").scalar(&mut connection).await?;
        drop(connection);
        self.gauges.audit_last_row.set(last.unwrap_or_default());
        let marked = app.audit().marked().map_err(|error| Error::File("reading the audit's mark", error))?;
        self.gauges.audit_marked_row.set(marked.unwrap_or_default());
        Ok(())
    }
}

fn set(gauge: &Gauge, value: impl TryInto<i64>) {
    gauge.set(value.try_into().unwrap_or(i64::MAX));
}
