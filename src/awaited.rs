//! Calls for asyncio: start, completion on the event loop, cancellation.
//!
//! A method of [`AwaitedPlatform`](crate::platform::AwaitedPlatform) checks its arguments and returns a [`Call`].
//! `mlplatform_client.aio` starts it with the [`Completions`] of the running loop, and awaits it. When the call ends, its
//! number is queued there and, if the queue was empty, one byte is written to a socket that the loop watches: the loop wakes
//! up once for a batch. So no thread of the runtime ever enters Python, even if the loop is closed or the interpreter exits.

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

/// Wakes the loop of a call because there is an update.
#[derive(Clone, Default)]
pub(crate) struct Notifier(Arc<OnceLock<Post>>);

impl Notifier {
    pub(crate) fn notify(&self) {
        if let Some(post) = self.0.get() {
            post.queue.post(post.number);
        }
    }
}

/// A call to be awaited.
#[pyclass(frozen, module = "mlplatform_client._native")]
pub(crate) struct Call {
    state: Mutex<State>,
    /// The process: a forked child must not use the parent's runtime.
    process: u32,
    over: Arc<AtomicBool>,
    /// The function to call with each update, or ``None``.
    #[pyo3(get)]
    on_update: Option<Py<PyAny>>,
    notifier: Notifier,
}

#[derive(Default)]
struct State {
    /// Present until the call is started.
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Present once the call is started.
    task: Option<AbortHandle>,
    /// Present until the result is taken.
    result: Option<Show>,
    /// Pending updates.
    updates: Option<Updates>,
}

impl Call {
    /// `show` converts the result for Python. It is not part of the task, which must not hold Python objects.
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
            show(py, result.unwrap_or_else(|| Err(Error::internal("the task of the call was lost"))))
        };
        let state = State { future: Some(Box::pin(future)), task: None, result: Some(Box::new(result)), updates: None };
        let (state, process) = (Mutex::new(state), process::id());
        Self { state, process, over, on_update: None, notifier: Notifier::default() }
    }

    /// Adds updates, each of which the notifier announces.
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

/// Announces the end of the task, also after a panic or cancellation.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[pymethods]
impl Call {
    /// Start the call. When it has ended, ``completions`` returns its number.
    fn begin(&self, py: Python<'_>, completions: &Completions, number: u64) -> PyResult<()> {
        let _inside = exit::enter(py);
        let future = locked(&self.state).future.take();
        let future = future.filter(|_| self.process == process::id()).ok_or_else(|| again("it was already started"))?;
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

    /// Return the value of an ended call, or raise its exception.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let _inside = exit::enter(py);
        let result = locked(&self.state).result.take();
        result.ok_or_else(|| again("its result was already taken"))?(py)
    }

    /// Whether it has ended.
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// The next pending update, or ``None``.
    fn update(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let _inside = exit::enter(py);
        let Some(mut updates) = locked(&self.state).updates.take() else { return Ok(None) };
        let next = updates(py);
        locked(&self.state).updates = Some(updates);
        next
    }

    /// Cancel the call and its request. No effect on an ended call.
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
    PyRuntimeError::new_err(format!("this Call cannot be used any more: {what}"))
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

/// The numbers of ended calls, for one event loop.
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
            // At most two bytes are pending. An error means that the loop is gone.
            let _ = (&self.writer).write(&[0]);
        }
    }
}

struct Post {
    queue: Arc<Queue>,
    number: u64,
}

/// Queues the number when the task ends.
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

    /// The socket that becomes readable when calls have ended.
    #[cfg(unix)]
    fn fileno(&self) -> i32 {
        std::os::fd::AsRawFd::as_raw_fd(&self.reader)
    }

    /// The socket that becomes readable when calls have ended.
    #[cfg(windows)]
    fn fileno(&self) -> u64 {
        std::os::windows::io::AsRawSocket::as_raw_socket(&self.reader)
    }

    /// The numbers of calls that have ended since the last time.
    fn take(&self) -> Vec<u64> {
        // Read the bytes first: a byte written later belongs to a number that is taken now, or to an empty queue.
        let mut bytes = [0; 16];
        while matches!((&self.reader).read(&mut bytes), Ok(1..)) {}
        mem::take(&mut *locked(&self.queue.ended))
    }
}

#[cfg(unix)]
fn pair() -> io::Result<(Stream, Stream)> {
    Stream::pair()
}

/// Like Python's `socket.socketpair` on systems without one.
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
