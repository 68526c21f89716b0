//! Methods that create and read manifests.

use pyo3::{prelude::*, types::PyDict};

use super::MLPlatform;
use crate::{
    arguments, exit,
    manifest::Manifest,
    text::{FilePath, Text},
};

#[pymethods]
impl MLPlatform {
    /// Create a default manifest: a small job that runs unchanged, Spark's example in Python.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     The cluster of the job: its ``id``, as ``get_clusters()`` returns it.
    /// job_name : str, optional
    ///     The job's name, ``metadata.name``. Default: a generated one, ``spark-job-`` and eight hexadecimal digits.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// Manifest
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster (any more).
    /// ForbiddenException
    ///     The access token is unknown, expired or deleted.
    ///
    /// Examples
    /// --------
    /// >>> manifest = mlp.get_default_manifest(cluster_id, "pi-spark-job-1")
    /// >>> manifest.set_executor_settings({"instances": 2})
    /// >>> print(manifest)
    #[pyo3(signature = (cluster_id, job_name=None, *, timeout=None, **kwargs))]
    fn get_default_manifest(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        job_name: Option<Text<'_>>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "get_default_manifest", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let job_name = job_name.map(|text| text.read("job_name")).transpose()?;
        let timeout = arguments::timeout(py, timeout)?;
        // The manifest is the same for every cluster; the request only finds a wrong id early.
        self.call(
            &inside,
            |client| async move { client.get_cluster_info(&cluster_id, timeout).await },
            move |py, _| Manifest::of_job(py, job_name.as_deref()),
        )
    }

    /// Read a manifest from a YAML file. Sends no request and needs no token.
    ///
    /// Parameters
    /// ----------
    /// yaml_file_path : str or os.PathLike
    ///     A file with one YAML document, in UTF-8.
    /// timeout : float, optional
    ///     Accepted for consistency; no request is sent.
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
    #[pyo3(signature = (yaml_file_path, *, timeout=None, **kwargs))]
    fn get_manifest_from_yaml_file(
        &self,
        py: Python<'_>,
        yaml_file_path: FilePath,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Manifest> {
        let _inside = exit::enter(py);
        arguments::ignore_unknown(py, "get_manifest_from_yaml_file", kwargs)?;
        let yaml_file_path = yaml_file_path.read(py, "yaml_file_path")?;
        arguments::timeout(py, timeout)?;
        Manifest::of_file(py, &yaml_file_path)
    }
}
