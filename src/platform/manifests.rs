//! Where manifests come from.

use pyo3::{prelude::*, types::PyDict};

use super::MLPlatform;
use crate::{
    arguments, exit,
    manifest::Manifest,
    text::{FilePath, Text},
};

#[pymethods]
impl MLPlatform {
    /// Get a manifest to begin with: a small job that runs as it is, Spark's own example in Python.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     The cluster that the job is for: its ``id``, as ``get_clusters()`` lists it.
    /// job_name : str, optional
    ///     The job's name, ``metadata.name``. Default: a new one, ``spark-job-`` and eight letters and digits.
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
        // The manifest is the same for every cluster; a mistaken id is told now rather than at the end.
        self.call(
            &inside,
            |client| async move { client.get_cluster_info(&cluster_id, timeout).await },
            move |py, _| Manifest::of_job(py, job_name.as_deref()),
        )
    }

    /// Read a manifest from a YAML file. Nothing is sent, and no token is needed.
    ///
    /// Parameters
    /// ----------
    /// yaml_file_path : str or os.PathLike
    ///     A file with one YAML document, in UTF-8.
    /// timeout : float, optional
    ///     Known here as everywhere; there is nothing to wait for.
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
