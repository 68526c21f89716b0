//! `mlplatform_client.core.manifest`: the manifest of a Spark job. What it means is in `crates/protocol`.

mod changes;
mod problem;

pub(crate) use problem::ManifestProblem;

use std::path::Path;

use mlplatform_client::{
    Error,
    protocol::manifest::{self, ManifestError, UnknownKey},
};
use pyo3::{
    IntoPyObjectExt,
    exceptions::PyTypeError,
    prelude::*,
    sync::PyOnceLock,
    types::{PyDict, PyList, PyMapping, PyString},
};

use crate::{
    arguments, errors, exit, files,
    text::{self, FilePath, Text},
    values,
};

/// A Spark job's manifest: a ``SparkApplication`` of the Spark operator (``sparkoperator.k8s.io/v1beta2``).
///
/// ``print(manifest)`` shows it as YAML. Attributes and methods change it in place; whatever they do not touch stays
/// as it is and in its order, fields that this library does not know included. Only comments are lost.
///
/// Parameters
/// ----------
/// content : str or dict
///     The manifest as YAML text, or as a mapping with ``apiVersion``, ``kind``, ``metadata`` and ``spec``. A file
///     is read with ``Manifest.from_yaml_file(path)``; one to begin with is ``Manifest.default("spark-job-1")``.
///
/// Raises
/// ------
/// BadRequestException
///     The text is not YAML, or not a mapping; the message names the line. Also a ``ValueError``.
///
/// Attributes
/// ----------
/// job_name : str or None
///     ``metadata.name``, the job's name in the cluster: at most 63 of a-z, 0-9 and '-', a letter first.
/// main_app_file : str or None
///     ``spec.mainApplicationFile``, the program: ``local:///…`` (in the image) or ``s3a://bucket/…``.
/// main_class : str or None
///     ``spec.mainClass``, of programs in Java and Scala.
/// spec_type : str or None
///     ``spec.type``: ``Python``, ``Scala``, ``Java`` or ``R``.
///
/// Each of them is ``None`` where the manifest has no such field; setting ``None`` removes it.
///
/// Examples
/// --------
/// >>> from mlplatform_client.core.manifest import Manifest
/// >>> manifest = Manifest.default("pi-spark-job-1")
/// >>> manifest.set_executor_settings({"instances": 2, "memory": "1g"})
/// >>> manifest.add_driver_env([{"name": "MODE", "value": "fast"}])
/// >>> manifest.validate()
/// >>> manifest.save_yaml("job.yaml")
#[pyclass(subclass, weakref, module = "mlplatform_client.core.manifest")]
pub(crate) struct Manifest {
    inner: manifest::Manifest,
}

#[pymethods]
impl Manifest {
    #[new]
    fn new(content: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = content.py();
        let read = if let Ok(text) = content.cast::<PyString>() {
            manifest::Manifest::read(&text::read("content", text)?)
        } else if content.cast::<PyMapping>().is_ok() {
            manifest::Manifest::from_node(values::to_node("content", content)?)
        } else {
            let what = content.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "content must be a manifest as YAML text or as a dict, not {what}; a file is read with \
                 Manifest.from_yaml_file(path)"
            )));
        };
        Ok(Self { inner: read.map_err(|problem| refuse(py, "content", &problem))? })
    }

    /// Make a manifest that runs as it is: Spark's own example in Python, with one small executor.
    ///
    /// Parameters
    /// ----------
    /// job_name : str, optional
    ///     The job's name. Default: a generated one, ``spark-job-`` and eight hexadecimal digits.
    ///
    /// Returns
    /// -------
    /// Manifest
    #[staticmethod]
    #[pyo3(signature = (job_name=None))]
    fn default(py: Python<'_>, job_name: Option<Text<'_>>) -> PyResult<Self> {
        let job_name = job_name.map(|name| name.read("job_name")).transpose()?;
        Self::of_job(py, job_name.as_deref())
    }

    /// Read a manifest from a file.
    ///
    /// Parameters
    /// ----------
    /// yaml_file_path : str or os.PathLike
    ///     A file with one YAML document, in UTF-8.
    ///
    /// Returns
    /// -------
    /// Manifest
    ///
    /// Raises
    /// ------
    /// BadRequestException
    ///     It is not YAML, or not a mapping; the message names the line. Also a ``ValueError``.
    /// OSError
    ///     The file cannot be read (``FileNotFoundError``, ``PermissionError``, …).
    #[staticmethod]
    #[pyo3(signature = (yaml_file_path))]
    fn from_yaml_file(py: Python<'_>, yaml_file_path: FilePath) -> PyResult<Self> {
        Self::of_file(py, &yaml_file_path.read(py, "yaml_file_path")?)
    }

    #[getter]
    fn job_name(&self) -> Option<&str> {
        self.inner.job_name()
    }

    #[setter]
    fn set_job_name(&mut self, py: Python<'_>, value: Option<Text<'_>>) -> PyResult<()> {
        let value = value.map(|value| value.read("job_name")).transpose()?;
        self.inner.set_text("metadata", "name", value.as_deref()).map_err(|problem| refuse(py, "job_name", &problem))
    }

    #[getter]
    fn main_app_file(&self) -> Option<&str> {
        self.inner.text_at(&["spec", "mainApplicationFile"])
    }

    #[setter]
    fn set_main_app_file(&mut self, py: Python<'_>, value: Option<Text<'_>>) -> PyResult<()> {
        let value = value.map(|value| value.read("main_app_file")).transpose()?;
        self.inner
            .set_text("spec", "mainApplicationFile", value.as_deref())
            .map_err(|problem| refuse(py, "main_app_file", &problem))
    }

    #[getter]
    fn main_class(&self) -> Option<&str> {
        self.inner.text_at(&["spec", "mainClass"])
    }

    #[setter]
    fn set_main_class(&mut self, py: Python<'_>, value: Option<Text<'_>>) -> PyResult<()> {
        let value = value.map(|value| value.read("main_class")).transpose()?;
        self.inner.set_text("spec", "mainClass", value.as_deref()).map_err(|problem| refuse(py, "main_class", &problem))
    }

    #[getter]
    fn spec_type(&self) -> Option<&str> {
        self.inner.text_at(&["spec", "type"])
    }

    #[setter]
    fn set_spec_type(&mut self, py: Python<'_>, value: Option<Text<'_>>) -> PyResult<()> {
        let value = value.map(|value| value.read("spec_type")).transpose()?;
        self.inner.set_spec_type(value.as_deref()).map_err(|problem| refuse(py, "spec_type", &problem))
    }

    /// Check the manifest against the operator's rules, before it is submitted.
    ///
    /// What the operator takes, and what then goes wrong or counts for nothing, is told with a ``UserWarning``: a key that
    /// looks like a slip of a known one, more ``cores`` than ``coreLimit`` allows, a key of ``sparkConf`` that a field
    /// overrides.
    ///
    /// Raises
    /// ------
    /// ManifestException
    ///     It breaks rules. The message lists them all, each with its place, what was found, the rule and what would be
    ///     right; ``e.problems`` has them as objects. Also a ``BadRequestException`` and a ``ValueError``.
    ///
    /// Examples
    /// --------
    /// >>> manifest.set_driver_settings({"memory": "1.5g"})
    /// >>> manifest.validate()
    /// Traceback (most recent call last):
    ///   ...
    /// mlplatform_client.core.exceptions.ManifestException: the manifest breaks a rule:
    ///   spec.driver.memory: '1.5g'; it must be a whole number with one of the letters k, m, g, t (times 1024); write 1536m
    fn validate(&self, py: Python<'_>) -> PyResult<()> {
        let _inside = exit::enter(py);
        for slip in self.inner.likely_typos() {
            warn_unknown(py, &slip)?;
        }
        let (warnings, problems): (Vec<_>, Vec<_>) =
            self.inner.validate().into_iter().partition(|problem| problem.is_harmless);
        for warning in warnings {
            arguments::warn(py, &warning.to_string())?;
        }
        if problems.is_empty() {
            return Ok(());
        }
        let count = if problems.len() == 1 { "a rule".to_owned() } else { format!("{} rules", problems.len()) };
        let lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
        let message = format!("the manifest breaks {count}:\n{}", lines.join("\n"));
        let problems = problems.into_iter().map(|problem| Py::new(py, ManifestProblem::from(problem)));
        let details = PyDict::new(py);
        details.set_item("problems", PyList::new(py, problems.collect::<PyResult<Vec<_>>>()?)?)?;
        let exception = manifest_exception(py)?.call((message,), Some(&details))?;
        Err(PyErr::from_value(exception))
    }

    /// The manifest as YAML, with a line break at the end.
    ///
    /// Texts that a reader of YAML 1.1 or 1.2 could take for something else (``yes``, ``12:30``, ``010``) are quoted.
    ///
    /// Returns
    /// -------
    /// str
    fn to_yaml(&self) -> String {
        self.inner.to_yaml()
    }

    /// The manifest as new dicts, lists, texts and numbers.
    ///
    /// Returns
    /// -------
    /// dict
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        values::from_mapping(py, self.inner.root())
    }

    /// Write the manifest to a file as YAML.
    ///
    /// The file is replaced at one stroke: whoever reads it meanwhile sees the old text or the new one.
    ///
    /// Parameters
    /// ----------
    /// file_path : str or os.PathLike
    ///
    /// Raises
    /// ------
    /// OSError
    ///     The file cannot be written.
    #[pyo3(signature = (file_path))]
    fn save_yaml(&self, py: Python<'_>, file_path: FilePath) -> PyResult<()> {
        let inside = exit::enter(py);
        let file_path = file_path.read(py, "file_path")?;
        let text = self.inner.to_yaml();
        inside
            .detached(|| files::replace(&file_path, text.as_bytes()))
            .map_err(|problem| files::raise(&file_path, &problem))
    }

    fn __str__(&self) -> String {
        self.inner.to_yaml().trim_end_matches('\n').to_owned()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let shown = |value: Option<&str>| Ok::<_, PyErr>(value.into_bound_py_any(py)?.repr()?.to_string());
        Ok(format!(
            "<Manifest job_name={} spec_type={} main_app_file={}>",
            shown(self.job_name())?,
            shown(self.spec_type())?,
            shown(self.main_app_file())?
        ))
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        match other.cast::<Self>() {
            Ok(other) => (self.inner == other.try_borrow()?.inner).into_py_any(py),
            Err(_) => Ok(py.NotImplemented()),
        }
    }

    fn __copy__(&self) -> Self {
        Self { inner: self.inner.clone() }
    }

    fn __deepcopy__(&self, _memo: &Bound<'_, PyAny>) -> Self {
        self.__copy__()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((slf.get_type().into_any(), (slf.try_borrow()?.to_yaml(),)))
    }
}

impl Manifest {
    pub(crate) fn of_job(py: Python<'_>, job_name: Option<&str>) -> PyResult<Self> {
        let inner = match job_name {
            Some(name) => manifest::Manifest::default_for(name),
            None => {
                let name = manifest::Manifest::new_job_name();
                manifest::Manifest::default_for(&name.map_err(|problem| errors::raise(py, &Error::internal(problem)))?)
            }
        };
        Ok(Self { inner })
    }

    pub(crate) fn of_file(py: Python<'_>, path: &Path) -> PyResult<Self> {
        let inside = exit::enter(py);
        let bytes = inside.detached(|| files::read(path)).map_err(|problem| files::raise(path, &problem))?;
        let inner = manifest::Manifest::read_bytes(&bytes)
            .map_err(|problem| refuse(py, &path.display().to_string(), &problem))?;
        Ok(Self { inner })
    }
}

fn refuse(py: Python<'_>, name: &str, problem: &ManifestError) -> PyErr {
    errors::raise(py, &Error::argument(name, problem))
}

fn warn_unknown(py: Python<'_>, key: &UnknownKey) -> PyResult<()> {
    let nearest = key.nearest.map_or_else(String::new, |name| format!("; did you mean '{name}'?"));
    arguments::warn(py, &format!("{} is not a setting that is known; it is kept{nearest}", key.path))
}

fn manifest_exception(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASS.import(py, "mlplatform_client.core.exceptions", "ManifestException")
}
