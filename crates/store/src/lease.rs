//! The lease: of several servers one at a time may do a thing, and one that was thought dead cannot act on it any more.
//!
//! A row names the holder and when its lease ends, by the database's clock. The holder renews it well before that. Whoever
//! takes it over raises its epoch, and a change that rests on the lease checks holder, epoch and end inside its transaction
//! ([`Connection::under`](crate::Connection::under)), which keeps the row from being taken over until it is committed.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    connection::Connection,
    failure::Failure,
    query::{either, query},
    store::{Mode, Store},
};

/// Who wants a lease hears of one that was given up.
const TOPIC: &str = "leases";

/// How long a lease lasts and how often it is renewed.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// From each renewal on. So long a dead holder's work lies still.
    pub length: Duration,
    /// Between renewals: a third of the length leaves two more tries. Who does not have it tries each second.
    pub renewal: Duration,
}

impl Default for Terms {
    /// 15 seconds, renewed every 5.
    fn default() -> Self {
        Self { length: Duration::from_secs(15), renewal: Duration::from_secs(5) }
    }
}

/// A lease that is held, or was: only a transaction can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    name: &'static str,
    holder: Arc<str>,
    epoch: i64,
}

impl Lease {
    /// What it is a lease of.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Who holds it.
    #[must_use]
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// Raised each time it changes hands, or was left to run out.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.epoch
    }
}

/// Who held a lease last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// As it called itself.
    pub holder: String,
    /// It has not run out.
    pub is_alive: bool,
}

impl Store {
    /// Takes the lease if it is free, or renews it; `None`: another holds it.
    ///
    /// `holder` is unique to a start of a server: a name that is used again would take over its dead predecessor's lease.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_lease(
        &self,
        name: &'static str,
        holder: &str,
        length: Duration,
    ) -> Result<Option<Lease>, Failure> {
        let mut change = self.begin(Mode::Concurrent).await?;
        let epoch = either(
            "INSERT INTO leases (name, holder, epoch, ends_at) \
             VALUES ($1, $2, 1, CAST(unixepoch('subsec') * 1000000 AS INTEGER) + $3) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, ends_at = excluded.ends_at, \
             epoch = leases.epoch + CASE WHEN leases.holder = excluded.holder AND leases.ends_at > excluded.ends_at - $3 \
             THEN 0 ELSE 1 END \
             WHERE leases.holder = excluded.holder OR leases.ends_at <= excluded.ends_at - $3 RETURNING epoch",
            "INSERT INTO leases (name, holder, epoch, ends_at) \
             VALUES ($1, $2, 1, CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) + $3) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, ends_at = excluded.ends_at, \
             epoch = leases.epoch + CASE WHEN leases.holder = excluded.holder AND leases.ends_at > excluded.ends_at - $3 \
             THEN 0 ELSE 1 END \
             WHERE leases.holder = excluded.holder OR leases.ends_at <= excluded.ends_at - $3 RETURNING epoch",
        )
        .bind(name)
        .bind(holder)
        .bind(i64::try_from(length.as_micros()).unwrap_or(i64::MAX / 4))
        .optional_scalar(&mut change)
        .await?;
        change.commit().await?;
        Ok(epoch.map(|epoch| Lease { name, holder: holder.into(), epoch }))
    }

    /// Who held it last, if anybody ever did.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lease_holder(&self, name: &'static str) -> Result<Option<Holder>, Failure> {
        let row: Option<(String, bool)> = either(
            "SELECT holder, ends_at > CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM leases WHERE name = $1",
            "SELECT holder, ends_at > CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) FROM leases \
             WHERE name = $1",
        )
        .bind(name)
        .optional(&mut self.read().await?)
        .await?;
        Ok(row.map(|(holder, is_alive)| Holder { holder, is_alive }))
    }

    /// Gives the lease up, so that another has it at once. Of no effect if it is held no more.
    ///
    /// # Errors
    /// When the database fails; it runs out then.
    pub async fn release_lease(&self, lease: &Lease) -> Result<(), Failure> {
        let mut change = self.begin(Mode::Concurrent).await?;
        query("UPDATE leases SET ends_at = 0 WHERE name = $1 AND holder = $2 AND epoch = $3")
            .bind(lease.name)
            .bind(lease.holder())
            .bind(lease.epoch)
            .execute(&mut change)
            .await?;
        change.notify(TOPIC).await?;
        change.commit().await
    }

    /// Tries to take the lease, again and again, and keeps it, in a task of its own.
    #[must_use]
    pub fn keep_lease(&self, name: &'static str, holder: String, terms: Terms) -> LeaseKeeper {
        let (sender, held) = watch::channel(None);
        let store = self.clone();
        LeaseKeeper { held, store: self.clone(), task: tokio::spawn(keep(store, name, holder, terms, sender)) }
    }
}

async fn keep(store: Store, name: &'static str, holder: String, terms: Terms, held: watch::Sender<Option<Lease>>) {
    // Counted from before each renewal was asked for: never later than the end that the database has written.
    let mut until = Instant::now();
    let mut released = store.subscribe(TOPIC);
    loop {
        let asked = Instant::now();
        // What is not renewed by its end is not held; who has none may wait as long as one lasts.
        let patience = if held.borrow().is_some() { until } else { asked + terms.length };
        let problem = match timeout_at(patience, store.take_lease(name, &holder, terms.length)).await {
            Ok(Ok(lease)) => {
                until = asked + terms.length;
                held.send_if_modified(|known| {
                    let changed = *known != lease;
                    *known = lease;
                    changed
                });
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer in time".to_owned()),
        };
        if let Some(problem) = problem {
            tracing::warn!("the lease '{name}' could not be taken or renewed: {problem}");
            if Instant::now() + terms.renewal >= until {
                // The next try would come too late.
                held.send_if_modified(|known| known.take().is_some());
            }
        }
        if held.borrow().is_some() {
            sleep_until(asked + terms.renewal).await;
        } else {
            released.changed().await;
        }
    }
}

/// Holds a lease, or tries to, until it is stopped or dropped.
pub struct LeaseKeeper {
    held: watch::Receiver<Option<Lease>>,
    store: Store,
    task: JoinHandle<()>,
}

impl LeaseKeeper {
    /// The lease, if it is held as far as is known here. A change says for certain.
    #[must_use]
    pub fn lease(&self) -> Option<Lease> {
        self.held.borrow().clone()
    }

    /// Returns when the lease was taken or lost since the last call.
    pub async fn changed(&mut self) {
        // An error means that the task has ended, which only `stop` and dropping do.
        let _ = self.held.changed().await;
    }

    /// Stops renewing and gives the lease up.
    ///
    /// # Errors
    /// When the database fails; the lease runs out then.
    pub async fn stop(self) -> Result<(), Failure> {
        self.task.abort();
        match self.lease() {
            Some(lease) => self.store.release_lease(&lease).await,
            None => Ok(()),
        }
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Whether the lease is still held, as of this transaction: nobody takes it over before this one has ended.
    ///
    /// # Errors
    /// When this is no transaction, or the database fails.
    pub async fn under(&mut self, lease: &Lease) -> Result<bool, Failure> {
        self.must_be_change()?;
        let held: Option<i64> = either(
            "SELECT epoch FROM leases WHERE name = $1 AND holder = $2 AND epoch = $3 \
             AND ends_at > CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
            "SELECT epoch FROM leases WHERE name = $1 AND holder = $2 AND epoch = $3 \
             AND ends_at > CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) FOR SHARE",
        )
        .bind(lease.name())
        .bind(lease.holder())
        .bind(lease.epoch())
        .optional_scalar(self)
        .await?;
        Ok(held.is_some())
    }
}
