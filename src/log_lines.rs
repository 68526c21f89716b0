//! Iterator over the lines of a followed log.

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

/// The lines of a job's log as they are written: an iterator that ends after the last line of an ended job. Lines keep their
/// line ending, as lines of files do: ``print(line, end="")``. Bytes that are not UTF-8 are shown as ``\xNN``; a line longer
/// than 1 MiB is split.
///
/// It resumes after a broken connection or a restart of the platform. The first request is sent when the first line is read.
/// It cannot be used in a forked child. ``AsyncMLPlatform`` returns an asynchronous iterator instead.
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

    /// `None`: closed.
    fn shared(&self, py: Python<'_>) -> PyResult<Option<Shared>> {
        if self.process != process::id() {
            let error = Error::closed("this iterator belongs to the parent process: follow the log again here");
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

    /// A buffered line, or ``None``; for the asynchronous iterator.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        self.ready(&exit::enter(py))
    }

    /// Whether there are no more lines; for the asynchronous iterator.
    fn is_over(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.shared(py)?.is_none_or(|shared| locked(&shared.lines).is_over()))
    }

    /// A call that ends when bytes have arrived; for the asynchronous iterator.
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

    /// End the iteration and its request. May be called twice.
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
        // It may run Python code, which may call this method.
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

/// Waits for more bytes. Dropping it cancels the request; the next one continues at the same offset.
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
