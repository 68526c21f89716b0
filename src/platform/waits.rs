//! Methods for handles of jobs and for waiting.

use mlplatform_client::{
    protocol::JobInfo,
    waits::{Failure, Until, Waited},
};
use pyo3::{prelude::*, sync::PyOnceLock, types::PyDict};

use super::MLPlatform;
use crate::{
    arguments, exit,
    serializers::spark_jobs::{K8sSparkJobExplanation, K8sSparkJobInfo, K8sSparkJobLogs, Origin},
    text::Text,
};

#[pymethods]
impl MLPlatform {
    /// A handle of a job, with the methods of that job. Sends no request.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     The cluster's ``id``.
    /// job_name : str
    ///     The job's name. The methods of the handle raise an error if there is no such job.
    /// timeout : float, optional
    ///     Accepted for consistency; no request is sent.
    ///
    /// Returns
    /// -------
    /// SparkJob
    ///     With ``info()``, ``logs()``, ``wait()``, ``explain()``, ``events()``, ``describe()`` and ``delete()``. An
    ///     ``AsyncMLPlatform`` returns an ``AsyncSparkJob``.
    ///
    /// Examples
    /// --------
    /// >>> job = mlp.spark_job(cluster.id, "pi-1")
    /// >>> job.wait()
    /// >>> print(job.logs())
    #[pyo3(signature = (cluster_id, job_name, *, timeout=None, **kwargs))]
    fn spark_job(
        slf: &Bound<'_, Self>,
        cluster_id: Text<'_>,
        job_name: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let _inside = exit::enter(py);
        arguments::ignore_unknown(py, "spark_job", kwargs)?;
        let (cluster_id, job_name) = (cluster_id.read("cluster_id")?, job_name.read("job_name")?);
        arguments::timeout(py, timeout)?;
        let make = py.import("mlplatform_client.core.spark_job")?.getattr("of_info")?;
        Ok(make.call1(((Self::public_object(slf)?, cluster_id), job_name))?.unbind())
    }

    /// Wait until a job has ended, or runs. The end is known within a fraction of a second. All waits of one object for jobs
    /// of one cluster share one request.
    ///
    /// Only ``COMPLETED`` and ``FAILED`` are final: the wait continues while the restart policy runs a job again, and in
    /// states that only a newer platform knows. While the platform does not answer (during an update, for instance), it is
    /// retried for ten minutes.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     The cluster's ``id``.
    /// job_name : str
    ///     The job's name.
    /// until : str, optional
    ///     ``"completed"``: the job has ended; ``"running"``: the program runs, or has run. Default: ``"completed"``.
    /// timeout : float, optional
    ///     Seconds for the whole wait. Default: none, as long as the job.
    /// on_update : callable, optional
    ///     Called with a ``K8sSparkJobInfo`` at the beginning and after each change, in the waiting thread; awaited if it is
    ///     a coroutine function. An exception of it ends the wait. Default: none.
    /// progress : bool, optional
    ///     Show a progress line on standard error: redrawn in a terminal and in a notebook, one line for each change
    ///     elsewhere. Default: in the main thread, unless ``MLP_PROGRESS`` is ``0``; ``False`` for an ``AsyncMLPlatform``.
    ///
    /// Returns
    /// -------
    /// K8sSparkJobInfo
    ///     The job, as it was when the wait ended.
    ///
    /// Raises
    /// ------
    /// SparkJobFailed
    ///     The job failed; the exception has the explanation, the last lines of the log and the relevant events.
    /// TimeoutException
    ///     The timeout has passed; the message says what the job is doing, and why. Also a ``TimeoutError``.
    /// NotFoundException
    ///     There is no such cluster or job, or it was deleted during the wait.
    ///
    /// Examples
    /// --------
    /// >>> mlp.wait_for_spark_job(cluster.id, "pi-1", timeout=3600, on_update=print)
    #[pyo3(signature = (cluster_id, job_name, until=Text::Default("completed"), timeout=None, on_update=None, progress=None, **kwargs), text_signature = "($self, /, cluster_id, job_name, until=\"completed\", timeout=None, on_update=None, progress=None, **kwargs)")]
    #[allow(clippy::too_many_arguments, reason = "two of them name the job")]
    fn wait_for_spark_job(
        slf: &Bound<'_, Self>,
        cluster_id: Text<'_>,
        job_name: Text<'_>,
        until: Text<'_>,
        timeout: Option<f64>,
        on_update: Option<Py<PyAny>>,
        progress: Option<bool>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let inside = exit::enter(py);
        const KNOWN: [&str; 6] = ["cluster_id", "job_name", "until", "timeout", "on_update", "progress"];
        arguments::refuse_unknown("wait_for_spark_job", &KNOWN, kwargs)?;
        let (cluster_id, job_name) = (cluster_id.read("cluster_id")?, job_name.read("job_name")?);
        let until = until.read("until")?;
        let until = Until::from_name(&until).ok_or_else(|| {
            let problem =
                format!("'{}' is not a state to wait for: use 'completed' or 'running'", until.escape_debug());
            arguments::bad(py, "until", problem)
        })?;
        let timeout = arguments::timeout(py, timeout)?;
        if let Some(on_update) = on_update.as_ref().filter(|on_update| !on_update.bind(py).is_callable()) {
            let what = on_update.bind(py).get_type().name()?;
            return Err(pyo3::exceptions::PyTypeError::new_err(format!("on_update must be callable, not {what}")));
        }
        failed_class(py)?;
        let on_update = shown(py, on_update, progress, slf.get().awaited)?;
        let origin = Place { platform: Self::public_object(slf)?, cluster_id: cluster_id.clone() };
        let of_update = origin.clone(py);
        slf.get().call_with_updates(
            &inside,
            |client, reporter| async move {
                let told = move |info: &JobInfo| reporter.report(info.clone());
                client.wait_for_spark_job(&cluster_id, &job_name, until, timeout, told).await
            },
            on_update,
            move |py, info| Ok(K8sSparkJobInfo::of(info, of_update.origin(py))),
            move |py, waited| match waited {
                Waited::Reached(info) => Ok(K8sSparkJobInfo::of(info, origin.origin(py))),
                Waited::Failed(failure) => Err(failed(py, *failure)?),
            },
        )
    }
}

/// The function to call with each update: the progress line, if it is shown, and then the caller's.
fn shown(
    py: Python<'_>,
    on_update: Option<Py<PyAny>>,
    progress: Option<bool>,
    awaited: bool,
) -> PyResult<Option<Py<PyAny>>> {
    let progress = progress.or(awaited.then_some(false));
    if progress == Some(false) {
        return Ok(on_update);
    }
    let of_job = py.import("mlplatform_client._progress")?.getattr("of_job")?;
    let both = of_job.call1((on_update, progress, !awaited))?;
    Ok((!both.is_none()).then(|| both.unbind()))
}

/// The platform and the cluster of a job.
struct Place {
    platform: Py<PyAny>,
    cluster_id: String,
}

impl Place {
    fn clone(&self, py: Python<'_>) -> Self {
        Self { platform: self.platform.clone_ref(py), cluster_id: self.cluster_id.clone() }
    }

    fn origin(&self, py: Python<'_>) -> Origin {
        Origin { platform: self.platform.clone_ref(py), cluster_id: self.cluster_id.clone() }
    }
}

fn failed_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static FAILED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    FAILED.import(py, "mlplatform_client.core.exceptions", "SparkJobFailed")
}

fn failed(py: Python<'_>, failure: Failure) -> PyResult<PyErr> {
    let explanation = failure.explanation.map(|told| K8sSparkJobExplanation::from_protocol(py, told)).transpose()?;
    let log = K8sSparkJobLogs::from_bytes(py, failure.log)?.text(py);
    let arguments = (failure.info.job_name, explanation, log, failure.events);
    Ok(PyErr::from_value(failed_class(py)?.call_method1("of", arguments)?))
}
