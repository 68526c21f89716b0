"""The jobs of a cluster."""

from __future__ import annotations

from mlplatform_client.core.lists import InfoList

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from mlplatform_client import MLPlatform
    from mlplatform_client.core.spark_job import SparkJob
    from mlplatform_client.serializers.spark_proxy import K8sClusterInfo, K8sSparkJobInfo
    from mlplatform_client.v2.spark.manifest import Manifest

__all__ = ["SparkJobInfo", "SparkJobs", "SparkJobsList"]


class SparkJobInfo:
    """A job as a list shows it.

    Printed, it is one line, with the state as ``K8sSparkJobStatus.SUBMITTED``.

    Attributes
    ----------
    job_name : str
        Its name.
    status : K8sSparkJobStatus or str
        Its state; a ``str`` if only a newer platform knows it.
    created_at : str
        When it was submitted (RFC 3339).
    ui_url : str
        Its page.
    """

    __slots__ = ("_info", "created_at", "job_name", "status", "ui_url")

    def __init__(self, info: K8sSparkJobInfo) -> None:
        from mlplatform_client.serializers.spark_proxy import K8sSparkJobStatus

        self._info = info
        self.job_name: str = info.job_name
        known = info.status in K8sSparkJobStatus.__members__
        self.status: str = K8sSparkJobStatus[info.status] if known else info.status
        self.created_at: str = info.created_at
        self.ui_url: str = info.ui_url

    def __str__(self) -> str:
        return f"job_name: {self.job_name}, status: {self.status}, created_at: {self.created_at} ui_url: {self.ui_url}"

    def __repr__(self) -> str:
        return repr(self._info)

    def _repr_html_(self) -> str | None:
        return InfoList([self._info])._repr_html_()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SparkJobInfo) and self._info == other._info

    def __hash__(self) -> int:
        return hash(self._info)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._info,)


class SparkJobsList(InfoList):
    """The jobs of a cluster, in the order of submission: a ``list`` of ``SparkJobInfo``.

    Printed, it is one job a line. In a notebook it is a table.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    def _repr_html_(self) -> str | None:
        return InfoList(info._info for info in self)._repr_html_()

    def _repr_mimebundle_(self, **options: object) -> dict[str, str]:
        return InfoList(info._info for info in self)._repr_mimebundle_(**options)


def _refuse_unset_environment(manifest: Manifest) -> None:
    from mlplatform_client.v2.spark.manifest import refuse_unset

    spec = manifest.to_dict().get("spec") or {}
    unset = []
    for pod in ("driver", "executor"):
        for variable in (spec.get(pod) or {}).get("env") or []:
            if isinstance(variable, dict) and variable.get("value", "") is None and "valueFrom" not in variable:
                unset.append(f"spec.{pod}.env.{variable.get('name')}")
    refuse_unset(unset)


class SparkJobs:
    """The jobs of a cluster: ``cluster.jobs``."""

    def __init__(self, platform: MLPlatform, info: Callable[[float | None], K8sClusterInfo]) -> None:
        self._platform = platform
        self._info = info

    def _cluster_id(self, timeout: float | None) -> str:
        return self._info(timeout).id

    def get_default_manifest(self, job_name: str | None = None, *, timeout: float | None = None) -> Manifest:
        """``MLPlatform.get_default_manifest`` for this cluster.

        Parameters
        ----------
        job_name : str, optional
            The job's name. Default: none, to be set later.
        timeout : float, optional
            Seconds for this call. Default: that of the client.

        Returns
        -------
        Manifest
            A ``mlplatform_client.core.manifest.Manifest``, whose Spark settings must not be ``None``.
        """
        from mlplatform_client.v2.spark.manifest import Manifest

        default = self._platform.get_default_manifest(self._cluster_id(timeout), job_name, timeout=timeout)
        return Manifest(default.to_yaml())

    def submit_pyjob(
        self,
        manifest: Manifest,
        pyfile: str | os.PathLike[str] | None = None,
        *,
        timeout: float | None = None,
    ) -> SparkJob:
        """Submit a job. The program file is sent along.

        Parameters
        ----------
        manifest : Manifest
            The job's manifest.
        pyfile : str or os.PathLike, optional
            The program, relative to the working directory; at most 10 MiB. Default: the manifest's ``main_app_file``.
        timeout : float, optional
            Seconds for this call. Default: that of the client.

        Raises
        ------
        BadRequestException
            The manifest is invalid (a value is ``None``, for instance), or a file does not exist. Also a
            ``ValueError``.
        ConflictException
            The cluster has a job of that name.
        """
        _refuse_unset_environment(manifest)
        cluster_id = self._cluster_id(timeout)
        info = self._platform.spark_submit_job(cluster_id, manifest, pyfile, timeout=timeout)
        return self._platform.spark_job(cluster_id, info.job_name)

    def list(self, *, timeout: float | None = None) -> SparkJobsList:
        """All jobs; false when there is none.

        Parameters
        ----------
        timeout : float, optional
            Seconds for this call. Default: that of the client.
        """
        jobs = self._platform.spark_jobs_list(self._cluster_id(timeout), timeout=timeout)
        return SparkJobsList(map(SparkJobInfo, jobs))

    def get(self, job_name: str, *, timeout: float | None = None) -> SparkJob:
        """A job by its name.

        Parameters
        ----------
        job_name : str
            The job's name.
        timeout : float, optional
            Seconds for this call. Default: that of the client.

        Raises
        ------
        NotFoundException
            There is no such job.
        """
        cluster_id = self._cluster_id(timeout)
        info = self._platform.spark_job_info(cluster_id, job_name, timeout=timeout)
        return self._platform.spark_job(cluster_id, info.job_name)

    def __repr__(self) -> str:
        return f"<SparkJobs of {self._platform!r}>"
