//! `mlplatform_client.serializers.spark_proxy`

use mlplatform_client::protocol::ClusterInfo;
use pyo3::prelude::*;

/// A Spark cluster.
///
/// Printed, it is one ``field: value`` a line, the documented fields in their order. Two are equal when all their
/// attributes are; they can be pickled.
///
/// Attributes
/// ----------
/// id : str
///     What the methods about clusters, jobs and secrets take as ``cluster_id``.
/// name : str
///     Unique among the clusters there are.
/// k8s_id : str or None
///     Id in the cloud's Kubernetes service; ``None`` for a local cluster.
/// status : str
///     ``CREATING``, ``CREATING_REGISTRY``, ``INSTALL_SPARK_OPERATOR``, ``PROVISIONING``, ``RECONCILING``,
///     ``CREATE_FAILED``, ``ERROR``, ``STARTING``, ``RUNNING``, ``FREEZING``, ``SHUTOFF`` or ``DELETING``; or what a
///     newer platform says.
/// status_reason : str or None
///     Why, where there is more to say.
/// s3_bucket_name : str or None
///     Its bucket: ``s3a://<bucket>/…`` in a manifest.
/// docker_registry_id : str
///     Its registry of images.
/// history_server_url : str or None
///     Where finished jobs can be looked at.
/// inactive_min : int
///     Minutes without a running job.
/// suspend_after_inactive_min : int or None
///     It is suspended after so many; ``None``: never.
/// delete_after_inactive_min : int or None
///     It is deleted after so many; ``None``: never.
/// docker_registry : None
///     The registry's machine; ``None`` until instances exist here.
/// max_cores : int or None
///     Cores that its jobs share, where the platform says so.
/// max_memory : int or None
///     Bytes of memory that its jobs share, where the platform says so.
#[pyclass(frozen, get_all, module = "mlplatform_client.serializers.spark_proxy")]
#[derive(Debug)]
pub(crate) struct K8sClusterInfo {
    id: String,
    name: String,
    k8s_id: Option<String>,
    status: String,
    status_reason: Option<String>,
    s3_bucket_name: Option<String>,
    docker_registry_id: String,
    history_server_url: Option<String>,
    inactive_min: i64,
    suspend_after_inactive_min: Option<i64>,
    delete_after_inactive_min: Option<i64>,
    docker_registry: Option<Py<PyAny>>,
    max_cores: Option<u32>,
    max_memory: Option<u64>,
}

value!(
    K8sClusterInfo:
    id,
    name,
    k8s_id,
    status,
    status_reason,
    s3_bucket_name,
    docker_registry_id,
    history_server_url,
    inactive_min,
    suspend_after_inactive_min,
    delete_after_inactive_min,
    docker_registry,
    max_cores,
    max_memory,
);

/// How many of the fields the reference has, and prints.
const PRINTED: usize = 12;

#[pymethods]
impl K8sClusterInfo {
    #[new]
    #[pyo3(signature = (id, name, k8s_id, status, status_reason, s3_bucket_name, docker_registry_id, history_server_url, inactive_min, suspend_after_inactive_min, delete_after_inactive_min, docker_registry=None, max_cores=None, max_memory=None))]
    #[allow(clippy::too_many_arguments, reason = "the reference's fields")]
    fn new(
        id: String,
        name: String,
        k8s_id: Option<String>,
        status: String,
        status_reason: Option<String>,
        s3_bucket_name: Option<String>,
        docker_registry_id: String,
        history_server_url: Option<String>,
        inactive_min: i64,
        suspend_after_inactive_min: Option<i64>,
        delete_after_inactive_min: Option<i64>,
        docker_registry: Option<Py<PyAny>>,
        max_cores: Option<u32>,
        max_memory: Option<u64>,
    ) -> Self {
        Self {
            id,
            name,
            k8s_id,
            status,
            status_reason,
            s3_bucket_name,
            docker_registry_id,
            history_server_url,
            inactive_min,
            suspend_after_inactive_min,
            delete_after_inactive_min,
            docker_registry,
            max_cores,
            max_memory,
        }
    }

    fn __str__(&self, py: Python<'_>) -> PyResult<String> {
        let values = self.values(py)?;
        let lines = Self::FIELDS.iter().zip(values.iter()).take(PRINTED);
        let lines = lines.map(|(field, value)| Ok(format!("{field}: {}", value.str()?)));
        Ok(lines.collect::<PyResult<Vec<_>>>()?.join("\n"))
    }
}

impl From<ClusterInfo> for K8sClusterInfo {
    fn from(info: ClusterInfo) -> Self {
        Self {
            id: info.id,
            name: info.name,
            k8s_id: info.k8s_id,
            status: info.status.name().to_owned(),
            status_reason: info.status_reason,
            s3_bucket_name: info.s3_bucket_name,
            docker_registry_id: info.docker_registry_id,
            history_server_url: info.history_server_url,
            inactive_min: info.inactive_min,
            suspend_after_inactive_min: info.suspend_after_inactive_min,
            delete_after_inactive_min: info.delete_after_inactive_min,
            docker_registry: None,
            max_cores: info.max_cores,
            max_memory: info.max_memory,
        }
    }
}
