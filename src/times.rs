//! Conversion of times and durations to Python's `datetime` objects.

use std::time::Duration;

use mlplatform_client::{Error, protocol::Timestamp};
use pyo3::{prelude::*, sync::PyOnceLock};

use crate::errors;

/// Imports the classes before the first wait: see `exit`.
pub(crate) fn prepare(py: Python<'_>) -> PyResult<()> {
    datetime_class(py)?;
    timedelta_class(py)?;
    Ok(())
}

pub(crate) fn datetime_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static DATETIME: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    DATETIME.import(py, "datetime", "datetime")
}

fn timedelta_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static TIMEDELTA: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    TIMEDELTA.import(py, "datetime", "timedelta")
}

/// An aware `datetime.datetime` in UTC.
pub(crate) fn datetime(py: Python<'_>, at: Timestamp) -> PyResult<Py<PyAny>> {
    // Python 3.9's `fromisoformat` reads no 'Z' and no other number of decimals.
    let text = at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string();
    let read = datetime_class(py)?.call_method1("fromisoformat", (text,));
    // Of all years Python knows those from 1 to 9999.
    read.map(Bound::unbind).map_err(|_| errors::raise(py, &Error::out_of_range(&format!("the time {at}"))))
}

/// The same, or `None`.
pub(crate) fn optional_datetime(py: Python<'_>, at: Option<Timestamp>) -> PyResult<Py<PyAny>> {
    at.map_or_else(|| Ok(py.None()), |at| datetime(py, at))
}

/// A `datetime.timedelta`, to the microsecond.
pub(crate) fn timedelta(py: Python<'_>, length: Duration) -> PyResult<Py<PyAny>> {
    let parts = (0, length.as_secs(), length.subsec_micros());
    Ok(timedelta_class(py)?.call1(parts)?.unbind())
}
