//! Safe interpreter shutdown while other threads are in this extension.
//!
//! Once finalization has begun, CPython before 3.14 ends each other thread with `pthread_exit` as soon as it asks for
//! the GIL: at the end of a wait, or in the middle of Python code. That unwinds the thread's stack by force, and unwinding
//! frames of Rust aborts the process, or worse. So no such thread may have a frame of this crate on its stack:
//!
//! * A method in which Python code may run begins with [`enter`]: until it returns, its thread counts as inside.
//! * A wait happens in [`Inside::detached`], the only place where this crate releases the GIL: meanwhile the thread is
//!   outside, and it asks to be inside again before it asks for the GIL.
//! * A hook of `atexit` closes the gate: threads outside block forever, and the interpreter exits when no thread is
//!   inside any more, or after [`EXIT_TIMEOUT`].
//!
//! The hook belongs to `atexit`, not to `threading`: from 3.9 to 3.13 CPython joins the threads that are no daemons,
//! those of `concurrent.futures` among them, then calls `atexit`, then begins finalization. So calls of executors
//! finish, and no thread is ended before the hook was called. `atexit` calls the oldest hook last. Ours is registered
//! at import, so nearly all others are called before it; an older one cannot
//! wait for a daemon thread's call.
//!
//! The thread that ends the interpreter is never ended itself: its calls (other hooks, `__del__`) go on as before.
//!
//! A process has one gate, so one of its interpreters may import the package: not a second one beside it, nor one that
//! is started when the first has ended.

use std::{
    cell::Cell,
    process,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use pyo3::{
    exceptions::PyImportError,
    prelude::*,
    types::{PyCFunction, PyDict, PyTuple},
};

/// How long the exit waits for threads inside. They need milliseconds, unless user code (`warnings.showwarning`, a blocked
/// stream) holds them.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(1);

/// The process' id, whether the gate is closed, and how many threads are inside: one atomic word, so that
/// check and count are one step. A forked child has the parent's word and none of its threads: it begins anew.
static GATE: AtomicU64 = AtomicU64::new(0);
const PROCESS: u64 = !0 << 32;
const CLOSED: u64 = 1 << 31;
const THREADS: u64 = CLOSED - 1;

thread_local! {
    /// The nesting depth of this thread.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// Whether this thread ends the interpreter.
    static ENDS: Cell<bool> = const { Cell::new(false) };
}

/// Keeps this thread inside until it is dropped.
pub(crate) struct Inside<'py>(Python<'py>);

/// Enters; does not return once the interpreter exits.
pub(crate) fn enter(py: Python<'_>) -> Inside<'_> {
    if DEPTH.get() == 0 && !ENDS.get() && !step_in() {
        #[expect(clippy::disallowed_methods, reason = "it does not come back")]
        py.detach(|| -> () { stay_away() });
    }
    DEPTH.set(DEPTH.get() + 1);
    Inside(py)
}

impl<'py> Inside<'py> {
    pub(crate) fn py(&self) -> Python<'py> {
        self.0
    }

    /// Runs a closure without the GIL. Does not return if the interpreter exits meanwhile.
    pub(crate) fn detached<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        #[expect(clippy::disallowed_methods, reason = "the only permitted place")]
        self.0.detach(|| {
            let _outside = Outside::new();
            work()
        })
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        if DEPTH.get() == 0 && !ENDS.get() {
            step_out();
        }
    }
}

/// Marks this thread as outside during a wait; dropping it enters again.
struct Outside;

impl Outside {
    fn new() -> Self {
        if !ENDS.get() {
            step_out();
        }
        Self
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        if !ENDS.get() && !step_in() {
            stay_away();
        }
    }
}

fn step_in() -> bool {
    let own = own_state();
    GATE.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |state| {
        let state = own(state);
        (state & CLOSED == 0).then_some(state + 1)
    })
    .is_ok()
}

fn step_out() {
    let own = own_state();
    // A child forked while inside is not counted in its own word.
    let counted = |state| (own(state) & THREADS != 0).then(|| own(state) - 1);
    let _: Result<u64, u64> = GATE.fetch_update(Ordering::SeqCst, Ordering::SeqCst, counted);
}

/// The word, or the initial one if it is still that of the parent process.
fn own_state() -> impl Fn(u64) -> u64 {
    let process = u64::from(process::id()) << 32;
    move |state| if state & PROCESS == process { state } else { process }
}

fn stay_away() -> ! {
    loop {
        thread::park();
    }
}

/// Registers the hook that closes the gate.
pub(crate) fn register(py: Python<'_>) -> PyResult<()> {
    /// The interpreter that has the package, known by its module `sys`.
    static OWNER: AtomicUsize = AtomicUsize::new(0);
    let this = py.import("sys")?.as_ptr() as usize;
    if OWNER.compare_exchange(0, this, Ordering::SeqCst, Ordering::SeqCst).is_err_and(|owner| owner != this) {
        return Err(PyImportError::new_err(
            "another interpreter of this process has imported mlplatform_client, and only one can: use it in the main \
             interpreter alone (mod_wsgi: WSGIApplicationGroup %{GLOBAL})",
        ));
    }
    let hook = |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| close(args.py());
    let hook = PyCFunction::new_closure(py, None, None, hook)?;
    py.import("atexit")?.call_method1("register", (hook,)).map(drop)
}

fn close(py: Python<'_>) {
    if DEPTH.get() > 0 && !ENDS.get() {
        step_out();
    }
    ENDS.set(true);
    let own = own_state();
    let closed = |state| Some(own(state) | CLOSED);
    let _: Result<u64, u64> = GATE.fetch_update(Ordering::SeqCst, Ordering::SeqCst, closed);
    let somebody_inside = || GATE.load(Ordering::SeqCst) & THREADS != 0;
    if somebody_inside() {
        // The threads need the GIL to leave.
        #[expect(clippy::disallowed_methods, reason = "the exiting thread returns")]
        py.detach(|| {
            let end = Instant::now() + EXIT_TIMEOUT;
            while somebody_inside() && Instant::now() < end {
                thread::sleep(POLL);
            }
        });
    }
}
