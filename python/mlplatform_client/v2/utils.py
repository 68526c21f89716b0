"""Waiting for jobs."""

from __future__ import annotations

from mlplatform_client.core.exceptions import BadRequestException

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from mlplatform_client.core.spark_job import SparkJob

__all__ = ["wait_job_running", "wait_job_succeeded"]


def _wait(job: SparkJob, until: Literal["completed", "running"], delay: float, timeout: float | None) -> None:
    # The platform tells when something changes, so nothing is asked for at intervals.
    if not delay > 0:
        raise BadRequestException(f"delay: {delay!r} is not a number of seconds above 0")
    job.wait(until, timeout)


def wait_job_running(job: SparkJob, delay: float = 5, timeout: float | None = None) -> None:
    """Wait until a job runs. One that has already succeeded has run.

    A repetition under a restart policy is no failure.

    Parameters
    ----------
    job : SparkJob
        The job.
    delay : float, optional
        Accepted for compatibility, in seconds, above 0. The platform tells when the job runs, which is known within a
        fraction of a second. Default: 5.
    timeout : float, optional
        Seconds for the whole wait. Default: none.

    Raises
    ------
    SparkJobFailed
        The job failed; the exception has the explanation.
    TimeoutException
        The timeout has passed. Also a ``TimeoutError``.
    NotFoundException
        There is no such job.
    """
    _wait(job, "running", delay, timeout)


def wait_job_succeeded(job: SparkJob, delay: float = 5, timeout: float | None = None) -> None:
    """Wait until a job has succeeded.

    A repetition under a restart policy is no failure.

    Parameters
    ----------
    job : SparkJob
        The job.
    delay : float, optional
        Accepted for compatibility, in seconds, above 0. The platform tells when the job ends. Default: 5.
    timeout : float, optional
        Seconds for the whole wait. Default: none.

    Raises
    ------
    SparkJobFailed
        The job failed; the exception has the explanation.
    TimeoutException
        The timeout has passed. Also a ``TimeoutError``.
    NotFoundException
        There is no such job.
    """
    _wait(job, "completed", delay, timeout)
