//! Methods for Spark Connect. What a session of pyspark and the answers are made of is Python's.

use mlplatform_client::protocol::Value;
use pyo3::{exceptions::PyNotImplementedError, prelude::*, types::PyDict};

use super::{MLPlatform, nothing};
use crate::{arguments, exit, text::Text, values};

#[pymethods]
impl MLPlatform {
    /// A Spark session over Spark Connect, with the token of this object.
    ///
    /// It needs pyspark's Connect client: ``pip install 'pyspark[connect]'``. The first session of a cluster starts its server,
    /// which takes some twenty seconds. ``spark.stop()`` ends the session.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str, optional
    ///     The cluster's ``id`` or name. Default: ``MLP_CLUSTER``, else the only cluster, or ``local`` of several.
    /// remote : str, optional
    ///     ``sc://HOST:PORT`` of the gateway. Default: ``MLP_SPARK_REMOTE``, else port 15002 of the platform's host, with TLS if
    ///     the platform has it.
    /// **conf : object
    ///     Settings of the session, such as ``**{"spark.sql.shuffle.partitions": 8}``.
    ///
    /// Returns
    /// -------
    /// pyspark.sql.SparkSession
    ///     A new session.
    ///
    /// Raises
    /// ------
    /// ConfigurationException
    ///     No token is set, ``remote`` is not of that form, or pyspark's Connect client is not installed.
    /// NotImplementedError
    ///     Of an ``AsyncMLPlatform``: pyspark's sessions have no coroutines.
    ///
    /// Examples
    /// --------
    /// >>> spark = mlp.spark_session()
    /// >>> print(spark.range(1000).count())
    #[pyo3(signature = (cluster_id=None, *, remote=None, **conf))]
    fn spark_session(
        &self,
        py: Python<'_>,
        cluster_id: Option<Text<'_>>,
        remote: Option<Text<'_>>,
        conf: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        if self.awaited {
            return Err(PyNotImplementedError::new_err(
                "AsyncMLPlatform has no spark_session, because pyspark's sessions have no coroutines: use \
                 MLPlatform().spark_session() in a thread (asyncio.to_thread)",
            ));
        }
        // Also says that a closed object is closed.
        self.client(py)?;
        let config = self.config.get();
        let token = config.and_then(|config| Some(config.credential.as_ref()?.access_token()?.expose().to_owned()));
        let url = config.map(|config| config.url.as_str().to_owned());
        let cluster_id = cluster_id.map(|text| text.read("cluster_id")).transpose()?;
        let remote = remote.map(|text| text.read("remote")).transpose()?;
        helper(py, "session")?.call1((url, token, cluster_id, remote, conf)).map(Bound::unbind)
    }

    /// The open sessions of Spark Connect on a cluster: one's own, or all for an Administrator.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     The cluster's ``id``.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// list of K8sSparkSession
    ///     In the order of opening.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster.
    #[pyo3(signature = (cluster_id, *, timeout=None, **kwargs))]
    fn get_spark_sessions(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "get_spark_sessions", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.get_spark_sessions(&cluster_id, timeout).await },
            |py, answer| shown(py, "sessions", &answer),
        )
    }

    /// Close a session of Spark Connect; what runs in it is interrupted. A User may close its own.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     The cluster's ``id``.
    /// session_id : str
    ///     The session's ``session_id``, as ``get_spark_sessions()`` returns it.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster, or no such session of one's own.
    #[pyo3(signature = (cluster_id, session_id, *, timeout=None, **kwargs))]
    fn close_spark_session(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        session_id: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "close_spark_session", kwargs)?;
        let (cluster_id, session_id) = (cluster_id.read("cluster_id")?, session_id.read("session_id")?);
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.close_spark_session(&cluster_id, &session_id, timeout).await },
            nothing,
        )
    }

    /// Add to what a cluster's Connect server loads. Only for Administrators.
    ///
    /// What is there already is not added again. A server that runs is started again as soon as nothing runs on it, which ends
    /// its sessions. Without lists, the settings are only returned.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     The cluster's ``id``.
    /// jars : list of str, optional
    ///     Addresses of jars, such as ``s3a://<bucket>/a.jar``.
    /// packages : list of str, optional
    ///     Maven coordinates, such as ``org.example:name:1.0``.
    /// repositories : list of str, optional
    ///     Addresses of Maven repositories, beside the central one.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// K8sSparkConnectSettings
    ///     Printed, it is one ``key value`` a line; ``ends_sessions`` is the number of sessions that end.
    ///
    /// Raises
    /// ------
    /// BadRequestException
    ///     An entry has spaces, a comma or more than 1000 bytes, or a list has more than 100.
    /// ForbiddenException
    ///     The token is not an Administrator's.
    /// NotFoundException
    ///     There is no such cluster.
    #[pyo3(signature = (cluster_id, jars=None, packages=None, repositories=None, *, timeout=None, **kwargs))]
    #[allow(clippy::too_many_arguments, reason = "the reference's signature and one more")]
    fn add_spark_connect_jars(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        jars: Option<&Bound<'_, PyAny>>,
        packages: Option<&Bound<'_, PyAny>>,
        repositories: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "add_spark_connect_jars", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let list = |name, list: Option<&Bound<'_, PyAny>>| list.map(|list| arguments::texts(name, list)).transpose();
        let (jars, packages) = (list("jars", jars)?, list("packages", packages)?);
        let repositories = list("repositories", repositories)?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move {
                client.add_spark_connect_jars(&cluster_id, jars, packages, repositories, timeout).await
            },
            |py, answer| shown(py, "settings", &answer),
        )
    }
}

fn helper<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("mlplatform_client.core.connect")?.getattr(name)
}

/// An answer as Python shows it.
fn shown(py: Python<'_>, name: &str, answer: &Value) -> PyResult<Py<PyAny>> {
    helper(py, name)?.call1((values::from_json(py, answer)?,)).map(Bound::unbind)
}
