//! Calls that Python awaits: how one is begun, how an event loop learns that it has ended, and how it is given up.
//!
//! A method of [`AwaitedPlatform`](crate::platform::AwaitedPlatform) checks its arguments and returns a [`Call`].
//! `mlplatform_client.aio` begins it with the [`Completions`] of the running loop, and awaits. When the call ends, its
//! number is queued there and, if the queue was empty, one byte is written to a socket that the loop watches: the loop is
//! woken once for a batch. So no thread of the runtime ever enters Python, whatever becomes of the loop or the interpreter.

use std::{
    future::Future,
    io::{self, Read, Write},
    mem,
    pin::Pin,
    process,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use mlplatform_client::Error;
use pyo3::{exceptions::PyRuntimeError, prelude::*};
use tokio::{sync::mpsc::UnboundedReceiver, task::AbortHandle};

#[cfg(not(unix))]
use std::net::TcpStream as Stream;
#[cfg(unix)]
use std::os::unix::net::UnixStream as Stream;

use crate::{exit, runtime};

type Show = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;
type Updates = Box<dyn FnMut(Python<'_>) -> PyResult<Option<Py<PyAny>>> + Send>;

/// Wakes the loop of a call before its end: there is an update.
#[derive(Clone, Default)]
pub(crate) struct Notifier(Arc<OnceLock<Post>>);

impl Notifier {
    pub(crate) fn notify(&self) {
        if let Some(post) = self.0.get() {
            post.queue.post(post.number);
        }
    }
}

/// A call that was asked for and is awaited.
#[pyclass(frozen, module = "mlplatform_client._native")]
pub(crate) struct Call {
    state: Mutex<State>,
    /// A forked child must not touch what belongs to the parent's runtime.
    process: u32,
    over: Arc<AtomicBool>,
    /// What is called with each update, or ``None``.
    #[pyo3(get)]
    on_update: Option<Py<PyAny>>,
    notifier: Notifier,
}

#[derive(Default)]
struct State {
    /// Until it is begun.
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// From then on.
    task: Option<AbortHandle>,
    /// Until it is taken.
    result: Option<Show>,
    /// What has come meanwhile.
    updates: Option<Updates>,
}

impl Call {
    /// `show` makes Python's value of what comes. It stays on Python's side: what the runtime holds knows no Python.
    pub(crate) fn new<T: Send + 'static>(
        answer: impl Future<Output = Result<T, Error>> + Send + 'static,
        show: impl FnOnce(Python<'_>, Result<T, Error>) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> Self {
        let slot = Arc::new(Mutex::new(None));
        let over = Arc::new(AtomicBool::new(false));
        let (kept, ended) = (Arc::clone(&slot), Ended(Arc::clone(&over)));
        let future = async move {
            let _ended = ended;
            let result = answer.await;
            *locked(&kept) = Some(result);
        };
        let result = move |py: Python<'_>| {
            let result = locked(&slot).take();
            show(py, result.unwrap_or_else(|| Err(Error::internal("the call's task died"))))
        };
        let state = State { future: Some(Box::pin(future)), task: None, result: Some(Box::new(result)), updates: None };
        let (state, process) = (Mutex::new(state), process::id());
        Self { state, process, over, on_update: None, notifier: Notifier::default() }
    }

    /// With updates on its way, each of which was announced by the notifier.
    pub(crate) fn with_updates<U: Send + 'static>(
        mut self,
        notifier: Notifier,
        mut updates: UnboundedReceiver<U>,
        on_update: Py<PyAny>,
        show: impl Fn(Python<'_>, U) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> Self {
        let next = move |py: Python<'_>| updates.try_recv().ok().map(|update| show(py, update)).transpose();
        locked(&self.state).updates = Some(Box::new(next));
        (self.on_update, self.notifier) = (Some(on_update), notifier);
        self
    }
}

/// Tells that the task has ended, however it did.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[pymethods]
impl Call {
    /// Send it. When it has ended, the number is among what ``completions`` gives.
    fn begin(&self, py: Python<'_>, completions: &Completions, number: u64) -> PyResult<()> {
        let _inside = exit::enter(py);
        let future = locked(&self.state).future.take();
        let future = future.filter(|_| self.process == process::id()).ok_or_else(|| again("it was begun before"))?;
        let post = || Post { queue: Arc::clone(&completions.queue), number };
        let _: Result<(), Post> = self.notifier.0.set(post());
        let post = PostOnDrop(post());
        let task = runtime::spawn(py, async move {
            let _post = post;
            future.await;
        })?;
        locked(&self.state).task = Some(task);
        Ok(())
    }

    /// What came of it, once it has ended: the value, or the exception is raised.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let _inside = exit::enter(py);
        let result = locked(&self.state).result.take();
        result.ok_or_else(|| again("its result was taken before"))?(py)
    }

    /// Whether it has ended.
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// The next update, if one has come.
    fn update(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let _inside = exit::enter(py);
        let Some(mut updates) = locked(&self.state).updates.take() else { return Ok(None) };
        let next = updates(py);
        locked(&self.state).updates = Some(updates);
        next
    }

    /// Give it up: the request ends. Does nothing to a call that has ended.
    fn abort(&self) {
        if self.process == process::id() {
            let mut state = locked(&self.state);
            state.future = None;
            if let Some(task) = &state.task {
                task.abort();
            }
        }
    }
}

fn again(what: &str) -> PyErr {
    PyRuntimeError::new_err(format!("this Call is of no use any more: {what}"))
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.process == process::id() {
            self.abort();
        } else {
            mem::forget(mem::take(&mut *locked(&self.state)));
        }
    }
}

/// The numbers of calls that have ended, for one event loop.
#[pyclass(frozen, module = "mlplatform_client._native")]
pub(crate) struct Completions {
    queue: Arc<Queue>,
    reader: Stream,
}

struct Queue {
    ended: Mutex<Vec<u64>>,
    writer: Stream,
}

impl Queue {
    fn post(&self, number: u64) {
        let mut ended = locked(&self.ended);
        ended.push(number);
        if ended.len() == 1 {
            // Never more than two bytes wait. If nobody reads them any more, nobody waits for the call.
            let _ = (&self.writer).write(&[0]);
        }
    }
}

struct Post {
    queue: Arc<Queue>,
    number: u64,
}

/// Queues the number when the task ends, however it does.
struct PostOnDrop(Post);

impl Drop for PostOnDrop {
    fn drop(&mut self) {
        self.0.queue.post(self.0.number);
    }
}

#[pymethods]
impl Completions {
    #[new]
    fn new() -> io::Result<Self> {
        let (reader, writer) = pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Self { queue: Arc::new(Queue { ended: Mutex::default(), writer }), reader })
    }

    /// The socket that can be read when calls have ended.
    #[cfg(unix)]
    fn fileno(&self) -> i32 {
        std::os::fd::AsRawFd::as_raw_fd(&self.reader)
    }

    /// The socket that can be read when calls have ended.
    #[cfg(windows)]
    fn fileno(&self) -> u64 {
        std::os::windows::io::AsRawSocket::as_raw_socket(&self.reader)
    }

    /// Those that have ended since the last time.
    fn take(&self) -> Vec<u64> {
        // The bytes first: one that is written after this finds the queue empty, or its number is taken now.
        let mut bytes = [0; 16];
        while matches!((&self.reader).read(&mut bytes), Ok(1..)) {}
        mem::take(&mut *locked(&self.queue.ended))
    }
}

#[cfg(unix)]
fn pair() -> io::Result<(Stream, Stream)> {
    Stream::pair()
}

/// As Python's `socket.socketpair` does where the system has none.
#[cfg(not(unix))]
fn pair() -> io::Result<(Stream, Stream)> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let writer = Stream::connect(listener.local_addr()?)?;
    let (reader, from) = listener.accept()?;
    if from == writer.local_addr()? { Ok((reader, writer)) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
