//! The long polls that waits share: one for each cluster.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use mlplatform_protocol::jobs::JobChange;
use tokio::{
    sync::{Semaphore, watch},
    task::AbortHandle,
};

use crate::error::Error;

/// The most requests about single jobs at a time, however many waits there are.
const MAX_REQUESTS: usize = 8;

/// The watches of a client, by cluster.
#[derive(Default)]
pub(crate) struct Watches(pub(crate) Mutex<HashMap<String, Weak<Watch>>>);

/// One cluster's long poll, and the jobs that are waited for.
pub(crate) struct Watch {
    pub(crate) cluster: String,
    jobs: Mutex<HashMap<String, watch::Sender<Update>>>,
    /// `Ok`: the first poll has answered, and no later change is missed. `Err`: polling has failed for good.
    pub(crate) started: watch::Sender<Option<Result<(), Error>>>,
    pub(crate) requests: Semaphore,
    /// The number of waits. While it is 0, no poll is sent.
    pub(crate) waiters: watch::Sender<usize>,
    pub(crate) task: Mutex<Option<AbortHandle>>,
}

/// The latest state of a job.
#[derive(Clone, Debug, Default)]
pub(crate) enum Update {
    #[default]
    None,
    Changed(JobChange),
    Failed(Error),
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = locked(&self.task).take() {
            task.abort();
        }
    }
}

/// Counts one wait while it lives.
pub(crate) struct Waiter<'a>(&'a watch::Sender<usize>);

impl<'a> Waiter<'a> {
    pub(crate) fn new(waiters: &'a watch::Sender<usize>) -> Self {
        waiters.send_modify(|count| *count = count.saturating_add(1));
        Self(waiters)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// A subscription to one job's changes.
pub(crate) struct Watched {
    pub(crate) watch: Arc<Watch>,
    name: String,
    pub(crate) updates: watch::Receiver<Update>,
}

impl Watched {
    pub(crate) fn new(watch: Arc<Watch>, name: &str) -> Self {
        let updates = locked(&watch.jobs).entry(name.to_owned()).or_default().subscribe();
        Self { watch, name: name.to_owned(), updates }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut jobs = locked(&self.watch.jobs);
        // Its own receiver is still there.
        if jobs.get(&self.name).is_some_and(|updates| updates.receiver_count() <= 1) {
            jobs.remove(&self.name);
        }
    }
}

impl Watch {
    pub(crate) fn new(cluster: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            jobs: Mutex::default(),
            started: watch::Sender::new(None),
            requests: Semaphore::new(MAX_REQUESTS),
            waiters: watch::Sender::new(0),
            task: Mutex::default(),
        }
    }

    pub(crate) fn publish(&self, changes: Vec<JobChange>) {
        self.started.send_if_modified(|started| started.replace(Ok(())).is_none());
        let jobs = locked(&self.jobs);
        for change in changes {
            if let Some(updates) = jobs.get(&change.info.job_name) {
                updates.send_replace(Update::Changed(change));
            }
        }
    }

    pub(crate) fn fail(&self, error: &Error) {
        for updates in locked(&self.jobs).values() {
            updates.send_replace(Update::Failed(error.clone()));
        }
        self.started.send_replace(Some(Err(error.clone())));
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
