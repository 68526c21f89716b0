//! The methods that change a manifest's settings.

use mlplatform_client::protocol::manifest::{Deps, Part, RestartPolicy};
use pyo3::{exceptions::PyTypeError, prelude::*, types::PyString};

use super::{Manifest, refuse, warn_unknown};
use crate::{arguments, text, values};

#[pymethods]
impl Manifest {
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
}

impl Manifest {
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
