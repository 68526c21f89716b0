"""Handles of Spark jobs."""

from __future__ import annotations

from typing import Any, Literal, overload

from mlplatform_client.core.exceptions import MLPlatformException

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from mlplatform_client import MLPlatform
    from mlplatform_client._native import SparkJobLogLines
    from mlplatform_client.serializers.spark_proxy import (
        K8sSparkApplication,
        K8sSparkEventsList,
        K8sSparkJobExplanation,
        K8sSparkJobInfo,
        K8sSparkJobInfoDetail,
        K8sSparkJobLogs,
    )

__all__ = ["SparkJob"]


class Handle:
    """The common base of ``SparkJob`` and ``AsyncSparkJob``."""

    cluster_id: str
    job_name: str

    def __init__(self, platform: MLPlatform, cluster_id: str, job_name: str) -> None:
        self._platform = platform
        self.cluster_id = cluster_id
        self.job_name = job_name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} job_name={self.job_name!r} cluster_id={self.cluster_id!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Handle):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[int, str, str]:
        return id(self._platform), self.cluster_id, self.job_name


class SparkJob(Handle):
    """A job of a cluster. Creating one sends no request; each method does.

    ``MLPlatform.spark_job(cluster_id, job_name)`` gives one, and so does ``job()`` of what ``spark_submit_job`` and
    ``spark_jobs_list`` return.

    Attributes
    ----------
    cluster_id : str
        The cluster's ``id``.
    job_name : str
        The job's name.
    """

    def info(self, *, timeout: float | None = None) -> K8sSparkJobInfoDetail:
        """``MLPlatform.spark_job_info`` of this job."""
        return self._platform.spark_job_info(self.cluster_id, self.job_name, timeout=timeout)

    def wait(
        self,
        until: Literal["completed", "running"] = "completed",
        timeout: float | None = None,
        on_update: Callable[[K8sSparkJobInfo], object] | None = None,
        progress: bool | None = None,
    ) -> K8sSparkJobInfo:
        """``MLPlatform.wait_for_spark_job`` of this job."""
        return self._platform.wait_for_spark_job(self.cluster_id, self.job_name, until, timeout, on_update, progress)

    @overload
    def logs(
        self,
        *,
        tail: int | None = None,
        wait: float | None = None,
        follow: Literal[False] = False,
        timeout: float | None = None,
    ) -> K8sSparkJobLogs: ...

    @overload
    def logs(
        self,
        *,
        tail: int | None = None,
        wait: None = None,
        follow: Literal[True],
        timeout: float | None = None,
    ) -> SparkJobLogLines: ...

    def logs(
        self,
        *,
        tail: int | None = None,
        wait: float | None = None,
        follow: bool = False,
        timeout: float | None = None,
    ) -> K8sSparkJobLogs | SparkJobLogLines:
        """``MLPlatform.spark_job_logs`` of this job."""
        logs: Any = self._platform.spark_job_logs
        told: K8sSparkJobLogs | SparkJobLogLines = logs(
            self.cluster_id, self.job_name, tail=tail, wait=wait, follow=follow, timeout=timeout
        )
        return told

    def save_logs(
        self,
        path: str | os.PathLike[str],
        *,
        follow: bool = False,
        timeout: float | None = None,
        progress: bool | None = None,
    ) -> int:
        """``MLPlatform.save_spark_job_logs`` of this job."""
        return self._platform.save_spark_job_logs(
            self.cluster_id, self.job_name, path, follow=follow, timeout=timeout, progress=progress
        )

    def explain(self, *, timeout: float | None = None) -> K8sSparkJobExplanation:
        """``MLPlatform.spark_job_explain`` of this job."""
        return self._platform.spark_job_explain(self.cluster_id, self.job_name, timeout=timeout)

    def events(self, *, timeout: float | None = None) -> K8sSparkEventsList:
        """``MLPlatform.spark_events``, only events of this job."""
        return self._platform.spark_events(self.cluster_id, job_name=self.job_name, timeout=timeout)

    def describe(self, *, timeout: float | None = None) -> K8sSparkApplication:
        """``MLPlatform.describe_spark_job`` of this job."""
        return self._platform.describe_spark_job(self.cluster_id, self.job_name, timeout=timeout)

    def delete(self, *, timeout: float | None = None) -> None:
        """``MLPlatform.spark_delete_job`` of this job."""
        return self._platform.spark_delete_job(self.cluster_id, self.job_name, timeout=timeout)


def of_info(origin: tuple[MLPlatform, str] | None, job_name: str) -> Handle:
    """Create the handle of a job; called by the Rust core."""
    if origin is None:
        raise MLPlatformException(
            f"this description of the job '{job_name}' was copied, pickled or created by hand, and has no platform",
            hint=f"mlp.spark_job(cluster_id, {job_name!r}) returns a handle",
        )
    platform, cluster_id = origin
    handle: type[Handle] = getattr(platform, "_handle", SparkJob)
    return handle(platform, cluster_id, job_name)
