//! Value classes, one file for each Python submodule of `mlplatform_client.serializers`.

pub(crate) mod auth;

use mlplatform_client::protocol::Timestamp;
use pyo3::{prelude::*, sync::PyOnceLock};

/// An aware `datetime.datetime` in UTC.
fn datetime(py: Python<'_>, at: Timestamp) -> PyResult<Py<PyAny>> {
    static DATETIME: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    // Python 3.9's `fromisoformat` reads no 'Z' and no other number of decimals.
    let text = at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string();
    Ok(DATETIME.import(py, "datetime", "datetime")?.call_method1("fromisoformat", (text,))?.unbind())
}
