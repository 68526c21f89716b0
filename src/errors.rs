//! Conversion of the client's errors to the exceptions of `mlplatform_client.core.exceptions`.

use mlplatform_client::{Error, Kind};
use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PyList},
};

use crate::exit;

/// The exception for an error. `from_native` in Python selects the class.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let _inside = exit::enter(py);
    build(py, error).unwrap_or_else(|problem| problem)
}

/// Imports the classes before the first wait: see `exit`.
pub(crate) fn prepare(py: Python<'_>) -> PyResult<()> {
    from_native(py).map(drop)
}

fn from_native(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static FROM_NATIVE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    FROM_NATIVE.import(py, "mlplatform_client.core.exceptions", "from_native")
}

fn build(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let details = PyDict::new(py);
    details.set_item("attempts", error.attempts())?;
    details.set_item("hint", error.hint())?;
    details.set_item("request_id", error.request_id())?;
    let kind = match error.kind() {
        Kind::Argument => "argument",
        Kind::Configuration | Kind::TokenMissing => "configuration",
        Kind::Refused(body) => {
            details.set_item("status", body.status)?;
            details.set_item("error_code", &body.error_code)?;
            details.set_item("field", body.field())?;
            "refused"
        }
        Kind::Foreign { status } => {
            details.set_item("status", status)?;
            "foreign"
        }
        Kind::Connection => "connection",
        Kind::Timeout => "timeout",
        Kind::Closed => "closed",
        Kind::Internal => "internal",
    };
    let causes = PyList::new(py, error.causes())?;
    let exception = from_native(py)?.call1((kind, error.to_string(), details, causes))?;
    Ok(PyErr::from_value(exception))
}
