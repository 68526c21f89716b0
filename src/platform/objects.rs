//! Methods for secrets and config maps.

use pyo3::{prelude::*, types::PyDict};

use super::{MLPlatform, nothing};
use crate::{
    arguments, exit,
    serializers::spark_proxy::{K8sConfigmap, K8sObjectNamesList, K8sSecret},
    text::{FilePath, Text},
};

#[pymethods]
impl MLPlatform {
    /// Create a secret from a YAML file, as ``kubectl create -f`` would.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     ``id`` of the cluster, as ``get_clusters()`` returns it.
    /// secret_yaml_path : str or os.PathLike
    ///     A file with ``kind: Secret``, values in base64 under ``data`` or as text under ``stringData``.
    ///     At most 1 MiB of values. A key that lost its indentation is accepted if it fits in only one
    ///     place.
    /// namespace : str, optional
    ///     Default: ``"default"``, which every cluster has.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// K8sSecret
    ///     Its name, type and keys; each value is masked.
    ///
    /// Raises
    /// ------
    /// BadRequestException
    ///     The file cannot be read, or is not such a manifest; the message names the line. Also a ``ValueError``.
    /// ConflictException
    ///     The namespace has a secret of that name.
    /// NotFoundException
    ///     There is no such cluster or namespace.
    /// ForbiddenException
    ///     The role is not Administrator, or the access token is unknown, expired or deleted.
    #[pyo3(signature = (cluster_id, secret_yaml_path, namespace=Text::Default("default"), *, timeout=None, **kwargs), text_signature = "($self, cluster_id, secret_yaml_path, namespace='default', *, timeout=None, **kwargs)")]
    fn create_secret_from_yaml(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        secret_yaml_path: FilePath,
        namespace: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::refuse_unknown(
            "create_secret_from_yaml",
            &["cluster_id", "secret_yaml_path", "namespace", "timeout"],
            kwargs,
        )?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let secret_yaml_path = secret_yaml_path.read(py, "secret_yaml_path")?;
        let (namespace, timeout) = (namespace.read("namespace")?, arguments::timeout(py, timeout)?);
        self.call(&inside, |client| async move {
            client.create_secret_from_yaml(&cluster_id, secret_yaml_path, namespace, timeout).await
        }, K8sSecret::from_protocol)
    }

    /// The names of the secrets in a namespace, oldest first.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     ``id`` of the cluster, as ``get_clusters()`` returns it.
    /// namespace : str, optional
    ///     Default: ``"default"``, which every cluster has.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// K8sObjectNamesList
    ///     Iterable, with ``len()`` and indexes; printed, it is one name a line.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster or namespace.
    /// ForbiddenException
    ///     The access token is unknown, expired or deleted.
    #[pyo3(signature = (cluster_id, namespace=Text::Default("default"), *, timeout=None, **kwargs), text_signature = "($self, cluster_id, namespace='default', *, timeout=None, **kwargs)")]
    fn list_secrets(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        namespace: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::refuse_unknown("list_secrets", &["cluster_id", "namespace", "timeout"], kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let (namespace, timeout) = (namespace.read("namespace")?, arguments::timeout(py, timeout)?);
        self.call(
            &inside,
            |client| async move { client.list_secrets(&cluster_id, &namespace, timeout).await },
            K8sObjectNamesList::from_names,
        )
    }

    /// A secret: its type and keys. Values are never returned.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     ``id`` of the cluster, as ``get_clusters()`` returns it.
    /// secret_name : str
    ///     The name, as ``list_secrets`` returns it.
    /// namespace : str, optional
    ///     Default: ``"default"``, which every cluster has.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// K8sSecret
    ///     ``data`` contains a mask for each key.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster, namespace or secret.
    /// ForbiddenException
    ///     The access token is unknown, expired or deleted.
    #[pyo3(signature = (cluster_id, secret_name, namespace=Text::Default("default"), *, timeout=None, **kwargs), text_signature = "($self, cluster_id, secret_name, namespace='default', *, timeout=None, **kwargs)")]
    fn get_secret_detail(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        secret_name: Text<'_>,
        namespace: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::refuse_unknown("get_secret_detail", &["cluster_id", "secret_name", "namespace", "timeout"], kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let secret_name = secret_name.read("secret_name")?;
        let (namespace, timeout) = (namespace.read("namespace")?, arguments::timeout(py, timeout)?);
        self.call(
            &inside,
            |client| async move { client.get_secret_detail(&cluster_id, &secret_name, namespace, timeout).await },
            K8sSecret::from_protocol,
        )
    }

    /// Delete a secret. Running jobs that use it are not affected.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     ``id`` of the cluster, as ``get_clusters()`` returns it.
    /// secret_name : str
    ///     The name, as ``list_secrets`` returns it.
    /// namespace : str, optional
    ///     Default: ``"default"``, which every cluster has.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster, namespace or secret.
    /// ForbiddenException
    ///     The role is not Administrator, or the access token is unknown, expired or deleted.
    #[pyo3(signature = (cluster_id, secret_name, namespace=Text::Default("default"), *, timeout=None, **kwargs), text_signature = "($self, cluster_id, secret_name, namespace='default', *, timeout=None, **kwargs)")]
    fn delete_secret(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        secret_name: Text<'_>,
        namespace: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::refuse_unknown("delete_secret", &["cluster_id", "secret_name", "namespace", "timeout"], kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let secret_name = secret_name.read("secret_name")?;
        let (namespace, timeout) = (namespace.read("namespace")?, arguments::timeout(py, timeout)?);
        self.call(
            &inside,
            |client| async move { client.delete_secret(&cluster_id, &secret_name, namespace, timeout).await },
            nothing,
        )
    }

    /// Create a config map from a YAML file, as ``kubectl create -f`` would.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     ``id`` of the cluster, as ``get_clusters()`` returns it.
    /// configmap_yaml_path : str or os.PathLike
    ///     A file with ``kind: ConfigMap``, texts under ``data``, other values in base64 under ``binaryData``. At
    ///     most 1 MiB of values. A key that lost its indentation is accepted if it fits in only one place.
    /// namespace : str, optional
    ///     Default: ``"default"``, which every cluster has.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// K8sConfigmap
    ///     The new config map.
    ///
    /// Raises
    /// ------
    /// BadRequestException
    ///     The file cannot be read, or is not such a manifest; the message names the line. Also a ``ValueError``.
    /// ConflictException
    ///     The namespace has a config map of that name.
    /// NotFoundException
    ///     There is no such cluster or namespace.
    /// ForbiddenException
    ///     The role is not Administrator, or the access token is unknown, expired or deleted.
    #[pyo3(signature = (cluster_id, configmap_yaml_path, namespace=Text::Default("default"), *, timeout=None, **kwargs), text_signature = "($self, cluster_id, configmap_yaml_path, namespace='default', *, timeout=None, **kwargs)")]
    fn create_configmap_from_yaml(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        configmap_yaml_path: FilePath,
        namespace: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "create_configmap_from_yaml", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let configmap_yaml_path = configmap_yaml_path.read(py, "configmap_yaml_path")?;
        let (namespace, timeout) = (namespace.read("namespace")?, arguments::timeout(py, timeout)?);
        self.call(
            &inside,
            |client| async move {
                client.create_configmap_from_yaml(&cluster_id, configmap_yaml_path, namespace, timeout).await
            },
            K8sConfigmap::from_protocol,
        )
    }

    /// The names of the config maps in a namespace, oldest first.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     ``id`` of the cluster, as ``get_clusters()`` returns it.
    /// namespace : str, optional
    ///     Default: ``"default"``, which every cluster has.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// K8sObjectNamesList
    ///     Iterable, with ``len()`` and indexes; printed, it is one name a line.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster or namespace.
    /// ForbiddenException
    ///     The access token is unknown, expired or deleted.
    #[pyo3(signature = (cluster_id, namespace=Text::Default("default"), *, timeout=None, **kwargs), text_signature = "($self, cluster_id, namespace='default', *, timeout=None, **kwargs)")]
    fn list_configmaps(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        namespace: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "list_configmaps", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let (namespace, timeout) = (namespace.read("namespace")?, arguments::timeout(py, timeout)?);
        self.call(
            &inside,
            |client| async move { client.list_configmaps(&cluster_id, &namespace, timeout).await },
            K8sObjectNamesList::from_names,
        )
    }

    /// A config map with its values.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     ``id`` of the cluster, as ``get_clusters()`` returns it.
    /// configmap_name : str
    ///     The name, as ``list_configmaps`` returns it.
    /// namespace : str, optional
    ///     Default: ``"default"``, which every cluster has.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// K8sConfigmap
    ///     Printed as YAML.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster, namespace or config map.
    /// ForbiddenException
    ///     The access token is unknown, expired or deleted.
    #[pyo3(signature = (cluster_id, configmap_name, namespace=Text::Default("default"), *, timeout=None, **kwargs), text_signature = "($self, cluster_id, configmap_name, namespace='default', *, timeout=None, **kwargs)")]
    fn get_configmap_detail(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        configmap_name: Text<'_>,
        namespace: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "get_configmap_detail", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let configmap_name = configmap_name.read("configmap_name")?;
        let (namespace, timeout) = (namespace.read("namespace")?, arguments::timeout(py, timeout)?);
        self.call(
            &inside,
            |client| async move { client.get_configmap_detail(&cluster_id, &configmap_name, namespace, timeout).await },
            K8sConfigmap::from_protocol,
        )
    }

    /// Delete a config map. Running jobs that use it are not affected.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     ``id`` of the cluster, as ``get_clusters()`` returns it.
    /// configmap_name : str
    ///     The name, as ``list_configmaps`` returns it.
    /// namespace : str, optional
    ///     Default: ``"default"``, which every cluster has.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster, namespace or config map.
    /// ForbiddenException
    ///     The role is not Administrator, or the access token is unknown, expired or deleted.
    #[pyo3(signature = (cluster_id, configmap_name, namespace=Text::Default("default"), *, timeout=None, **kwargs), text_signature = "($self, cluster_id, configmap_name, namespace='default', *, timeout=None, **kwargs)")]
    fn delete_configmap(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        configmap_name: Text<'_>,
        namespace: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::refuse_unknown(
            "delete_configmap",
            &["cluster_id", "configmap_name", "namespace", "timeout"],
            kwargs,
        )?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let configmap_name = configmap_name.read("configmap_name")?;
        let (namespace, timeout) = (namespace.read("namespace")?, arguments::timeout(py, timeout)?);
        self.call(
            &inside,
            |client| async move { client.delete_configmap(&cluster_id, &configmap_name, namespace, timeout).await },
            nothing,
        )
    }
}
