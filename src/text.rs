//! Text and path arguments.
//!
//! A `str` may contain lone surrogates, which UTF-8 cannot represent, so they cannot be sent or shown. PyO3's conversion
//! raises a bare `UnicodeEncodeError`; these types raise the package's exception, which names the argument.

use std::path::PathBuf;

use mlplatform_client::Error;
use pyo3::{
    Borrowed,
    exceptions::PyUnicodeEncodeError,
    prelude::*,
    types::{PyAny, PyString},
};

use crate::{errors, exit};

/// A text argument, or its default.
pub(crate) enum Text<'py> {
    Given(Bound<'py, PyString>),
    Default(&'static str),
}

impl<'py> FromPyObject<'_, 'py> for Text<'py> {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self::Given(value.cast::<PyString>()?.to_owned()))
    }
}

impl Text<'_> {
    /// The value; errors name the argument.
    pub(crate) fn read(&self, name: &str) -> PyResult<String> {
        match self {
            Self::Given(text) => read(name, text),
            Self::Default(text) => Ok((*text).to_owned()),
        }
    }

    /// The value of a setting; errors name the setting.
    pub(crate) fn read_setting(&self, name: &str) -> PyResult<String> {
        match self {
            Self::Given(text) => {
                text.extract().map_err(|error| configuration(text.py(), name, &half(text.py(), &error)))
            }
            Self::Default(text) => Ok((*text).to_owned()),
        }
    }
}

/// The text as a Rust string.
pub(crate) fn read(name: &str, text: &Bound<'_, PyString>) -> PyResult<String> {
    let py = text.py();
    text.extract().map_err(|error| errors::raise(py, &Error::argument(name, half(py, &error))))
}

/// Describes the lone surrogate that Python's error names. The error does not contain the text, which may be a token.
fn half(py: Python<'_>, error: &PyErr) -> String {
    let index = error.value(py).getattr("start").and_then(|start| start.extract::<usize>()).unwrap_or_default();
    format!(
        "the character at index {index} is half of a surrogate pair, which cannot be sent: give a whole text (file names \
         and program arguments that are not UTF-8 come with such halves; decode their bytes, os.fsencode(text), as what \
         they are)"
    )
}

fn configuration(py: Python<'_>, name: &str, problem: &str) -> PyErr {
    errors::raise(py, &Error::configuration(format!("{name}: {problem}")))
}

/// A path argument; `Err`: why it is invalid.
pub(crate) struct FilePath(Result<PathBuf, String>);

impl FromPyObject<'_, '_> for FilePath {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let py = value.py();
        // `__fspath__` may run Python code.
        let _inside = exit::enter(py);
        match value.extract() {
            Ok(path) => Ok(Self(Ok(path))),
            Err(error) if error.is_instance_of::<PyUnicodeEncodeError>(py) => Ok(Self(Err(half(py, &error)))),
            Err(error) => Err(error),
        }
    }
}

impl FilePath {
    /// The value; errors name the argument.
    pub(crate) fn read(self, py: Python<'_>, name: &str) -> PyResult<PathBuf> {
        self.0.map_err(|problem| errors::raise(py, &Error::argument(name, problem)))
    }

    /// The value of a setting; errors name the setting.
    pub(crate) fn read_setting(self, py: Python<'_>, name: &str) -> PyResult<String> {
        match self.0 {
            Ok(path) => Ok(path.to_string_lossy().into_owned()),
            Err(problem) => Err(configuration(py, name, &problem)),
        }
    }
}
