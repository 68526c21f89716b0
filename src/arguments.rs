//! Conversion of Python arguments, with errors that name the argument.

use std::time::Duration;

use mlplatform_client::{
    Error, config,
    protocol::{Lifetime, Role, Timestamp, audit, token, yaml},
};
use pyo3::{
    exceptions::{PyTypeError, PyUserWarning},
    prelude::*,
    types::{PyBool, PyDict, PyInt, PyString},
};
use serde::de::DeserializeOwned;

use crate::{errors, exit, text};

/// A lifetime: text in Go's grammar, a `timedelta`, or a number of seconds.
pub(crate) fn lifetime(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Lifetime> {
    let py = value.py();
    let read = if let Ok(given) = value.cast::<PyString>() {
        text::read(name, given)?.parse()
    } else if value.is_instance_of::<PyBool>() {
        return Err(not_a_lifetime(name, value));
    } else if let Ok(seconds) = value.extract::<f64>() {
        Lifetime::from_seconds(seconds)
    } else if let Ok(seconds) = value.call_method0("total_seconds").and_then(|seconds| seconds.extract()) {
        Lifetime::from_seconds(seconds)
    } else {
        return Err(not_a_lifetime(name, value));
    };
    read.map_err(|problem| errors::raise(py, &Error::argument(name, problem)))
}

fn not_a_lifetime(name: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let what = value.get_type().name().map_or_else(|_| "this".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!(
        "{name} must be a text such as '2h45m30s', a datetime.timedelta or a number of seconds, not {what}"
    ))
}

/// A time: an aware `datetime`, RFC 3339 text, or a duration before now as text or `timedelta`.
pub(crate) fn moment(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Timestamp> {
    let py = value.py();
    let text = if let Ok(given) = value.cast::<PyString>() {
        text::read(name, given)?
    } else if let Ok(text) = value.call_method0("isoformat").and_then(|text| text.extract()) {
        text
    } else if let Ok(seconds) = value.call_method0("total_seconds").and_then(|seconds| seconds.extract::<f64>()) {
        format!("{seconds}s")
    } else {
        return Err(PyTypeError::new_err(format!(
            "{name} must be an aware datetime.datetime, a datetime.timedelta (a duration before now) or a text"
        )));
    };
    audit::moment(&text, Timestamp::now()).map_err(|problem| bad(py, name, problem))
}

/// The exception for an invalid argument.
pub(crate) fn bad(py: Python<'_>, name: &str, problem: impl std::fmt::Display) -> PyErr {
    errors::raise(py, &Error::argument(name, problem))
}

/// A role: a member of `MLPTokenType`, or its value.
pub(crate) fn role(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Role> {
    let text = value.cast::<PyString>().map_err(|_| {
        PyTypeError::new_err(format!(
            "{name} must be MLPTokenType.USER or MLPTokenType.ADMIN (mlplatform_client.serializers.auth)"
        ))
    })?;
    let text = text::read(name, text)?;
    Role::from_name(&text).ok_or_else(|| {
        let problem = format!("'{}' is not a role; use MLPTokenType.USER or MLPTokenType.ADMIN", text.escape_debug());
        errors::raise(value.py(), &Error::argument(name, problem))
    })
}

/// `timeout=` of a single call, in seconds.
pub(crate) fn timeout(py: Python<'_>, seconds: Option<f64>) -> PyResult<Option<Duration>> {
    seconds
        .map(|seconds| {
            config::timeout(seconds).map_err(|problem| errors::raise(py, &Error::argument("timeout", problem)))
        })
        .transpose()
}

/// Refuses unknown keyword arguments where a typing mistake could do harm: one in `refresh_ttl` would create a token without
/// an expiry.
pub(crate) fn refuse_unknown(method: &str, known: &[&str], unknown: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
    let Some((key, _)) = unknown.and_then(|unknown| unknown.iter().next()) else { return Ok(()) };
    let close = key.py().import("difflib")?.call_method1("get_close_matches", (&key, known, 1, 0.5))?;
    let nearest = match close.extract::<Vec<String>>()?.first() {
        Some(name) => format!("; did you mean '{name}'?"),
        None => format!("; it knows {}", known.join(", ")),
    };
    let key = token::mask(&key.to_string());
    Err(PyTypeError::new_err(format!("{method}() got an unexpected keyword argument '{key}'{nearest}")))
}

/// Elsewhere the reference ignores unknown keyword arguments; this library does, too, with a warning.
pub(crate) fn ignore_unknown(py: Python<'_>, method: &str, unknown: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
    for (key, _) in unknown.into_iter().flatten() {
        warn(py, &format!("{method}() ignores the keyword argument '{key}'"))?;
    }
    Ok(())
}

/// A `UserWarning` at the caller's line.
pub(crate) fn warn(py: Python<'_>, text: &str) -> PyResult<()> {
    let _inside = exit::enter(py);
    // The text may contain a token: from a platform, or pasted into the wrong place.
    let text = std::ffi::CString::new(token::mask(text).replace('\0', "\\0"))?;
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &text, if is_awaited(py) { 2 } else { 1 })
}

/// Whether the innermost Python frame is one of the coroutine functions; then the caller is the frame above.
fn is_awaited(py: Python<'_>) -> bool {
    let frame = py.import("sys").and_then(|sys| sys.call_method0("_getframe"));
    let module = frame.and_then(|frame| frame.getattr("f_globals")?.get_item("__name__"));
    module.is_ok_and(|module| module.eq("mlplatform_client.aio").unwrap_or_default())
}

/// An integer, clamped to 64 bits; the check of the argument refuses such values.
pub(crate) fn whole_number(name: &str, value: &Bound<'_, PyAny>) -> PyResult<i64> {
    if value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>() {
        return Ok(value.extract().unwrap_or(i64::MAX));
    }
    let what = value.get_type().name().map_or_else(|_| "this".to_owned(), |name| name.to_string());
    Err(PyTypeError::new_err(format!("{name} must be a whole number, not {what}")))
}

/// A dictionary as JSON.
pub(crate) fn json<T: DeserializeOwned>(name: &str, value: &Bound<'_, PyDict>) -> PyResult<T> {
    let py = value.py();
    let options = PyDict::new(py);
    // JSON allows an escape of a lone surrogate, but no parser can decode it.
    options.set_item("ensure_ascii", false)?;
    let text = py.import("json")?.call_method("dumps", (value,), Some(&options))?;
    let text: String = text.extract().map_err(|_| {
        bad(py, name, "a text in it contains half of a surrogate pair, which cannot be sent: remove it")
    })?;
    serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(&text)).map_err(|problem| {
        let problem = format!("{}: {}", problem.path(), problem.inner());
        errors::raise(py, &Error::argument(name, problem.trim_start_matches(".: ")))
    })
}

/// A list of texts. A single text is refused: Python would iterate over its characters.
pub(crate) fn texts(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let wrong = |value: &Bound<'_, PyAny>| {
        let what = value.get_type().name().map_or_else(|_| "this".to_owned(), |name| name.to_string());
        PyTypeError::new_err(format!("{name} must be a list of texts, not {what}"))
    };
    let _inside = exit::enter(value.py());
    if value.is_instance_of::<PyString>() {
        return Err(wrong(value));
    }
    let items = value.try_iter().map_err(|_| wrong(value))?;
    let read = |(index, item): (usize, PyResult<Bound<'_, PyAny>>)| {
        let item = item?;
        text::read(&format!("{name}[{index}]"), item.cast().map_err(|_| wrong(&item))?)
    };
    items.enumerate().map(read).collect()
}

/// A manifest, or a dictionary with the same structure.
pub(crate) fn manifest(name: &str, value: &Bound<'_, PyAny>) -> PyResult<serde_json::Value> {
    if let Ok(dictionary) = value.cast::<PyDict>() {
        return json(name, dictionary);
    }
    let text = value.call_method0("to_yaml").ok().and_then(|text| text.extract::<String>().ok()).ok_or_else(|| {
        let what = value.get_type().name().map_or_else(|_| "this".to_owned(), |name| name.to_string());
        PyTypeError::new_err(format!(
            "{name} must be a Manifest (get_default_manifest() or get_manifest_from_yaml_file() give one), not {what}"
        ))
    })?;
    let problem = |problem: String| errors::raise(value.py(), &Error::argument(name, problem));
    yaml::read(&text).map(|node| node.to_json()).map_err(|error| problem(error.to_string()))
}

/// A non-negative integer.
pub(crate) fn count(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    let number = whole_number(name, value)?;
    u64::try_from(number).map_err(|_| {
        errors::raise(value.py(), &Error::argument(name, format!("{number} is negative: the minimum is 0")))
    })
}

/// `wait=` in seconds: like `timeout=`, but 0 is allowed.
pub(crate) fn wait(py: Python<'_>, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        errors::raise(
            py,
            &Error::argument("wait", format!("{seconds} is not a valid number of seconds: give 0 or more")),
        )
    })
}
