//! `mlplatform_client.core.manifest`: the manifest of a Spark job. What it means is in `crates/protocol`.

mod problem;

pub(crate) use problem::ManifestProblem;

use std::path::Path;

use mlplatform_client::{
    Error,
    protocol::manifest::{self, Deps, ManifestError, Part, RestartPolicy, UnknownKey},
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
///     The text is no YAML, or no mapping; the message names the line. Also a ``ValueError``.
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
#[pyclass(weakref, module = "mlplatform_client.core.manifest")]
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
    ///     The job's name. Default: a new one, ``spark-job-`` and eight letters and digits.
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
    ///     It is no YAML, or no mapping; the message names the line. Also a ``ValueError``.
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

    /// Change the executors' settings (``spec.executor``).
    ///
    /// A key that is given replaces what is there, whole; a key with ``None`` is removed; all others stay as they
    /// are. A key that is not known is kept, with a ``UserWarning`` that names the nearest known one.
    ///
    /// Parameters
    /// ----------
    /// settings : dict
    ///     ``instances`` (how many executors), ``cores`` (threads of each), ``coreRequest`` and ``coreLimit`` (CPU:
    ///     ``"1200m"`` is 1.2 cores), ``memory`` (``"512m"``, ``"2g"``), ``memoryOverhead``, ``env``, ``envFrom``,
    ///     ``labels``, ``volumeMounts``, ``javaOptions`` and whatever else the operator knows.
    ///
    /// Examples
    /// --------
    /// >>> manifest.set_executor_settings({"instances": 2, "cores": 1, "memory": "1g"})
    /// >>> manifest.set_executor_settings({"memory": "2g"})         # instances and cores stay
    /// >>> manifest.set_executor_settings({"coreLimit": None})      # removes the limit
    /// >>> manifest.set_executor_settings({"env": [{"name": "A", "value": "1"}]})   # replaces all variables
    /// >>> manifest.add_executor_env([{"name": "B", "value": "2"}])                 # keeps them and adds one
    #[pyo3(signature = (settings))]
    fn set_executor_settings(&mut self, settings: &Bound<'_, PyAny>) -> PyResult<()> {
        self.set_settings(Part::Executor, settings)
    }

    /// Change the driver's settings (``spec.driver``).
    ///
    /// A key that is given replaces what is there, whole; a key with ``None`` is removed; all others stay as they
    /// are. A key that is not known is kept, with a ``UserWarning`` that names the nearest known one.
    ///
    /// Parameters
    /// ----------
    /// settings : dict
    ///     ``cores``, ``coreRequest``, ``coreLimit``, ``memory``, ``memoryOverhead``, ``env``, ``envFrom``,
    ///     ``labels``, ``serviceAccount``, ``volumeMounts``, ``javaOptions`` and whatever else the operator knows.
    ///
    /// Examples
    /// --------
    /// >>> manifest.set_driver_settings({"cores": 1, "coreLimit": "1200m", "memory": "1024m"})
    /// >>> manifest.set_driver_settings({"memory": "2g"})           # cores and coreLimit stay
    /// >>> manifest.set_driver_settings({"coreLimit": None})        # removes the limit
    #[pyo3(signature = (settings))]
    fn set_driver_settings(&mut self, settings: &Bound<'_, PyAny>) -> PyResult<()> {
        self.set_settings(Part::Driver, settings)
    }

    /// Set properties of Spark (``spec.sparkConf``).
    ///
    /// A key that is given is set, a key with ``None`` is removed, all others stay. The operator wants texts:
    /// numbers and truth values become texts (``True`` becomes ``"true"``).
    ///
    /// Parameters
    /// ----------
    /// spark_conf : dict
    ///     Properties and their values.
    ///
    /// Examples
    /// --------
    /// >>> manifest.set_spark_conf({"spark.sql.shuffle.partitions": 8, "spark.eventLog.enabled": True})
    /// >>> manifest.set_spark_conf({"spark.eventLog.enabled": None})     # removes it, the other stays
    #[pyo3(signature = (spark_conf))]
    fn set_spark_conf(&mut self, spark_conf: &Bound<'_, PyAny>) -> PyResult<()> {
        let conf = values::to_mapping("spark_conf", spark_conf)?;
        self.inner.set_spark_conf(&conf).map_err(|problem| refuse(spark_conf.py(), "spark_conf", &problem))
    }

    /// Replace the list of JAR files (``spec.deps.jars``).
    ///
    /// Parameters
    /// ----------
    /// jars : list of str
    ///     ``local:///…``, ``s3a://bucket/…`` or ``https://…``. An empty list removes all.
    #[pyo3(signature = (jars))]
    fn set_jars(&mut self, jars: &Bound<'_, PyAny>) -> PyResult<()> {
        self.set_deps(Deps::Jars, "jars", jars)
    }

    /// Append JAR files (``spec.deps.jars``). One that is in the list already is not added again.
    ///
    /// Parameters
    /// ----------
    /// jars : list of str
    ///
    /// Examples
    /// --------
    /// >>> manifest.set_jars(["s3a://bucket/a.jar"])
    /// >>> manifest.add_jars(["s3a://bucket/a.jar", "s3a://bucket/b.jar"])    # now a.jar and b.jar
    #[pyo3(signature = (jars))]
    fn add_jars(&mut self, jars: &Bound<'_, PyAny>) -> PyResult<()> {
        self.add_deps(Deps::Jars, "jars", jars)
    }

    /// Replace the list of files that are put into the working directories (``spec.deps.files``).
    ///
    /// Parameters
    /// ----------
    /// files : list of str
    ///     An empty list removes all.
    #[pyo3(signature = (files))]
    fn set_files(&mut self, files: &Bound<'_, PyAny>) -> PyResult<()> {
        self.set_deps(Deps::Files, "files", files)
    }

    /// Append files (``spec.deps.files``). One that is in the list already is not added again.
    ///
    /// Parameters
    /// ----------
    /// files : list of str
    #[pyo3(signature = (files))]
    fn add_files(&mut self, files: &Bound<'_, PyAny>) -> PyResult<()> {
        self.add_deps(Deps::Files, "files", files)
    }

    /// Replace the list of Python modules (``spec.deps.pyFiles``).
    ///
    /// Parameters
    /// ----------
    /// pyfiles : list of str
    ///     ``.py``, ``.zip`` and ``.egg`` files. An empty list removes all.
    #[pyo3(signature = (pyfiles))]
    fn set_pyfiles(&mut self, pyfiles: &Bound<'_, PyAny>) -> PyResult<()> {
        self.set_deps(Deps::PyFiles, "pyfiles", pyfiles)
    }

    /// Append Python modules (``spec.deps.pyFiles``). One that is in the list already is not added again.
    ///
    /// Parameters
    /// ----------
    /// pyfiles : list of str
    #[pyo3(signature = (pyfiles))]
    fn add_pyfiles(&mut self, pyfiles: &Bound<'_, PyAny>) -> PyResult<()> {
        self.add_deps(Deps::PyFiles, "pyfiles", pyfiles)
    }

    /// Append Maven packages (``spec.deps.packages``). One that is in the list already is not added again.
    ///
    /// Parameters
    /// ----------
    /// packages : list of str
    ///     Coordinates, ``group:artifact:version``.
    ///
    /// Examples
    /// --------
    /// >>> manifest.add_packages(["org.apache.spark:spark-avro_2.13:4.0.0"])
    #[pyo3(signature = (packages))]
    fn add_packages(&mut self, packages: &Bound<'_, PyAny>) -> PyResult<()> {
        self.add_deps(Deps::Packages, "packages", packages)
    }

    /// Add environment variables of the driver (``spec.driver.env``).
    ///
    /// A variable whose name is there already takes the old one's place; new ones come at the end.
    ///
    /// Parameters
    /// ----------
    /// env : list of dict
    ///     Each with ``name`` and ``value``; numbers and truth values become texts. A secret's value is better taken
    ///     from a secret of the cluster, with ``add_driver_env_from`` or ``valueFrom``.
    ///
    /// Examples
    /// --------
    /// >>> manifest.add_driver_env([{"name": "MODE", "value": "fast"}, {"name": "DAYS", "value": 7}])
    /// >>> manifest.add_driver_env([{"name": "MODE", "value": "slow"}])       # MODE is slow, DAYS stays
    #[pyo3(signature = (env))]
    fn add_driver_env(&mut self, env: &Bound<'_, PyAny>) -> PyResult<()> {
        self.add_env(Part::Driver, env)
    }

    /// Add environment variables of the executors (``spec.executor.env``), as ``add_driver_env`` does.
    ///
    /// Parameters
    /// ----------
    /// env : list of dict
    ///     Each with ``name`` and ``value``.
    #[pyo3(signature = (env))]
    fn add_executor_env(&mut self, env: &Bound<'_, PyAny>) -> PyResult<()> {
        self.add_env(Part::Executor, env)
    }

    /// Make every key of a secret or config map an environment variable of the driver (``spec.driver.envFrom``).
    ///
    /// What is there already is not added again.
    ///
    /// Parameters
    /// ----------
    /// env_from : list of dict
    ///     Each ``{"secretRef": {"name": …}}`` or ``{"configMapRef": {"name": …}}``.
    ///
    /// Examples
    /// --------
    /// >>> manifest.add_driver_env_from([{"secretRef": {"name": "my-secret"}}])
    /// >>> manifest.add_driver_env_from([{"configMapRef": {"name": "my-config"}}])    # both are there now
    #[pyo3(signature = (env_from))]
    fn add_driver_env_from(&mut self, env_from: &Bound<'_, PyAny>) -> PyResult<()> {
        self.add_env_from(Part::Driver, env_from)
    }

    /// Make every key of a secret or config map an environment variable of the executors (``spec.executor.envFrom``),
    /// as ``add_driver_env_from`` does.
    ///
    /// Parameters
    /// ----------
    /// env_from : list of dict
    ///     Each ``{"secretRef": {"name": …}}`` or ``{"configMapRef": {"name": …}}``.
    #[pyo3(signature = (env_from))]
    fn add_executor_env_from(&mut self, env_from: &Bound<'_, PyAny>) -> PyResult<()> {
        self.add_env_from(Part::Executor, env_from)
    }

    /// Say when the job is run again (``spec.restartPolicy``). What was said before is replaced.
    ///
    /// Parameters
    /// ----------
    /// restart_type : K8sSparkJobRestartPolicyType
    ///     ``ON_FAILURE`` (the default), ``NEVER`` or ``ALWAYS``. ``NEVER`` writes none of the numbers.
    /// on_failure_retries : int
    ///     How often a job that failed is run again; at least 0. Default: 3.
    /// on_failure_retry_interval : int
    ///     Seconds before that; at least 1. Default: 20.
    /// on_submission_failure_retries : int
    ///     How often a job that could not be submitted is submitted again; at least 0. Default: 5.
    /// on_submission_failure_retry_interval : int
    ///     Seconds before that; at least 1. Default: 20.
    ///
    /// Raises
    /// ------
    /// BadRequestException
    ///     A number is out of its range, or the type unknown. Also a ``ValueError``.
    ///
    /// Examples
    /// --------
    /// >>> from mlplatform_client import K8sSparkJobRestartPolicyType
    /// >>> manifest.set_restart_policy(K8sSparkJobRestartPolicyType.ON_FAILURE, on_failure_retries=1)
    /// >>> manifest.set_restart_policy(K8sSparkJobRestartPolicyType.NEVER)
    #[pyo3(signature = (
        restart_type=None, on_failure_retries=3, on_failure_retry_interval=20, on_submission_failure_retries=5,
        on_submission_failure_retry_interval=20,
    ), text_signature = "($self, restart_type='OnFailure', on_failure_retries=3, on_failure_retry_interval=20, on_submission_failure_retries=5, on_submission_failure_retry_interval=20)")]
    fn set_restart_policy(
        &mut self,
        py: Python<'_>,
        restart_type: Option<&Bound<'_, PyAny>>,
        on_failure_retries: i64,
        on_failure_retry_interval: i64,
        on_submission_failure_retries: i64,
        on_submission_failure_retry_interval: i64,
    ) -> PyResult<()> {
        let kind = restart_type.map(|value| {
            let given = value.cast::<PyString>().map_err(|_| {
                PyTypeError::new_err(
                    "restart_type must be K8sSparkJobRestartPolicyType.NEVER, ALWAYS or ON_FAILURE \
                     (from mlplatform_client import K8sSparkJobRestartPolicyType)",
                )
            })?;
            text::read("restart_type", given)
        });
        let kind = kind.transpose()?;
        let policy = RestartPolicy {
            kind: kind.as_deref().unwrap_or("OnFailure"),
            on_failure_retries,
            on_failure_retry_interval,
            on_submission_failure_retries,
            on_submission_failure_retry_interval,
        };
        self.inner.set_restart_policy(policy).map_err(|problem| refuse(py, "set_restart_policy", &problem))
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
        for slip in self.inner.likely_slips() {
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

    fn set_settings(&mut self, part: Part, settings: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = settings.py();
        let settings = values::to_mapping("settings", settings)?;
        let unknown = self.inner.set_settings(part, settings).map_err(|problem| refuse(py, "settings", &problem))?;
        unknown.iter().try_for_each(|key| warn_unknown(py, key))
    }

    fn set_deps(&mut self, deps: Deps, name: &str, items: &Bound<'_, PyAny>) -> PyResult<()> {
        let texts = arguments::texts(name, items)?;
        self.inner.set_deps(deps, &texts).map_err(|problem| refuse(items.py(), name, &problem))
    }

    fn add_deps(&mut self, deps: Deps, name: &str, items: &Bound<'_, PyAny>) -> PyResult<()> {
        let texts = arguments::texts(name, items)?;
        self.inner.add_deps(deps, &texts).map_err(|problem| refuse(items.py(), name, &problem))
    }

    fn add_env(&mut self, part: Part, env: &Bound<'_, PyAny>) -> PyResult<()> {
        let entries = values::to_sequence("env", env)?;
        self.inner.add_env(part, entries).map_err(|problem| refuse(env.py(), "env", &problem))
    }

    fn add_env_from(&mut self, part: Part, env_from: &Bound<'_, PyAny>) -> PyResult<()> {
        let entries = values::to_sequence("env_from", env_from)?;
        self.inner.add_env_from(part, entries).map_err(|problem| refuse(env_from.py(), "env_from", &problem))
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
