//! Methods for Spark jobs.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use mlplatform_client::{follow::LogStream, upload::OnSent};
use pyo3::{IntoPyObjectExt, prelude::*, types::PyDict};

use super::{MLPlatform, nothing};
use crate::{
    arguments, errors, exit, files,
    log_lines::SparkJobLogLines,
    serializers::{
        lists::{K8sSparkEventsList, K8sSparkJobsInfoList},
        spark_jobs::{
            K8sSparkApplication, K8sSparkJobExplanation, K8sSparkJobInfo, K8sSparkJobInfoDetail, K8sSparkJobLogs,
            Origin,
        },
    },
    text::{FilePath, Text},
};

#[pymethods]
impl MLPlatform {
    /// Submit a Spark job.
    ///
    /// It starts when the cluster has capacity, in the order of submission. A request repeated after a lost answer does not
    /// run it twice.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     The cluster's ``id``, as ``get_clusters()`` returns it. A suspended cluster is woken up.
    /// manifest : Manifest
    ///     The job's manifest; ``get_default_manifest()`` returns one to start from.
    /// pycode_file_path : str or os.PathLike, optional
    ///     A program file on this machine; it is sent with the request and becomes the main program. At most 10 MiB.
    ///     Default: the manifest's ``main_app_file``.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    /// progress : bool, optional
    ///     Show a line on standard error while a large program (from 1 MiB) is uploaded. Default: in the main thread, unless
    ///     ``MLP_PROGRESS`` is ``0``; ``False`` for an ``AsyncMLPlatform``.
    ///
    /// Returns
    /// -------
    /// K8sSparkJobInfo
    ///     The job, ``SUBMITTED``.
    ///
    /// Raises
    /// ------
    /// ConflictException
    ///     The cluster has a job of that name; or the platform cannot run jobs (the message says why).
    /// BadRequestException
    ///     The manifest is invalid, or a file or secret that it names does not exist. Also a ``ValueError``.
    /// NotFoundException
    ///     There is no such cluster.
    ///
    /// Examples
    /// --------
    /// >>> manifest = mlp.get_default_manifest(cluster.id, "pi-1")
    /// >>> print(mlp.spark_submit_job(cluster.id, manifest, "calculate-pi.py"))
    #[pyo3(signature = (cluster_id, manifest, pycode_file_path=None, *, timeout=None, progress=None, **kwargs))]
    #[allow(clippy::too_many_arguments, reason = "the reference's signature and two more")]
    fn spark_submit_job(
        slf: &Bound<'_, Self>,
        cluster_id: Text<'_>,
        manifest: &Bound<'_, PyAny>,
        pycode_file_path: Option<FilePath>,
        timeout: Option<f64>,
        progress: Option<bool>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "spark_submit_job", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let manifest = arguments::manifest("manifest", manifest)?;
        let pycode_file_path = pycode_file_path.map(|path| path.read(py, "pycode_file_path")).transpose()?;
        let timeout = arguments::timeout(py, timeout)?;
        let origin = Origin { platform: Self::public_object(slf)?, cluster_id: cluster_id.clone() };
        let on_update = match &pycode_file_path {
            Some(path) => transfer_line(py, path, true, progress, slf.get().awaited)?,
            None => None,
        };
        let is_shown = on_update.is_some();
        slf.get().call_with_updates(
            &inside,
            |client, reporter| async move {
                let throttle = Throttle::default();
                let report = move |sent, total| {
                    if sent == total || throttle.is_due() {
                        reporter.report((sent, Some(total)));
                    }
                };
                let on_sent: Option<OnSent> = if is_shown { Some(Arc::new(report)) } else { None };
                client.spark_submit_job(&cluster_id, manifest, pycode_file_path.as_deref(), timeout, on_sent).await
            },
            on_update,
            |_, transferred: Transferred| Ok(transferred),
            move |_, info| Ok(K8sSparkJobInfo::of(info, origin)),
        )
    }

    /// The jobs of a cluster, in the order of submission.
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
    /// K8sSparkJobsInfoList
    ///     Iterable, with ``len()`` and indexes; printed, it is one job a line.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster.
    #[pyo3(signature = (cluster_id, *, timeout=None, **kwargs))]
    fn spark_jobs_list(
        slf: &Bound<'_, Self>,
        cluster_id: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "spark_jobs_list", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let timeout = arguments::timeout(py, timeout)?;
        let (platform, of) = (Self::public_object(slf)?, cluster_id.clone());
        slf.get().call(
            &inside,
            |client| async move { client.spark_jobs_list(&cluster_id, timeout).await },
            move |py, jobs| {
                let origin = || Origin { platform: platform.clone_ref(py), cluster_id: of.clone() };
                K8sSparkJobsInfoList::of(py, jobs.into_iter().map(|job| K8sSparkJobInfo::of(job, origin())).collect())
            },
        )
    }

    /// A job and its driver, also right after the submit: unknown fields are ``None``.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     The cluster's ``id``.
    /// job_name : str
    ///     The job's name.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// K8sSparkJobInfoDetail
    ///     The state of the job and of the driver's pod.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster or job.
    #[pyo3(signature = (cluster_id, job_name, *, timeout=None, **kwargs))]
    fn spark_job_info(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        job_name: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "spark_job_info", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let job_name = job_name.read("job_name")?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.spark_job_info(&cluster_id, &job_name, timeout).await },
            |_, job| Ok(K8sSparkJobInfoDetail::from(job)),
        )
    }

    /// The log of a job, of all its runs. It is kept when the job is deleted. At most 512 MiB are held in memory: of a longer
    /// log, read the end with ``tail``, iterate over the lines with ``follow``, or save it with ``save_spark_job_logs``.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     The cluster's ``id``.
    /// job_name : str
    ///     The job's name.
    /// tail : int, optional
    ///     Only this number of lines at the end. Default: all.
    /// wait : float, optional
    ///     Seconds to wait for the end of the job before the log is returned; ``0``: do not wait. Default: until the job has
    ///     ended or is a minute old, so that a notebook that runs all cells shows the result of a short job.
    /// follow : bool, optional
    ///     Return an iterator over the lines instead, which continues until the job has ended. It works right after the
    ///     submit, resumes after a broken connection, and retries for ten minutes while the platform does not answer. Not
    ///     together with ``wait``. Default: ``False``.
    /// timeout : float, optional
    ///     Seconds for this call, the wait included. Default: that of the object. With ``follow``: seconds for the whole
    ///     iteration; default: none.
    ///
    /// Returns
    /// -------
    /// K8sSparkJobLogs
    ///     ``print()`` shows the text, ``.logs`` is the text. If it is still empty after the default wait, a ``UserWarning``
    ///     says what the job is doing.
    /// SparkJobLogLines
    ///     With ``follow``: an iterator of ``str``, each a line with its line ending; an asynchronous one for an
    ///     ``AsyncMLPlatform``.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster, or never was such a job.
    /// UnexpectedAnswerException
    ///     The log, or the requested part, is longer than 512 MiB.
    #[pyo3(signature = (cluster_id, job_name, *, tail=None, wait=None, follow=false, timeout=None, **kwargs))]
    #[allow(clippy::too_many_arguments, reason = "the reference's signature and three more")]
    fn spark_job_logs(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        job_name: Text<'_>,
        tail: Option<&Bound<'_, PyAny>>,
        wait: Option<f64>,
        follow: bool,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "spark_job_logs", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let job_name = job_name.read("job_name")?;
        let tail = tail.map(|tail| arguments::count("tail", tail)).transpose()?;
        let wait = wait.map(|wait| arguments::wait(py, wait)).transpose()?;
        let timeout = arguments::timeout(py, timeout)?;
        if follow {
            if wait.is_some() {
                return Err(arguments::bad(py, "wait", "a followed log waits for the end of the job anyway: omit it"));
            }
            let stream = LogStream::new(self.client(py)?, &cluster_id, &job_name, tail, true, timeout);
            return SparkJobLogLines::new(stream.map_err(|error| errors::raise(py, &error))?).into_py_any(py);
        }
        self.call(
            &inside,
            |client| async move { client.spark_job_logs(&cluster_id, &job_name, tail, wait, timeout).await },
            |py, log| {
                if let Some(doing) = &log.nothing_because {
                    arguments::warn(py, doing)?;
                }
                K8sSparkJobLogs::from_bytes(py, log.bytes)
            },
        )
    }

    /// Save a job's log of any length to a file, in constant memory.
    ///
    /// An existing copy is continued: after an interruption, or when the job has written more. Its last 64 KiB are compared
    /// with the log.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     The cluster's ``id``.
    /// job_name : str
    ///     The job's name.
    /// path : str or os.PathLike
    ///     The file; created if it does not exist.
    /// follow : bool, optional
    ///     Continue until the job has ended. Default: ``False``, only the current log.
    /// timeout : float, optional
    ///     Seconds for the whole operation. Default: none; while the platform does not answer, it is retried for ten
    ///     minutes.
    /// progress : bool, optional
    ///     Show a line on standard error with the size of the file. Default: in the main thread, unless ``MLP_PROGRESS`` is
    ///     ``0``; ``False`` for an ``AsyncMLPlatform``.
    ///
    /// Returns
    /// -------
    /// int
    ///     The size of the file in bytes.
    ///
    /// Raises
    /// ------
    /// BadRequestException
    ///     The content of the file is not the beginning of this log, or another process writes to it. Also a ``ValueError``.
    /// NotFoundException
    ///     There is no such cluster, or never was such a job.
    /// OSError
    ///     The file cannot be written (``IsADirectoryError``, ``PermissionError``, no space …).
    ///
    /// Examples
    /// --------
    /// >>> mlp.save_spark_job_logs(cluster.id, "pi-1", "pi-1.log")
    #[pyo3(signature = (cluster_id, job_name, path, *, follow=false, timeout=None, progress=None, **kwargs))]
    #[allow(clippy::too_many_arguments, reason = "two of them name the job")]
    fn save_spark_job_logs(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        job_name: Text<'_>,
        path: FilePath,
        follow: bool,
        timeout: Option<f64>,
        progress: Option<bool>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        let known = ["cluster_id", "job_name", "path", "follow", "timeout", "progress"];
        arguments::refuse_unknown("save_spark_job_logs", &known, kwargs)?;
        let (cluster_id, job_name) = (cluster_id.read("cluster_id")?, job_name.read("job_name")?);
        let path = path.read(py, "path")?;
        let timeout = arguments::timeout(py, timeout)?;
        let file = files::open_to_continue(&path).map_err(|problem| match problem.kind() {
            std::io::ErrorKind::WouldBlock => arguments::bad(
                py,
                "path",
                format!("'{}' is being written by another process: wait for it", path.display()),
            ),
            std::io::ErrorKind::InvalidInput => {
                arguments::bad(py, "path", format!("'{}' is not a regular file: name one", path.display()))
            }
            _ => files::raise(&path, &problem),
        })?;
        let on_update = transfer_line(py, &path, false, progress, self.awaited)?;
        let last_update = on_update.as_ref().map(|on_update| on_update.clone_ref(py));
        self.call_with_updates(
            &inside,
            |client, reporter| async move {
                let throttle = Throttle::default();
                let on_written = move |size| {
                    if throttle.is_due() {
                        reporter.report((size, None));
                    }
                };
                client.save_spark_job_logs(&cluster_id, &job_name, file, follow, timeout, on_written).await
            },
            on_update,
            |_, transferred: Transferred| Ok(transferred),
            move |py, written| {
                let size = written.map_err(|problem| files::raise(&path, &problem))?;
                if let Some(on_update) = last_update {
                    on_update.call1(py, ((size, size),))?;
                }
                Ok(size)
            },
        )
    }

    /// A job as the Kubernetes operator would show it: its manifest, its state and its events.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     The cluster's ``id``.
    /// job_name : str
    ///     The job's name.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// K8sSparkApplication
    ///     Printed as YAML. It contains names of secrets, never their values.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster or job.
    #[pyo3(signature = (cluster_id, job_name, *, timeout=None, **kwargs))]
    fn describe_spark_job(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        job_name: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "describe_spark_job", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let job_name = job_name.read("job_name")?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.describe_spark_job(&cluster_id, &job_name, timeout).await },
            |_, content| Ok(K8sSparkApplication::from_json(content)),
        )
    }

    /// End and delete a job. Afterwards none of its processes runs; its name is free, its log is kept.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     The cluster's ``id``.
    /// job_name : str
    ///     The job's name.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster or job.
    #[pyo3(signature = (cluster_id, job_name, *, timeout=None, **kwargs))]
    fn spark_delete_job(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        job_name: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::refuse_unknown("spark_delete_job", &["cluster_id", "job_name", "timeout"], kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let job_name = job_name.read("job_name")?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.spark_delete_job(&cluster_id, &job_name, timeout).await },
            nothing,
        )
    }

    /// What happened on a cluster, oldest first; events of deleted jobs are among them.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     The cluster's ``id``.
    /// job_name : str, optional
    ///     Only events of jobs of this name. Default: of all.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// K8sSparkEventsList
    ///     Iterable, with ``len()`` and indexes; prints one event a line.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster.
    #[pyo3(signature = (cluster_id, *, job_name=None, timeout=None, **kwargs))]
    fn spark_events(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        job_name: Option<Text<'_>>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "spark_events", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let job_name = job_name.map(|text| text.read("job_name")).transpose()?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.spark_events(&cluster_id, timeout).await },
            move |py, mut events| {
                events.retain(|event| job_name.as_ref().is_none_or(|name| event.job_name == *name));
                K8sSparkEventsList::from_protocol(py, events)
            },
        )
    }

    /// Why a job is where it is: one sentence, what it follows from, what to do. Also of a deleted job.
    ///
    /// Parameters
    /// ----------
    /// cluster_id : str
    ///     The cluster's ``id``.
    /// job_name : str
    ///     The job's name.
    /// timeout : float, optional
    ///     Seconds for this call. Default: that of the object.
    ///
    /// Returns
    /// -------
    /// K8sSparkJobExplanation
    ///     ``sentence``, ``evidence``, ``remedy``, and ``cause``, one word for programs.
    ///
    /// Raises
    /// ------
    /// NotFoundException
    ///     There is no such cluster, or never was such a job.
    ///
    /// Examples
    /// --------
    /// >>> print(mlp.spark_job_explain(cluster.id, "pi-1"))
    #[pyo3(signature = (cluster_id, job_name, *, timeout=None, **kwargs))]
    fn spark_job_explain(
        &self,
        py: Python<'_>,
        cluster_id: Text<'_>,
        job_name: Text<'_>,
        timeout: Option<f64>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let inside = exit::enter(py);
        arguments::ignore_unknown(py, "spark_job_explain", kwargs)?;
        let cluster_id = cluster_id.read("cluster_id")?;
        let job_name = job_name.read("job_name")?;
        let timeout = arguments::timeout(py, timeout)?;
        self.call(
            &inside,
            |client| async move { client.spark_job_explain(&cluster_id, &job_name, timeout).await },
            K8sSparkJobExplanation::from_protocol,
        )
    }
}

/// Bytes that were transferred, and their total, if it is known.
type Transferred = (u64, Option<u64>);

/// Limits how often progress is reported: a fast transfer must not be slowed by its line.
#[derive(Default)]
struct Throttle(Mutex<Option<Instant>>);

impl Throttle {
    const INTERVAL: Duration = Duration::from_millis(100);

    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= Self::INTERVAL);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// The function that draws the progress line of a transfer; `None`: nothing is shown.
fn transfer_line(
    py: Python<'_>,
    path: &Path,
    is_upload: bool,
    progress: Option<bool>,
    awaited: bool,
) -> PyResult<Option<Py<PyAny>>> {
    let progress = progress.or(awaited.then_some(false));
    if progress == Some(false) {
        return Ok(None);
    }
    let of_transfer = py.import("mlplatform_client._progress")?.getattr("of_transfer")?;
    let line = of_transfer.call1((path.to_string_lossy(), is_upload, progress))?;
    Ok((!line.is_none()).then(|| line.unbind()))
}
