//! Which server looks after the jobs, of several that share a store: one at a time.
//!
//! With SQLite it is the one that has the lock of the data directory, for as long as it lives. With PostgreSQL it is the
//! holder of a lease, which every transaction of the supervisor checks ([`Fence`]): one that stood still for longer than
//! the lease lasts writes nothing on waking.

use std::time::Duration;

use mlplatform_store::{Connection, Lease, LeaseKeeper, Terms};
use serde_json::json;
use tokio::time::timeout;

use super::{
    placement::{Placement, Role},
    row::{self, JobRow},
};
use crate::{
    app::App,
    audit::{Event, Outcome},
    error::{Error, Result},
    request::RequestContext,
    transaction::Transaction,
};

/// The name of the lease.
pub const LEASE: &str = "jobs";
/// How long a database may take that is told on stopping.
const PATIENCE: Duration = Duration::from_secs(3);
/// The action of the audit row that says that jobs were given up.
const ABANDON: &str = "abandon_jobs";

/// The proof that this server looks after the jobs; checked inside each of its transactions.
#[derive(Clone, Debug)]
pub(crate) enum Fence {
    /// The lock of the data directory, which is not lost.
    Directory,
    /// What PostgreSQL knows better.
    Lease(Lease),
}

impl Fence {
    /// Begins a transaction that nobody commits who has lost the lease: it cannot be taken over before this one has ended.
    pub(crate) async fn begin<'a>(&self, app: &'a App, context: &'a RequestContext) -> Result<Transaction<'a>> {
        let mut tx = app.begin(context).await?;
        match self {
            Self::Lease(lease) if !tx.connection().under(lease).await? => Err(Error::LeaseLost),
            _ => Ok(tx),
        }
    }

    pub(super) fn role(&self) -> Role {
        Role::Active {
            epoch: match self {
                Self::Directory => 0,
                Self::Lease(lease) => lease.epoch(),
            },
        }
    }
}

/// Gives the fence while it is held.
pub(super) enum Election {
    /// There is no other server.
    Alone,
    /// Several may want it.
    Lease(LeaseKeeper),
}

impl Election {
    /// `None`: this server does not take part.
    pub(super) fn enter(app: &App) -> Option<Self> {
        if !app.store().is_postgres() {
            return Some(Self::Alone);
        }
        let holder = app.jobs().placement().holder()?;
        Some(Self::Lease(app.store().keep_lease(LEASE, holder.to_owned(), Terms::default())))
    }

    pub(super) fn fence(&self) -> Option<Fence> {
        match self {
            Self::Alone => Some(Fence::Directory),
            Self::Lease(keeper) => keeper.lease().map(Fence::Lease),
        }
    }

    /// Resolves when the fence is another, or none any more.
    pub(super) async fn changed(&mut self) {
        match self {
            Self::Alone => std::future::pending().await,
            Self::Lease(keeper) => keeper.changed().await,
        }
    }

    /// Lets another server have it at once.
    pub(super) async fn leave(self) {
        let Self::Lease(keeper) = self else { return };
        match timeout(PATIENCE, keeper.stop()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the lease of jobs could not be given up, and runs out: {error}"),
            Err(_) => tracing::warn!("the lease of jobs could not be given up in time, and runs out"),
        }
    }
}

/// Why a server that would run jobs on its own machine does not start.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// One does already.
    #[error(
        "the server '{holder}' runs the jobs of this database on its machine, so no other can: start this one with \
         --no-jobs, or stop that one first (one that was killed is taken for dead after 15 seconds)"
    )]
    Held {
        /// Which.
        holder: String,
    },
    /// One did, and is not there any more.
    #[error(
        "{jobs} jobs run on the machine of the server '{holder}', where this one cannot see them: start that one again, or \
         this one with --no-jobs. If that machine or its data directory is gone for good, start this one once with \
         --abandon-jobs: these jobs have failed then"
    )]
    Abandoned {
        /// Which.
        holder: String,
        /// How many run there.
        jobs: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Platform(#[from] Error),
}

/// Takes the lease for a server that runs jobs on its own machine, before it serves: there is no second one. Without
/// effect where the store is not shared, or jobs run elsewhere.
///
/// `abandon`: jobs that run on another machine have failed.
///
/// # Errors
/// When another server runs jobs on its machine, or did and has left some running; when the store fails.
pub async fn claim(app: &App, abandon: bool) -> Result<(), ClaimError> {
    let Placement::Here { holder, id } = app.jobs().placement() else { return Ok(()) };
    if !app.store().is_postgres() {
        return Ok(());
    }
    let before = app.store().lease_holder(LEASE).await.map_err(Error::from)?;
    let is_here = |holder: &str| holder.rsplit(':').next() == Some(id);
    let elsewhere = before.filter(|before| !is_here(&before.holder));
    if let Some(before) = &elsewhere {
        let jobs = running(&mut app.read().await?).await?.len();
        if jobs > 0 && before.is_alive {
            return Err(ClaimError::Held { holder: before.holder.clone() });
        }
        if jobs > 0 && !abandon {
            return Err(ClaimError::Abandoned { holder: before.holder.clone(), jobs });
        }
    }
    let lease = app.store().take_lease(LEASE, holder, Terms::default().length).await.map_err(Error::from)?;
    let Some(lease) = lease else {
        let holder = app.store().lease_holder(LEASE).await.map_err(Error::from)?;
        return Err(ClaimError::Held { holder: holder.map(|now| now.holder).unwrap_or_default() });
    };
    match elsewhere {
        Some(before) if abandon => Ok(give_up(app, &Fence::Lease(lease), &before.holder).await?),
        _ => Ok(()),
    }
}

async fn running(connection: &mut Connection) -> Result<Vec<JobRow>> {
    Ok(row::open(connection).await?.into_iter().filter(|job| job.alive).collect())
}

/// The jobs that run on a machine that is gone have failed.
async fn give_up(app: &App, fence: &Fence, server: &str) -> Result<()> {
    let context = RequestContext::local();
    let mut tx = fence.begin(app, &context).await?;
    let running = running(tx.connection()).await?;
    let problem = format!("it ran on the machine of the server '{server}', which an operator has given up");
    let now = tx.now().as_microsecond();
    for job in &running {
        row::fail(tx.connection(), job, now, "MachineAbandoned", &problem).await?;
    }
    let detail = json!({"server": server, "jobs_failed": running.len()});
    tx.record(Event { action: ABANDON, actor: None, subject: None, outcome: Outcome::Done, detail }).await?;
    tx.commit().await
}
