//! Who waits for something to be committed hears of it: within the process at once, between servers by `NOTIFY`, and in any
//! case by looking again each second, because a notification is lost while the connection that listens is.

use std::{collections::HashMap, sync::Arc, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{failure::Failure, postgres::schema::SERVERS};

/// The one channel; topics are its payloads.
pub(crate) const CHANNEL: &str = "mlplatform";
/// How late a commit is heard of at the latest.
const POLL: Duration = Duration::from_secs(1);

/// The topics of one store, each with the number of times it was told.
#[derive(Clone, Default)]
pub(crate) struct Topics(Arc<std::sync::Mutex<HashMap<&'static str, watch::Sender<u64>>>>);

impl Topics {
    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Wakes those who wait for it.
    pub(crate) fn tell(&self, topic: &str) {
        if let Some(sender) = self.locked().get(topic) {
            sender.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn tell_all(&self) {
        self.locked().values().for_each(|sender| sender.send_modify(|count| *count = count.wrapping_add(1)));
    }

    pub(crate) fn subscribe(&self, topic: &'static str) -> Subscription {
        let told = self.locked().entry(topic).or_default().subscribe();
        Subscription { told, looked_at: Instant::now() }
    }
}

/// Waits for commits that [notified](crate::Connection::notify) of a topic.
pub struct Subscription {
    told: watch::Receiver<u64>,
    looked_at: Instant,
}

impl Subscription {
    /// Returns once there was such a commit since the last call, or since the subscription; after a second in any case, so
    /// that the caller looks. It may return without a commit.
    pub async fn changed(&mut self) {
        if let Ok(Err(_)) = timeout(POLL, self.told.changed()).await {
            // The store is gone; who looks finds that out.
            sleep(POLL).await;
        }
        self.looked_at = Instant::now();
    }

    /// Whether [`changed`](Self::changed) would return at once. If so, that counts as a call of it.
    pub fn has_changed(&mut self) -> bool {
        let due = self.looked_at.elapsed() >= POLL || self.told.has_changed().unwrap_or(true);
        if due {
            self.told.mark_unchanged();
            self.looked_at = Instant::now();
        }
        due
    }
}

/// Listens on a connection of its own until it is dropped.
pub(crate) struct Listening(JoinHandle<()>);

impl Listening {
    pub(crate) fn stop(&self) {
        self.0.abort();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn listen(options: PgConnectOptions, topics: Topics) -> Listening {
    // Idle for ever, which the timeouts of a session do not mean.
    let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None).connect_lazy_with(options);
    Listening(tokio::spawn(async move {
        let mut warned = false;
        loop {
            let mut heard = false;
            if let Err(error) = listen_once(&pool, &topics, &mut heard).await {
                // Once, until it has worked again.
                if heard || !warned {
                    tracing::warn!("commits of other servers are seen up to a second late: {}", Failure::from(error));
                }
                warned = true;
            }
            sleep(POLL).await;
        }
    }))
}

async fn listen_once(pool: &PgPool, topics: &Topics, listens: &mut bool) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    // No schema that this server cannot work with is made while it holds this.
    sqlx::query("SELECT pg_advisory_lock_shared($1)").bind(SERVERS).execute(&mut listener).await?;
    listener.listen(CHANNEL).await?;
    *listens = true;
    loop {
        // What was told before, or while the connection was lost.
        topics.tell_all();
        while let Some(told) = listener.try_recv().await? {
            topics.tell(told.payload());
        }
    }
}
