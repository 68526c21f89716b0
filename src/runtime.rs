//! Where Python waits for Rust: tokio, the GIL, fork, signals and the interpreter's end.
//!
//! * **GIL.** It is released around every wait, and held whenever a [`ProcessLocal`] is touched.
//! * **Signals.** Python only notes a signal; its handler runs when the main thread asks. So a wait is cut into
//!   slices, and between them Python is asked. A handler that raises (Ctrl-C) ends the wait, and dropping the
//!   task cancels the request.
//! * **fork.** A child has the parent's memory but none of its threads: a runtime or a connection pool that it
//!   inherits hangs. Whatever has threads or sockets behind it is kept in a [`ProcessLocal`], which a child
//!   replaces; the parent's is leaked there, never dropped, because dropping it would wait for the missing threads.
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

/// How long a signal may wait: well under the 0.2 s after which a person presses Ctrl-C again.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);
/// One runs while the other blocks; requests are I/O, more would not make them faster.
const WORKERS: usize = 2;

static RUNTIME: ProcessLocal<Runtime> = ProcessLocal::new();

/// Waits for a future of the client, answering to signals. `Err`: what a signal's handler raised.
pub(crate) fn block_on<T, F>(inside: &Inside<'_>, future: F) -> PyResult<Result<T, Error>>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let (_, mut none) = unbounded_channel::<()>();
    block_on_with_updates(inside, future, &mut none, |_, ()| Ok(()))
}

/// The same, and meanwhile `tell` is called, on this thread, with what comes through the channel. What it raises ends the
/// wait.
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

/// Begins a future that nobody waits for in Rust. Dropping the handle lets it go on.
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

/// A value with threads or sockets behind it, made at its first use in each process.
///
/// Every access asks for the GIL, and nothing under the lock releases it: a thread cannot hold the lock at the
/// moment at which another one forks.
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

    /// Takes this process' value away, so that the next use makes another.
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
