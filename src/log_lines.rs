//! The lines of a log, as they come.

use std::{
    mem, process,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mlplatform_client::{
    Error,
    follow::{Lines, LogStream},
};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyString},
};

use crate::{
    awaited::Call,
    errors,
    exit::{self, Inside},
    runtime,
};

/// The lines of a job's log, given as they are written: an iterator that ends when the job has ended and its last line was
/// given. A line has its end with it, as lines of files have: ``print(line, end="")``. Bytes that are no UTF-8 are shown as
/// ``\xNN``; a line that is longer than 1 MiB comes in pieces.
///
/// It goes on where it was when a connection breaks or the platform is started again. Nothing is asked for before the first
/// line is. It is of use in one process; of an ``AsyncMLPlatform`` it is an asynchronous iterator.
#[pyclass(frozen, weakref, module = "mlplatform_client._native")]
pub(crate) struct SparkJobLogLines {
    shared: Mutex<Option<Shared>>,
    process: u32,
}

#[derive(Clone)]
struct Shared {
    stream: Arc<tokio::sync::Mutex<LogStream>>,
    lines: Arc<Mutex<Lines>>,
}

impl SparkJobLogLines {
    pub(crate) fn new(stream: LogStream) -> Self {
        let shared = Shared { stream: Arc::new(tokio::sync::Mutex::new(stream)), lines: Arc::default() };
        Self { shared: Mutex::new(Some(shared)), process: process::id() }
    }

    /// `None`: it was closed.
    fn shared(&self, py: Python<'_>) -> PyResult<Option<Shared>> {
        if self.process != process::id() {
            let error = Error::closed("this log is followed by the process that was forked: follow it anew here");
            return Err(errors::raise(py, &error));
        }
        Ok(locked(&self.shared).clone())
    }
}

#[pymethods]
impl SparkJobLogLines {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        let inside = exit::enter(py);
        loop {
            if let Some(line) = self.ready(&inside)? {
                return Ok(Some(line));
            }
            let Some(shared) = self.shared(py)?.filter(|shared| !locked(&shared.lines).is_over()) else {
                return Ok(None);
            };
            runtime::block_on(&inside, fetch(shared))?.map_err(|error| errors::raise(py, &error))?;
        }
    }

    /// A line, if one has come: for whoever awaits.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        self.ready(&exit::enter(py))
    }

    /// Whether there are no more lines: for whoever awaits.
    fn is_over(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.shared(py)?.is_none_or(|shared| locked(&shared.lines).is_over()))
    }

    /// A call that ends when something has come: for whoever awaits.
    fn fetch(&self, py: Python<'_>) -> PyResult<Call> {
        let _inside = exit::enter(py);
        let shared = self.shared(py)?;
        let fetched = async move {
            match shared {
                Some(shared) => fetch(shared).await,
                None => Ok(()),
            }
        };
        Ok(Call::new(fetched, |py, result| result.map(|()| py.None()).map_err(|error| errors::raise(py, &error))))
    }

    /// Give it up: there are no more lines, and no request stays behind. May be called twice.
    fn close(&self) {
        if self.process == process::id() {
            drop(locked(&self.shared).take());
        }
    }
}

impl SparkJobLogLines {
    fn ready<'py>(&self, inside: &Inside<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        let py = inside.py();
        let Some(shared) = self.shared(py)? else { return Ok(None) };
        let mut lines = locked(&shared.lines);
        let Some(line) = lines.next() else { return Ok(None) };
        if let Ok(text) = std::str::from_utf8(line) {
            return Ok(Some(PyString::new(py, text)));
        }
        let line = PyBytes::new(py, line);
        // It may run Python code, which may come back here.
        drop(lines);
        Ok(Some(line.call_method1("decode", ("utf-8", "backslashreplace"))?.cast_into()?))
    }
}

impl Drop for SparkJobLogLines {
    fn drop(&mut self) {
        if self.process != process::id() {
            mem::forget(locked(&self.shared).take());
        }
    }
}

/// Waits for more. When this is dropped, its request ends, and the next one goes on where it was.
async fn fetch(shared: Shared) -> Result<(), Error> {
    let mut stream = shared.stream.lock().await;
    let next = stream.next().await;
    if next.is_err() {
        stream.cancel_request();
    }
    locked(&shared.lines).push(next?);
    Ok(())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
