//! Methods for Spark clusters.

use pyo3::{prelude::*, types::PyDict};

use super::{MLPlatform, nothing};
use crate::{
    arguments, exit,
    serializers::{lists, spark_proxy::K8sClusterInfo},
    text::Text,
};

#[pymethods]
impl MLPlatform {
    /// The Spark clusters, oldest first.
    ///
    /// Parameters
    /// ----------
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// list of K8sClusterInfo
    ///     All of them; long lists are fetched page by page.
    ///
    /// Raises
    /// ------
    /// ForbiddenException
    ///     The access token is unknown, expired or deleted.
    #[pyo3(signature = (*, timeout=None, **kwargs))]
    fn get_clusters(
        &self,
        py: Python<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "get_clusters", kwargs)?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.get_clusters(timeout).await },
            |py, clusters| lists::list(py, clusters, |cluster| Ok(K8sClusterInfo::from(cluster))),
        )
    }

    /// One Spark cluster.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     Its ``id``, as ``get_clusters()`` returns it.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// K8sClusterInfo
    ///     Its state, its bucket, and when it is suspended or deleted.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster (any more).
    /// ForbiddenException
    ///     The access token is unknown, expired or deleted.
    #[pyo3(signature = (cluster_id, *, timeout=None, **kwargs))]
    fn get_cluster_info(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "get_cluster_info", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.get_cluster_info(&cluster_id, timeout).await },
            |_, info| Ok(K8sClusterInfo::from(info)),
        )
    }

    /// Create a Spark cluster. It starts within a short time: check with ``get_cluster_info``.
    ///
    /// Parameters
    /// ----------
    /// spec : dict
    ///     The fields of the vendor's interface: ``name``, and if the platform needs them ``availability_zone``,
    ///     ``network_id``, ``subnet_id``, ``node_groups``, ``cluster_mode`` (``"DEV"`` or ``"PROD"``), ``registry``,
    ///     ``ip_pool``, ``keypair``, ``delete_after_delay`` and ``suspend_after_delay`` (seconds without a job),
    ///     ``spark_configuration`` and ``environment_variables`` (YAML in base64). A local platform needs the name.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// K8sClusterInfo
    ///     The new cluster, not yet ``RUNNING``.
    ///
    /// Raises
    /// ------
    /// ConflictException
    ///     A cluster has that name.
    /// BadRequestException
    ///     A field is invalid. Also a ``ValueError``.
    /// ForbiddenException
    ///     The role is not Administrator, or the access token is unknown, expired or deleted.
    ///
    /// Examples
    /// --------
    /// >>> cluster = mlp.create_cluster({"name": "nightly", "suspend_after_delay": 1800})
    #[pyo3(signature = (spec, *, timeout=None, **kwargs))]
    fn create_cluster(
        &self,
        py: Python<'_>,
        spec: &Bound<'_, PyDict>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "create_cluster", kwargs)?;
        let request = arguments::json("spec", spec)?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.create_cluster(request, timeout).await },
            |_, info| Ok(K8sClusterInfo::from(info)),
        )
    }

    /// Delete a Spark cluster with its secrets and config maps. The files in its bucket are kept.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     Its ``id``, as ``get_clusters()`` returns it.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster (any more).
    /// ForbiddenException
    ///     The role is not Administrator, or the access token is unknown, expired or deleted.
    #[pyo3(signature = (cluster_id, *, timeout=None, **kwargs))]
    fn delete_cluster(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::refuse_unknown("delete_cluster", &["cluster_id", "timeout"], kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(&inside, |client| async move { client.delete_cluster(&cluster_id, timeout).await }, nothing)
    }

    /// Set after how many minutes without a running job a cluster is deleted.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     Its ``id``, as ``get_clusters()`` returns it.
    /// minutes : int
    ///     1 to 527040 (a year). Counted from the end of the last job: if that time has passed, it is deleted at
    ///     once.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// K8sClusterInfo
    ///     With ``delete_after_inactive_min == minutes``.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster (any more).
    /// ConflictException
    ///     The cluster is being deleted.
    /// BadRequestException
    ///     ``minutes`` is out of range. Also a ``ValueError``.
    /// ForbiddenException
    ///     The role is not Administrator, or the access token is unknown, expired or deleted.
    #[pyo3(signature = (cluster_id, minutes, *, timeout=None, **kwargs))]
    fn set_cluster_delete_time(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        minutes: &Bound<'_, PyAny>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "set_cluster_delete_time", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let minutes = arguments::whole_number("minutes", minutes)?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.set_cluster_delete_time(&cluster_id, minutes, timeout).await },
            |_, info| Ok(K8sClusterInfo::from(info)),
        )
    }

    /// Turn off the automatic deletion of an inactive cluster.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     Its ``id``, as ``get_clusters()`` returns it.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// K8sClusterInfo
    ///     With ``delete_after_inactive_min`` of ``None``.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster (any more).
    /// ConflictException
    ///     The cluster is being deleted.
    /// ForbiddenException
    ///     The role is not Administrator, or the access token is unknown, expired or deleted.
    #[pyo3(signature = (cluster_id, *, timeout=None, **kwargs))]
    fn remove_cluster_delete_time(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "remove_cluster_delete_time", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.remove_cluster_delete_time(&cluster_id, timeout).await },
            |_, info| Ok(K8sClusterInfo::from(info)),
        )
    }

    /// Set after how many minutes without a running job a cluster is suspended (``SHUTOFF``).
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     Its ``id``, as ``get_clusters()`` returns it.
    /// minutes : int
    ///     1 to 527040 (a year). Counted from the end of the last job: if that time has passed, it is suspended at
    ///     once.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// K8sClusterInfo
    ///     With ``suspend_after_inactive_min == minutes``.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster (any more).
    /// ConflictException
    ///     The cluster is being deleted.
    /// BadRequestException
    ///     ``minutes`` is out of range. Also a ``ValueError``.
    /// ForbiddenException
    ///     The role is not Administrator, or the access token is unknown, expired or deleted.
    #[pyo3(signature = (cluster_id, minutes, *, timeout=None, **kwargs))]
    fn set_cluster_suspend_time(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        minutes: &Bound<'_, PyAny>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "set_cluster_suspend_time", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let minutes = arguments::whole_number("minutes", minutes)?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.set_cluster_suspend_time(&cluster_id, minutes, timeout).await },
            |_, info| Ok(K8sClusterInfo::from(info)),
        )
    }

    /// Turn off the automatic suspension of an inactive cluster.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     Its ``id``, as ``get_clusters()`` returns it.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// K8sClusterInfo
    ///     With ``suspend_after_inactive_min`` of ``None``.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster (any more).
    /// ConflictException
    ///     The cluster is being deleted.
    /// ForbiddenException
    ///     The role is not Administrator, or the access token is unknown, expired or deleted.
    #[pyo3(signature = (cluster_id, *, timeout=None, **kwargs))]
    fn remove_cluster_suspend_time(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "remove_cluster_suspend_time", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.remove_cluster_suspend_time(&cluster_id, timeout).await },
            |_, info| Ok(K8sClusterInfo::from(info)),
        )
    }

    /// Start a suspended cluster. It runs within a short time: check with ``get_cluster_info``. A new job does the same.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     Its ``id``, as ``get_clusters()`` returns it.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Raises
    /// ------
    /// ConflictException
    ///     The cluster is not ``SHUTOFF``.
    /// NotFoundException
    ///     There is no such cluster (any more).
    /// ForbiddenException
    ///     The role is not Administrator, or the access token is unknown, expired or deleted.
    #[pyo3(signature = (cluster_id, *, timeout=None, **kwargs))]
    fn wake_up_cluster(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "wake_up_cluster", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(&inside, |client| async move { client.wake_up_cluster(&cluster_id, timeout).await }, nothing)
    }
}
