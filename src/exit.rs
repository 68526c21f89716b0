//! The interpreter's end, and who may still be in the interpreter when it comes.
//!
//! Once finalization has begun, CPython before 3.14 ends each other thread with `pthread_exit` as soon as it asks for
//! the GIL: at the end of a wait, or in the middle of Python code. That unwinds the thread's stack by force, and to
//! unwind frames of Rust is an abort, or worse. So no thread that may be ended has a frame of ours on its stack:
//!
//! * A method in which Python code may run begins with [`enter`]: until it returns its thread is counted as inside.
//! * A wait happens in [`Inside::detached`], the only place where this crate releases the GIL: meanwhile the thread is
//!   outside, and it asks to be inside again before it asks for the GIL.
//! * A hook of `atexit` closes the gate: who is outside stays there for good, and the interpreter ends when nobody is
//!   inside any more, or after [`PATIENCE`].
//!
//! The hook belongs to `atexit`, not to `threading`: from 3.9 to 3.13 CPython joins the threads that are no daemons,
//! those of `concurrent.futures` among them, then calls `atexit`, then begins finalization. So executors get their
//! answers, and no thread is ended before the hook was called. `atexit` calls the oldest hook last. Ours is registered
//! at import, so nearly all others are called before it; one that is older, and waits for a daemon thread's call, waits
//! in vain.
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

/// How long the end waits for threads that are inside: they need milliseconds, unless user's code
/// (`warnings.showwarning`, a stream that nobody reads) holds them.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(1);

/// The process' id, whether the gate is closed, and how many threads are inside: one word, so that there is no moment
/// between asking and being counted. A forked child has the parent's word and none of its threads: it begins anew.
static GATE: AtomicU64 = AtomicU64::new(0);
const PROCESS: u64 = !0 << 32;
const CLOSED: u64 = 1 << 31;
const THREADS: u64 = CLOSED - 1;

thread_local! {
    /// How many of this thread's frames have entered.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// Whether this thread ends the interpreter.
    static ENDS: Cell<bool> = const { Cell::new(false) };
}

/// This thread is inside until this is dropped.
pub(crate) struct Inside<'py>(Python<'py>);

/// Lets this thread in; once the interpreter ends, it does not return.
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

    /// Does something without the GIL. If the interpreter ends meanwhile, it does not return.
    pub(crate) fn detached<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        #[expect(clippy::disallowed_methods, reason = "this is the place")]
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

/// This thread has frames inside and waits; it is let in again when this is dropped.
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
    // A child that was forked inside was never counted in its own word.
    let counted = |state| (own(state) & THREADS != 0).then(|| own(state) - 1);
    let _: Result<u64, u64> = GATE.fetch_update(Ordering::SeqCst, Ordering::SeqCst, counted);
}

/// The word, or the one with which this process begins if it is the parent's.
fn own_state() -> impl Fn(u64) -> u64 {
    let process = u64::from(process::id()) << 32;
    move |state| if state & PROCESS == process { state } else { process }
}

fn stay_away() -> ! {
    loop {
        thread::park();
    }
}

/// Lets the end of the interpreter close the gate.
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
        // They need the GIL to get out.
        #[expect(clippy::disallowed_methods, reason = "the thread that ends the interpreter comes back")]
        py.detach(|| {
            let end = Instant::now() + PATIENCE;
            while somebody_inside() && Instant::now() < end {
                thread::sleep(POLL);
            }
        });
    }
}
