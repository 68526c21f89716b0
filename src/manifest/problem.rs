//! What `Manifest.validate()` tells: one object for each rule that is broken.

use mlplatform_client::protocol::manifest;
use pyo3::{IntoPyObjectExt, prelude::*, types::PyTuple};

/// One rule that a manifest breaks.
///
/// Attributes
/// ----------
/// path : str
///     Where, such as ``spec.driver.memory``.
/// line : int or None
///     The line, where the manifest was read from a text.
/// found : str or None
///     What stands there; ``None``: nothing does.
/// rule : str
///     The rule.
/// remedy : str
///     The remedy.
#[pyclass(frozen, weakref, get_all, eq, hash, module = "mlplatform_client.core.manifest")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct ManifestProblem {
    path: String,
    line: Option<u32>,
    found: Option<String>,
    rule: String,
    remedy: String,
}

crate::serializers::value::fields!(ManifestProblem: path, line, found, rule, remedy);

#[pymethods]
impl ManifestProblem {
    #[new]
    fn new(path: String, line: Option<u32>, found: Option<String>, rule: String, remedy: String) -> Self {
        Self { path, line, found, rule, remedy }
    }

    fn __str__(&self) -> String {
        let problem = manifest::Problem {
            path: self.path.clone(),
            line: self.line.unwrap_or_default(),
            found: self.found.clone().unwrap_or_default(),
            rule: self.rule.clone(),
            remedy: self.remedy.clone(),
            is_harmless: false,
        };
        problem.to_string()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("ManifestProblem({})", self.__str__().into_bound_py_any(py)?.repr()?))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let this = slf.get();
        let values = (&this.path, this.line, &this.found, &this.rule, &this.remedy).into_pyobject(slf.py())?;
        Ok((slf.get_type().into_any(), values))
    }
}

impl From<manifest::Problem> for ManifestProblem {
    fn from(problem: manifest::Problem) -> Self {
        Self {
            line: Some(problem.line).filter(|line| *line != 0),
            found: Some(problem.found).filter(|found| !found.is_empty()),
            path: problem.path,
            rule: problem.rule,
            remedy: problem.remedy,
        }
    }
}
