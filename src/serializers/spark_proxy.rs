//! `mlplatform_client.serializers.spark_proxy`

use std::collections::BTreeMap;

use mlplatform_client::{
    objects::configmap_yaml,
    protocol::{
        ClusterInfo,
        objects::{ConfigmapInfo, SecretInfo},
    },
};
use pyo3::{
    IntoPyObjectExt,
    prelude::*,
    types::{PyDict, PyIterator, PyTuple},
};

use super::value::value;
use crate::exit;

/// A Spark cluster.
///
/// Printed, it is one ``field: value`` a line, the documented fields in their order. Two are equal when all their
/// attributes are; they can be pickled.
///
/// Attributes
/// ----------
/// id : str
///     The ``cluster_id`` of methods for clusters, jobs and secrets.
/// name : str
///     Unique among existing clusters.
/// k8s_id : str or None
///     Id in the cloud's Kubernetes service; ``None`` for a local cluster.
/// status : str
///     ``CREATING``, ``CREATING_REGISTRY``, ``INSTALL_SPARK_OPERATOR``, ``PROVISIONING``, ``RECONCILING``,
///     ``CREATE_FAILED``, ``ERROR``, ``STARTING``, ``RUNNING``, ``FREEZING``, ``SHUTOFF`` or ``DELETING``; or an
///     unknown state of a newer platform.
/// status_reason : str or None
///     The reason, if there is one.
/// s3_bucket_name : str or None
///     Its bucket: ``s3a://<bucket>/…`` in a manifest.
/// docker_registry_id : str
///     Its image registry.
/// history_server_url : str or None
///     Its history server with finished jobs.
/// inactive_min : int
///     Minutes without a running job.
/// suspend_after_inactive_min : int or None
///     Minutes of inactivity until it is suspended; ``None``: never.
/// delete_after_inactive_min : int or None
///     Minutes of inactivity until it is deleted; ``None``: never.
/// docker_registry : None
///     The registry's machine; ``None`` until instances exist here.
/// max_cores : int or None
///     Cores that its jobs share, if known.
/// max_memory : int or None
///     Bytes of memory that its jobs share, if known.
#[pyclass(frozen, weakref, get_all, module = "mlplatform_client.serializers.spark_proxy")]
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

/// The number of fields that the reference has and prints.
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
        let _inside = exit::enter(py);
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

/// A secret of a cluster, without its values.
///
/// Printed, it is one ``field: value`` a line. Two are equal when all their attributes are; they can be pickled.
///
/// Attributes
/// ----------
/// name : str
///     Unique in its namespace.
/// type : str
///     ``Opaque``, or the type in its manifest.
/// namespace : str
///     Its namespace.
/// data : dict of str to str
///     Its keys, each with ``********`` in place of the value.
#[pyclass(frozen, weakref, get_all, module = "mlplatform_client.serializers.spark_proxy")]
#[derive(Debug)]
pub(crate) struct K8sSecret {
    name: String,
    r#type: String,
    namespace: String,
    data: Py<PyAny>,
}

value!(K8sSecret: name, r#type, namespace, data);

#[pymethods]
impl K8sSecret {
    #[new]
    fn new(name: String, r#type: String, namespace: String, data: Py<PyAny>) -> Self {
        Self { name, r#type, namespace, data }
    }

    fn __str__(&self, py: Python<'_>) -> PyResult<String> {
        let _inside = exit::enter(py);
        let data = self.data.bind(py).str()?;
        Ok(format!("name: {}\ntype: {}\nnamespace: {}\ndata: {data}", self.name, self.r#type, self.namespace))
    }
}

impl K8sSecret {
    pub(crate) fn from_protocol(py: Python<'_>, info: SecretInfo) -> PyResult<Self> {
        Ok(Self { name: info.name, r#type: info.kind, namespace: info.namespace, data: info.data.into_py_any(py)? })
    }
}

/// A config map of a cluster.
///
/// Printed, it is YAML. Two are equal when all their attributes are; they can be pickled.
///
/// Attributes
/// ----------
/// data : dict of str to str
///     Its keys and their values.
/// name : str
///     Unique in its namespace.
/// namespace : str
///     Its namespace.
/// binary_data : dict of str to str
///     The ``binaryData`` of its manifest: keys and their values in base64.
#[pyclass(frozen, weakref, get_all, module = "mlplatform_client.serializers.spark_proxy")]
#[derive(Debug)]
pub(crate) struct K8sConfigmap {
    data: Py<PyAny>,
    name: String,
    namespace: String,
    binary_data: Py<PyAny>,
}

value!(K8sConfigmap: data, name, namespace, binary_data);

#[pymethods]
impl K8sConfigmap {
    #[new]
    #[pyo3(signature = (data, name, namespace, binary_data=None))]
    fn new(py: Python<'_>, data: Py<PyAny>, name: String, namespace: String, binary_data: Option<Py<PyAny>>) -> Self {
        let binary_data = binary_data.unwrap_or_else(|| PyDict::new(py).into_any().unbind());
        Self { data, name, namespace, binary_data }
    }

    fn __str__(&self, py: Python<'_>) -> PyResult<String> {
        let _inside = exit::enter(py);
        let Self { data, name, namespace, binary_data } = self;
        let (data, binary_data): (BTreeMap<_, _>, BTreeMap<_, _>) = (data.extract(py)?, binary_data.extract(py)?);
        let info = ConfigmapInfo { data, binary_data, name: name.clone(), namespace: namespace.clone() };
        Ok(configmap_yaml(&info).trim_end().to_owned())
    }
}

impl K8sConfigmap {
    pub(crate) fn from_protocol(py: Python<'_>, info: ConfigmapInfo) -> PyResult<Self> {
        let ConfigmapInfo { data, binary_data, name, namespace } = info;
        Ok(Self { data: data.into_py_any(py)?, name, namespace, binary_data: binary_data.into_py_any(py)? })
    }
}

/// Names of secrets or config maps: iterable, with ``len()`` and indexes.
///
/// Printed, it is one name a line. Two are equal when their names are; it can be pickled.
///
/// Attributes
/// ----------
/// names : tuple of str
///     The names, in the order of creation.
#[pyclass(frozen, weakref, get_all, module = "mlplatform_client.serializers.spark_proxy")]
#[derive(Debug)]
pub(crate) struct K8sObjectNamesList {
    names: Py<PyTuple>,
}

value!(K8sObjectNamesList: names);

#[pymethods]
impl K8sObjectNamesList {
    #[new]
    fn new(py: Python<'_>, names: Vec<String>) -> PyResult<Self> {
        Self::from_names(py, names)
    }

    fn __str__(&self, py: Python<'_>) -> PyResult<String> {
        let _inside = exit::enter(py);
        let names: Vec<String> = self.names.extract(py)?;
        Ok(names.join("\n"))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.names.bind(py).len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.names.bind(py).try_iter()
    }

    fn __reversed__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("builtins")?.call_method1("reversed", (&self.names,))
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.names.bind(py).as_any().get_item(index)
    }
}

impl K8sObjectNamesList {
    pub(crate) fn from_names(py: Python<'_>, names: Vec<String>) -> PyResult<Self> {
        Ok(Self { names: PyTuple::new(py, names)?.unbind() })
    }
}
