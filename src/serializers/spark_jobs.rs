//! Job classes of `mlplatform_client.serializers.spark_proxy`.

use mlplatform_client::protocol::{Explanation, JobDetail, JobEvent, JobInfo, Timestamp, yaml};
use pyo3::prelude::*;
use serde_json::Value;

use super::value::value;
use crate::{exit, times::datetime, values};

/// A time in the format of the reference.
fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

/// A Spark job, as in a list.
///
/// Printed, it is the reference library's line: ``job_name: …, status: …, created_at: … ui_url: …``.
///
/// Attributes
/// ----------
/// job_name : str
///     Unique among the jobs of a cluster.
/// status : str
///     ``SUBMITTED``, ``RUNNING``, ``COMPLETED``, ``FAILED``; under a restart policy also ``FAILING``,
///     ``SUBMISSION_FAILED`` and ``PENDING_RERUN``. Only ``COMPLETED`` and ``FAILED`` are final.
/// created_at : str
///     When it was submitted: RFC 3339, UTC.
/// ui_url : str
///     A page of the platform with its state and its log.
#[pyclass(frozen, weakref, module = "mlplatform_client.serializers.spark_proxy")]
#[derive(Debug)]
pub(crate) struct K8sSparkJobInfo {
    #[pyo3(get)]
    job_name: String,
    #[pyo3(get)]
    status: String,
    #[pyo3(get)]
    created_at: String,
    #[pyo3(get)]
    ui_url: String,
    /// Not part of the value: it is not shown, compared or pickled.
    origin: Option<Origin>,
}

/// The origin of a job: the platform object and the cluster.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) platform: Py<PyAny>,
    pub(crate) cluster_id: String,
}

value!(K8sSparkJobInfo: job_name, status, created_at, ui_url);

#[pymethods]
impl K8sSparkJobInfo {
    #[new]
    fn new(job_name: String, status: String, created_at: String, ui_url: String) -> Self {
        Self { job_name, status, created_at, ui_url, origin: None }
    }

    /// A handle of the job, as ``MLPlatform.spark_job`` returns it. Not available for a copied or unpickled object.
    ///
    /// Returns
    /// -------
    /// SparkJob
    ///     An ``AsyncSparkJob`` for an ``AsyncMLPlatform``.
    ///
    /// Raises
    /// ------
    /// MLPlatformException
    ///     The object was copied, pickled or made by hand.
    fn job(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let _inside = exit::enter(py);
        let make = py.import("mlplatform_client.core.spark_job")?.getattr("of_info")?;
        let origin = self.origin.as_ref().map(|origin| (origin.platform.clone_ref(py), origin.cluster_id.clone()));
        Ok(make.call1((origin, &self.job_name))?.unbind())
    }

    fn __str__(&self) -> String {
        let Self { job_name, status, created_at, ui_url, .. } = self;
        format!("job_name: {job_name}, status: {status}, created_at: {created_at} ui_url: {ui_url}")
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        self.origin.as_ref().map_or(Ok(()), |origin| visit.call(&origin.platform))
    }
}

impl K8sSparkJobInfo {
    pub(crate) fn of(info: JobInfo, origin: Origin) -> Self {
        Self { origin: Some(origin), ..Self::from(info) }
    }
}

impl From<JobInfo> for K8sSparkJobInfo {
    fn from(info: JobInfo) -> Self {
        Self {
            job_name: info.job_name,
            status: info.status.name().to_owned(),
            created_at: rfc3339(info.created_at),
            ui_url: info.ui_url,
            origin: None,
        }
    }
}

/// A Spark job and its driver.
///
/// Printed, it is one ``field: value`` a line.
///
/// Attributes
/// ----------
/// job_name, status, created_at, ui_url : str
///     As in ``K8sSparkJobInfo``.
/// pod_status : str or None
///     ``Pending``, ``Running``, ``Succeeded`` or ``Failed``; ``None`` without a driver.
/// pod_status_reason : str or None
///     ``Unschedulable`` while it waits for capacity.
/// pod_state : str or None
///     ``V1ContainerStateRunning`` or ``V1ContainerStateTerminated``.
/// pod_state_reason : str or None
///     ``Completed``, ``Error`` or ``OOMKilled``.
/// pod_state_reason_message : str or None
///     Details, if there are any.
#[pyclass(frozen, weakref, get_all, module = "mlplatform_client.serializers.spark_proxy")]
#[derive(Debug)]
pub(crate) struct K8sSparkJobInfoDetail {
    job_name: String,
    status: String,
    created_at: String,
    ui_url: String,
    pod_status: Option<String>,
    pod_status_reason: Option<String>,
    pod_state: Option<String>,
    pod_state_reason: Option<String>,
    pod_state_reason_message: Option<String>,
}

value!(
    K8sSparkJobInfoDetail:
    job_name,
    status,
    created_at,
    ui_url,
    pod_status,
    pod_status_reason,
    pod_state,
    pod_state_reason,
    pod_state_reason_message,
);

#[pymethods]
impl K8sSparkJobInfoDetail {
    #[new]
    #[pyo3(signature = (job_name, status, created_at, ui_url, pod_status=None, pod_status_reason=None, pod_state=None, pod_state_reason=None, pod_state_reason_message=None))]
    #[allow(clippy::too_many_arguments, reason = "the reference's fields")]
    fn new(
        job_name: String,
        status: String,
        created_at: String,
        ui_url: String,
        pod_status: Option<String>,
        pod_status_reason: Option<String>,
        pod_state: Option<String>,
        pod_state_reason: Option<String>,
        pod_state_reason_message: Option<String>,
    ) -> Self {
        Self {
            job_name,
            status,
            created_at,
            ui_url,
            pod_status,
            pod_status_reason,
            pod_state,
            pod_state_reason,
            pod_state_reason_message,
        }
    }

    fn __str__(&self, py: Python<'_>) -> PyResult<String> {
        let _inside = exit::enter(py);
        fields_by_line(Self::FIELDS, &self.values(py)?)
    }
}

fn fields_by_line(fields: &[&str], values: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<String> {
    let lines = fields.iter().zip(values.iter()).map(|(field, value)| Ok(format!("{field}: {}", value.str()?)));
    Ok(lines.collect::<PyResult<Vec<_>>>()?.join("\n"))
}

impl From<JobDetail> for K8sSparkJobInfoDetail {
    fn from(job: JobDetail) -> Self {
        Self {
            job_name: job.info.job_name,
            status: job.info.status.name().to_owned(),
            created_at: rfc3339(job.info.created_at),
            ui_url: job.info.ui_url,
            pod_status: job.pod_status,
            pod_status_reason: job.pod_status_reason,
            pod_state: job.pod_state,
            pod_state_reason: job.pod_state_reason,
            pod_state_reason_message: job.pod_state_reason_message,
        }
    }
}

/// An event of a cluster.
///
/// Printed, it is the reference library's line: ``2024/07/05 07:09:26 Job=<pod> NORMAL Pod <message>``.
///
/// Attributes
/// ----------
/// time : datetime.datetime
///     The time (aware, UTC).
/// job_name : str
///     The job's name.
/// pod : str
///     The driver's pod.
/// type : str
///     ``NORMAL`` or ``WARNING``.
/// reason : str
///     One word: ``Scheduled``, ``FailedScheduling`` …
/// message : str
///     The message text.
#[pyclass(frozen, weakref, get_all, module = "mlplatform_client.serializers.spark_proxy")]
#[derive(Debug)]
pub(crate) struct K8sSparkEvent {
    time: Py<PyAny>,
    job_name: String,
    pod: String,
    r#type: String,
    reason: String,
    message: String,
}

value!(K8sSparkEvent: time, job_name, pod, r#type, reason, message);

#[pymethods]
impl K8sSparkEvent {
    #[new]
    fn new(time: Py<PyAny>, job_name: String, pod: String, r#type: String, reason: String, message: String) -> Self {
        Self { time, job_name, pod, r#type, reason, message }
    }

    fn __str__(&self, py: Python<'_>) -> PyResult<String> {
        let _inside = exit::enter(py);
        let time = self.time.bind(py).call_method1("strftime", ("%Y/%m/%d %H:%M:%S",))?;
        Ok(format!("{time} Job={} {} Pod {}", self.pod, self.r#type, self.message))
    }
}

impl K8sSparkEvent {
    pub(super) fn from_protocol(py: Python<'_>, event: JobEvent) -> PyResult<Self> {
        Ok(Self {
            time: datetime(py, event.at)?,
            job_name: event.job_name,
            pod: event.pod,
            r#type: event.kind.name().to_owned(),
            reason: event.reason,
            message: event.message,
        })
    }
}

/// The log of a Spark job.
///
/// ``str()`` and ``print()`` return or print the text.
///
/// Attributes
/// ----------
/// logs : str
///     What the job wrote to standard output and standard error. Bytes that are not UTF-8 are shown as ``\xNN``.
#[pyclass(frozen, weakref, get_all, module = "mlplatform_client.serializers.spark_proxy")]
#[derive(Debug)]
pub(crate) struct K8sSparkJobLogs {
    logs: Py<PyAny>,
}

value!(K8sSparkJobLogs: logs);

#[pymethods]
impl K8sSparkJobLogs {
    #[new]
    fn new(logs: Py<PyAny>) -> Self {
        Self { logs }
    }

    fn __str__(&self, py: Python<'_>) -> Py<PyAny> {
        self.logs.clone_ref(py)
    }
}

impl K8sSparkJobLogs {
    pub(crate) fn text(&self, py: Python<'_>) -> Py<PyAny> {
        self.logs.clone_ref(py)
    }

    pub(crate) fn from_bytes(py: Python<'_>, bytes: Vec<u8>) -> PyResult<Self> {
        let logs = match String::from_utf8(bytes) {
            Ok(text) => text.into_pyobject(py)?.into_any().unbind(),
            Err(odd) => {
                let bytes = pyo3::types::PyBytes::new(py, odd.as_bytes());
                bytes.call_method1("decode", ("utf-8", "backslashreplace"))?.unbind()
            }
        };
        Ok(Self { logs })
    }
}

/// A job as the Kubernetes operator would show it.
///
/// Printed, it is YAML.
///
/// Attributes
/// ----------
/// api_version, kind : str
///     ``sparkoperator.k8s.io/v1beta2`` and ``SparkApplication``.
/// metadata, spec, status : dict
///     The submitted manifest and the state. It contains names of secrets, never their values.
/// events : list of dict
///     The newest events of the job, oldest first.
#[pyclass(frozen, weakref, module = "mlplatform_client.serializers.spark_proxy")]
#[derive(Debug)]
pub(crate) struct K8sSparkApplication {
    content: Value,
}

#[pymethods]
impl K8sSparkApplication {
    #[new]
    fn new(content: &str) -> PyResult<Self> {
        let content = serde_json::from_str(content);
        content.map(|content| Self { content }).map_err(|problem| {
            pyo3::exceptions::PyValueError::new_err(format!("content is not the JSON of a SparkApplication: {problem}"))
        })
    }

    #[getter]
    fn api_version<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.part(py, "apiVersion")
    }

    #[getter]
    fn kind<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.part(py, "kind")
    }

    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.part(py, "metadata")
    }

    #[getter]
    fn spec<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.part(py, "spec")
    }

    #[getter]
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.part(py, "status")
    }

    #[getter]
    fn events<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.part(py, "events")
    }

    /// Everything as a new ``dict``.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("json")?.call_method1("loads", (self.content.to_string(),))
    }

    /// Everything as YAML text, as ``print()`` shows it.
    fn to_yaml(&self) -> String {
        yaml::Node::from_json(&self.content).map(|node| yaml::write(&node)).unwrap_or_default()
    }

    fn __str__(&self) -> String {
        self.to_yaml()
    }

    fn __repr__(&self) -> String {
        format!("K8sSparkApplication({:?})", self.content.to_string())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| other.get().content == self.content)
    }

    fn __hash__(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.content.to_string().hash(&mut hasher);
        hasher.finish()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, pyo3::types::PyType>, (String,)) {
        (slf.get_type(), (slf.get().content.to_string(),))
    }
}

impl K8sSparkApplication {
    pub(crate) fn from_json(content: Value) -> Self {
        Self { content }
    }

    fn part<'py>(&self, py: Python<'py>, key: &str) -> PyResult<Bound<'py, PyAny>> {
        let _inside = exit::enter(py);
        values::from_json(py, self.content.get(key).unwrap_or(&Value::Null))
    }
}

/// The explanation of a job's state.
///
/// Printed, it is the sentence, the evidence, and the remedy.
///
/// Attributes
/// ----------
/// job_name, status : str
///     The job and its state.
/// cause : str
///     A keyword for programs: ``missing-module``, ``out-of-memory``, ``no-capacity`` …
/// sentence : str
///     The cause in a sentence.
/// evidence : tuple of str
///     Lines of the log, events, the exit code.
/// remedy : str
///     The remedy.
#[pyclass(frozen, weakref, get_all, module = "mlplatform_client.serializers.spark_proxy")]
#[derive(Debug)]
pub(crate) struct K8sSparkJobExplanation {
    job_name: String,
    status: String,
    cause: String,
    sentence: String,
    evidence: Py<pyo3::types::PyTuple>,
    remedy: String,
}

value!(K8sSparkJobExplanation: job_name, status, cause, sentence, evidence, remedy);

#[pymethods]
impl K8sSparkJobExplanation {
    #[new]
    fn new(
        job_name: String,
        status: String,
        cause: String,
        sentence: String,
        evidence: Py<pyo3::types::PyTuple>,
        remedy: String,
    ) -> Self {
        Self { job_name, status, cause, sentence, evidence, remedy }
    }

    fn __str__(&self, py: Python<'_>) -> PyResult<String> {
        let _inside = exit::enter(py);
        let evidence = self.evidence.bind(py).iter().map(|line| Ok(format!("  | {}\n", line.str()?)));
        let evidence = evidence.collect::<PyResult<String>>()?;
        Ok(format!("{}\n{evidence}What to do: {}", self.sentence, self.remedy))
    }
}

impl K8sSparkJobExplanation {
    pub(crate) fn from_protocol(py: Python<'_>, told: Explanation) -> PyResult<Self> {
        Ok(Self {
            job_name: told.job_name,
            status: told.status.name().to_owned(),
            cause: told.cause,
            sentence: told.sentence,
            evidence: pyo3::types::PyTuple::new(py, told.evidence)?.unbind(),
            remedy: told.remedy,
        })
    }
}
