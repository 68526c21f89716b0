//! The tokio runtime under Python: blocking calls, the GIL, fork, signals, interpreter exit.
//!
//! * **GIL.** It is released around every wait, and held whenever a [`ProcessLocal`] is touched.
//! * **Signals.** Python only records a signal; its handler runs when the main thread checks. So a wait is divided into
//!   slices, with a check between them. A handler that raises (Ctrl-C) ends the wait, and dropping the task cancels the
//!   request.
//! * **fork.** A child has the parent's memory but none of its threads: an inherited runtime or
//!   connection pool hangs. Values with threads or sockets are kept in a [`ProcessLocal`], which a child replaces; the
//!   parent's value is leaked there, because dropping it would wait for the missing threads.
//! * **Exit.** The runtime is a static and is never shut down: requests of daemon threads end with the process.
//!   No thread of the runtime ever enters Python, so none can be caught in its finalization; for Python's threads see
//!   [`crate::exit`].

use std::{
    future::Future,
    process,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mlplatform_client::Error;
use pyo3::prelude::*;
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::{JoinError, JoinHandle},
    time::sleep,
};

use crate::exit::Inside;

/// The longest delay of a signal: well below the 0.2 s after which people press Ctrl-C again.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);
/// Two, so that one runs while the other blocks; more would not make I/O faster.
const WORKERS: usize = 2;

static RUNTIME: ProcessLocal<Runtime> = ProcessLocal::new();

/// Waits for a future and handles signals meanwhile. `Err`: an exception of a signal handler.
pub(crate) fn block_on<T, F>(inside: &Inside<'_>, future: F) -> PyResult<Result<T, Error>>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let (_, mut none) = unbounded_channel::<()>();
    block_on_with_updates(inside, future, &mut none, |_, ()| Ok(()))
}

/// The same; `tell` is called on this thread with each update of the channel. An exception of it ends the wait.
pub(crate) fn block_on_with_updates<T, F, U: Send>(
    inside: &Inside<'_>,
    future: F,
    updates: &mut UnboundedReceiver<U>,
    mut tell: impl FnMut(Python<'_>, U) -> PyResult<()>,
) -> PyResult<Result<T, Error>>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    enum Came<T, U> {
        Update(U),
        Result(Result<T, JoinError>),
        Nothing,
    }
    let py = inside.py();
    let runtime = runtime(py)?;
    let mut task = AbortOnDrop(runtime.spawn(future));
    loop {
        let next = async {
            tokio::select! {
                biased;
                Some(update) = updates.recv() => Came::Update(update),
                result = &mut task.0 => Came::Result(result),
                () = sleep(SIGNAL_INTERVAL) => Came::Nothing,
            }
        };
        match inside.detached(|| runtime.block_on(next)) {
            Came::Update(update) => tell(py, update)?,
            Came::Result(result) => {
                while let Ok(update) = updates.try_recv() {
                    tell(py, update)?;
                }
                return Ok(result.unwrap_or_else(|died| Err(Error::internal(died))));
            }
            Came::Nothing => py.check_signals()?,
        }
    }
}

/// Starts a future in the background. Dropping the handle does not cancel it.
pub(crate) fn spawn(
    py: Python<'_>,
    future: impl Future<Output = ()> + Send + 'static,
) -> PyResult<tokio::task::AbortHandle> {
    Ok(runtime(py)?.spawn(future).abort_handle())
}

fn runtime(py: Python<'_>) -> std::io::Result<Arc<Runtime>> {
    RUNTIME.get_or_try_init(py, || {
        Builder::new_multi_thread().worker_threads(WORKERS).thread_name("mlplatform").enable_all().build()
    })
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A value with threads or sockets, created at its first use in each process.
///
/// Every access needs the GIL, and nothing under the lock releases it: so no thread holds the lock while another forks.
pub(crate) struct ProcessLocal<T>(Mutex<Option<(u32, Arc<T>)>>);

impl<T> ProcessLocal<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// This process' value.
    pub(crate) fn get_or_try_init<E>(&self, _py: Python<'_>, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let mut slot = self.lock();
        if let Some((owner, value)) = slot.as_ref()
            && *owner == process::id()
        {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(make()?);
        std::mem::forget(slot.replace((process::id(), Arc::clone(&value))));
        Ok(value)
    }

    /// Removes this process' value; the next use creates another.
    pub(crate) fn take(&self, _py: Python<'_>) -> Option<Arc<T>> {
        self.take_own()
    }

    fn take_own(&self) -> Option<Arc<T>> {
        let (owner, value) = self.lock().take()?;
        if owner == process::id() {
            return Some(value);
        }
        std::mem::forget(value);
        None
    }

    fn lock(&self) -> MutexGuard<'_, Option<(u32, Arc<T>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for ProcessLocal<T> {
    fn drop(&mut self) {
        drop(self.take_own());
    }
}
