//! Texts and paths that Python callers give.
//!
//! A `str` may hold halves of surrogate pairs, which are no characters: no UTF-8 has them, so they cannot be sent or
//! shown. PyO3's own conversion raises a bare `UnicodeEncodeError`; these types are read under the name of their
//! argument instead, and raise the package's exception.

use std::path::PathBuf;

use mlplatform_client::Error;
use pyo3::{
    Borrowed,
    exceptions::PyUnicodeEncodeError,
    prelude::*,
    types::{PyAny, PyString},
};

use crate::{errors, exit};

/// A text that was given, or the default of its argument.
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
    /// As the argument of that name.
    pub(crate) fn read(&self, name: &str) -> PyResult<String> {
        match self {
            Self::Given(text) => read(name, text),
            Self::Default(text) => Ok((*text).to_owned()),
        }
    }

    /// As a setting.
    pub(crate) fn read_setting(&self, name: &str) -> PyResult<String> {
        match self {
            Self::Given(text) => {
                text.extract().map_err(|error| configuration(text.py(), name, &half(text.py(), &error)))
            }
            Self::Default(text) => Ok((*text).to_owned()),
        }
    }
}

/// The text as what Rust holds.
pub(crate) fn read(name: &str, text: &Bound<'_, PyString>) -> PyResult<String> {
    let py = text.py();
    text.extract().map_err(|error| errors::raise(py, &Error::argument(name, half(py, &error))))
}

/// What is no character in a text, by Python's error about it. The text is not repeated: it may be a token.
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

/// A path that was given; `Err`: why it is none.
pub(crate) struct FilePath(Result<PathBuf, String>);

impl FromPyObject<'_, '_> for FilePath {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let py = value.py();
        // To ask an object for its path may be to run its Python code.
        let _inside = exit::enter(py);
        match value.extract() {
            Ok(path) => Ok(Self(Ok(path))),
            Err(error) if error.is_instance_of::<PyUnicodeEncodeError>(py) => Ok(Self(Err(half(py, &error)))),
            Err(error) => Err(error),
        }
    }
}

impl FilePath {
    /// As the argument of that name.
    pub(crate) fn read(self, py: Python<'_>, name: &str) -> PyResult<PathBuf> {
        self.0.map_err(|problem| errors::raise(py, &Error::argument(name, problem)))
    }

    /// As a setting.
    pub(crate) fn read_setting(self, py: Python<'_>, name: &str) -> PyResult<String> {
        match self.0 {
            Ok(path) => Ok(path.to_string_lossy().into_owned()),
            Err(problem) => Err(configuration(py, name, &problem)),
        }
    }
}
