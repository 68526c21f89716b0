"""A Spark job as a task of Airflow 3: the task submits a program, waits until the job has ended, and fails if it fails.

Put this file beside your DAGs, install `mlplatform-client` where the tasks run, and make a connection
`mlplatform_default`: its host is the platform's address, its password an access token of its own.

    SparkJobOperator(task_id="report", program="/opt/jobs/report.py", arguments=["{{ ds }}"])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseHook, BaseOperator

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import SparkJobFailed, TimeoutException
from mlplatform_client.core.manifest import Manifest


class SparkJobOperator(BaseOperator):  # type: ignore[misc]  # Airflow is not among what the linters need
    """Submit a program and wait for it; the name of its job is what the task returns.

    Each try of the task is a job of its own. A task that is killed, or whose time is over, deletes its job.

    Parameters
    ----------
    program : str
        Path of the program on the worker; it travels along with the job. Templated.
    arguments : sequence of str
        What the program is given. Templated. Default: nothing.
    manifest : str, optional
        Path of a manifest on the worker; the job's name and arguments are put into it. Templated. Default: the
        platform's default manifest.
    cluster : str, optional
        Name of the cluster. Templated. Default: the only one there is.
    seconds : float
        How long the job may take, the time in which it waits for its start included. Default: 3600.
    conn_id : str
        The connection. Default: ``mlplatform_default``.

    Raises
    ------
    SparkJobFailed
        The job failed; the message says why.
    TimeoutException
        It did not end in time.
    ValueError
        There is no such cluster.
    """

    template_fields = ("program", "arguments", "manifest", "cluster")

    def __init__(
        self,
        *,
        program: str,
        arguments: Sequence[str] = (),
        manifest: str | None = None,
        cluster: str | None = None,
        seconds: float = 3600,
        conn_id: str = "mlplatform_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.program = program
        self.arguments = arguments
        self.manifest = manifest
        self.cluster = cluster
        self.seconds = seconds
        self.conn_id = conn_id
        self._job: tuple[str, str] | None = None

    def execute(self, context: Any) -> str:
        """Submit the job, wait for it, and show the end of its log."""
        # Unique for each try, and a name that Kubernetes takes.
        name = f"airflow-{context['ti'].id}"
        with self._platform() as mlp:
            cluster_id = self._cluster_id(mlp)
            given = Manifest.from_yaml_file(self.manifest) if self.manifest else Manifest.default()
            given.job_name = name
            spec = given.to_dict()
            if self.arguments:
                spec["spec"]["arguments"] = [*self.arguments]
            self._job = cluster_id, name
            info = mlp.spark_submit_job(cluster_id, spec, self.program)
            self.log.info("%s: %s", name, info.ui_url)
            try:
                mlp.wait_for_spark_job(
                    cluster_id, name, timeout=self.seconds, on_update=lambda info: self.log.info("%s", info)
                )
            except SparkJobFailed as failure:
                self.log.error("the end of its log:\n%s", failure.log)
                raise
            except TimeoutException:
                self.on_kill()
                raise
            self._job = None
            self.log.info("the end of its log:\n%s", mlp.spark_job_logs(cluster_id, name, tail=50))
        return name

    def on_kill(self) -> None:
        """Delete the job, which nobody waits for any more."""
        if self._job is not None:
            with self._platform() as mlp:
                mlp.spark_delete_job(*self._job)

    def _platform(self) -> MLPlatform:
        connection = BaseHook.get_connection(self.conn_id)
        return MLPlatform(connection.password, url=connection.host)

    def _cluster_id(self, mlp: MLPlatform) -> str:
        clusters = mlp.get_clusters()
        chosen = [cluster for cluster in clusters if self.cluster in (None, cluster.name)]
        if len(chosen) != 1:
            names = ", ".join(cluster.name for cluster in clusters)
            raise ValueError(f"cluster={self.cluster!r} names {len(chosen)} of the clusters {names}: name one")
        return chosen[0].id
