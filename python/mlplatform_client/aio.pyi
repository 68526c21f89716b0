import datetime
import os
from collections.abc import Callable
from typing import Any, Literal, overload

from typing_extensions import Self

from mlplatform_client._native import (
    K8sClusterInfo,
    K8sConfigmap,
    K8sObjectNamesList,
    K8sSecret,
    K8sSparkApplication,
    K8sSparkEventsList,
    K8sSparkJobExplanation,
    K8sSparkJobInfo,
    K8sSparkJobInfoDetail,
    K8sSparkJobLogs,
    K8sSparkJobsInfoList,
    Manifest,
    MLPAuditEntry,
    MLPRegisterTokenInfo,
    MLPTokenInfo,
    SparkJobLogLines,
)
from mlplatform_client.core.connect import K8sSparkConnectSettings, K8sSparkSession
from mlplatform_client.core.spark_job import Handle
from mlplatform_client.core.token import TokenStr
from mlplatform_client.serializers.auth import MLPTokenType

__all__ = ["AsyncMLPlatform", "AsyncSparkJob", "AsyncSparkJobLogLines"]

class AsyncMLPlatform:
    def __init__(
        self,
        refresh_token: str | None = None,
        *,
        url: str | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
        client_cert: str | os.PathLike[str] | None = None,
        client_key: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        allow_http: bool | None = None,
        profile: str | None = None,
    ) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc_info: object) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    async def create_register_token(
        self,
        client_name: str,
        access_ttl: str | datetime.timedelta | float,
        *,
        refresh_ttl: str | datetime.timedelta | float | None = None,
        token_type: MLPTokenType,
        timeout: float | None = None,
    ) -> TokenStr: ...
    async def get_register_tokens_info(self, *, timeout: float | None = None) -> list[MLPRegisterTokenInfo]: ...
    async def delete_register_token(self, token_id: str, *, timeout: float | None = None) -> None: ...
    async def create_refresh_token(self, register_token: str, *, timeout: float | None = None) -> TokenStr: ...
    async def delete_token(self, token_name: str, *, timeout: float | None = None) -> None: ...
    async def rotate_token(
        self, token_name: str, *, overlap: str | datetime.timedelta | float | None = None, timeout: float | None = None
    ) -> TokenStr: ...
    async def delete_issuer_tokens(
        self, issuer_name: str, *, issuer_id: str | None = None, timeout: float | None = None
    ) -> list[MLPTokenInfo]: ...
    async def who_am_i(self, *, timeout: float | None = None) -> MLPTokenInfo: ...
    async def get_project_tokens_info(self, *, timeout: float | None = None) -> list[MLPTokenInfo]: ...
    async def get_clusters(self, *, timeout: float | None = None, **kwargs: Any) -> list[K8sClusterInfo]: ...
    async def get_cluster_info(
        self, cluster_id: str, *, timeout: float | None = None, **kwargs: Any
    ) -> K8sClusterInfo: ...
    async def create_cluster(
        self, spec: dict[str, Any], *, timeout: float | None = None, **kwargs: Any
    ) -> K8sClusterInfo: ...
    async def delete_cluster(self, cluster_id: str, *, timeout: float | None = None) -> None: ...
    async def set_cluster_delete_time(
        self, cluster_id: str, minutes: int, *, timeout: float | None = None, **kwargs: Any
    ) -> K8sClusterInfo: ...
    async def remove_cluster_delete_time(
        self, cluster_id: str, *, timeout: float | None = None, **kwargs: Any
    ) -> K8sClusterInfo: ...
    async def set_cluster_suspend_time(
        self, cluster_id: str, minutes: int, *, timeout: float | None = None, **kwargs: Any
    ) -> K8sClusterInfo: ...
    async def remove_cluster_suspend_time(
        self, cluster_id: str, *, timeout: float | None = None, **kwargs: Any
    ) -> K8sClusterInfo: ...
    async def wake_up_cluster(self, cluster_id: str, *, timeout: float | None = None, **kwargs: Any) -> None: ...
    async def get_default_manifest(
        self, cluster_id: str, job_name: str | None = None, *, timeout: float | None = None, **kwargs: Any
    ) -> Manifest: ...
    async def get_manifest_from_yaml_file(
        self, yaml_file_path: str | os.PathLike[str], *, timeout: float | None = None, **kwargs: Any
    ) -> Manifest: ...
    async def create_secret_from_yaml(
        self,
        cluster_id: str,
        secret_yaml_path: str | os.PathLike[str],
        namespace: str = "default",
        *,
        timeout: float | None = None,
    ) -> K8sSecret: ...
    async def list_secrets(
        self, cluster_id: str, namespace: str = "default", *, timeout: float | None = None
    ) -> K8sObjectNamesList: ...
    async def get_secret_detail(
        self, cluster_id: str, secret_name: str, namespace: str = "default", *, timeout: float | None = None
    ) -> K8sSecret: ...
    async def delete_secret(
        self, cluster_id: str, secret_name: str, namespace: str = "default", *, timeout: float | None = None
    ) -> None: ...
    async def create_configmap_from_yaml(
        self,
        cluster_id: str,
        configmap_yaml_path: str | os.PathLike[str],
        namespace: str = "default",
        *,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> K8sConfigmap: ...
    async def list_configmaps(
        self, cluster_id: str, namespace: str = "default", *, timeout: float | None = None, **kwargs: Any
    ) -> K8sObjectNamesList: ...
    async def get_configmap_detail(
        self,
        cluster_id: str,
        configmap_name: str,
        namespace: str = "default",
        *,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> K8sConfigmap: ...
    async def delete_configmap(
        self, cluster_id: str, configmap_name: str, namespace: str = "default", *, timeout: float | None = None
    ) -> None: ...
    async def get_audit(
        self,
        *,
        token: str | None = None,
        action: str | None = None,
        outcome: str | None = None,
        since: str | datetime.datetime | datetime.timedelta | None = None,
        until: str | datetime.datetime | datetime.timedelta | None = None,
        limit: int | None = 1000,
        timeout: float | None = None,
    ) -> list[MLPAuditEntry]: ...
    async def spark_submit_job(
        self,
        cluster_id: str,
        manifest: Manifest | dict[str, Any],
        pycode_file_path: str | os.PathLike[str] | None = None,
        *,
        timeout: float | None = None,
        progress: bool | None = None,
        **kwargs: Any,
    ) -> K8sSparkJobInfo: ...
    async def spark_jobs_list(
        self, cluster_id: str, *, timeout: float | None = None, **kwargs: Any
    ) -> K8sSparkJobsInfoList: ...
    async def spark_job_info(
        self, cluster_id: str, job_name: str, *, timeout: float | None = None, **kwargs: Any
    ) -> K8sSparkJobInfoDetail: ...
    @overload
    async def spark_job_logs(
        self,
        cluster_id: str,
        job_name: str,
        *,
        tail: int | None = None,
        wait: float | None = None,
        follow: Literal[False] = False,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> K8sSparkJobLogs: ...
    @overload
    async def spark_job_logs(
        self,
        cluster_id: str,
        job_name: str,
        *,
        tail: int | None = None,
        wait: None = None,
        follow: Literal[True],
        timeout: float | None = None,
        **kwargs: Any,
    ) -> AsyncSparkJobLogLines: ...
    async def save_spark_job_logs(
        self,
        cluster_id: str,
        job_name: str,
        path: str | os.PathLike[str],
        *,
        follow: bool = False,
        timeout: float | None = None,
        progress: bool | None = None,
    ) -> int: ...
    async def describe_spark_job(
        self, cluster_id: str, job_name: str, *, timeout: float | None = None, **kwargs: Any
    ) -> K8sSparkApplication: ...
    async def spark_delete_job(self, cluster_id: str, job_name: str, *, timeout: float | None = None) -> None: ...
    async def spark_events(
        self, cluster_id: str, *, job_name: str | None = None, timeout: float | None = None, **kwargs: Any
    ) -> K8sSparkEventsList: ...
    async def spark_job_explain(
        self, cluster_id: str, job_name: str, *, timeout: float | None = None, **kwargs: Any
    ) -> K8sSparkJobExplanation: ...
    async def spark_session(self, cluster_id: str | None = None, *, remote: str | None = None, **conf: Any) -> Any: ...
    async def get_spark_sessions(
        self, cluster_id: str, *, timeout: float | None = None, **kwargs: Any
    ) -> list[K8sSparkSession]: ...
    async def close_spark_session(
        self, cluster_id: str, session_id: str, *, timeout: float | None = None, **kwargs: Any
    ) -> None: ...
    async def add_spark_connect_jars(
        self,
        cluster_id: str,
        jars: list[str] | None = None,
        packages: list[str] | None = None,
        repositories: list[str] | None = None,
        *,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> K8sSparkConnectSettings: ...
    async def spark_job(
        self, cluster_id: str, job_name: str, *, timeout: float | None = None, **kwargs: Any
    ) -> AsyncSparkJob: ...
    async def wait_for_spark_job(
        self,
        cluster_id: str,
        job_name: str,
        until: Literal["completed", "running"] = "completed",
        timeout: float | None = None,
        on_update: Callable[[K8sSparkJobInfo], object] | None = None,
        progress: bool | None = None,
    ) -> K8sSparkJobInfo: ...
    async def stop(self, **kwargs: Any) -> None: ...
    async def close(self) -> None: ...

class AsyncSparkJob(Handle):
    async def info(self, *, timeout: float | None = None) -> K8sSparkJobInfoDetail: ...
    async def wait(
        self,
        until: Literal["completed", "running"] = "completed",
        timeout: float | None = None,
        on_update: Callable[[K8sSparkJobInfo], object] | None = None,
        progress: bool | None = None,
    ) -> K8sSparkJobInfo: ...
    @overload
    async def logs(
        self,
        *,
        tail: int | None = None,
        wait: float | None = None,
        follow: Literal[False] = False,
        timeout: float | None = None,
    ) -> K8sSparkJobLogs: ...
    @overload
    async def logs(
        self, *, tail: int | None = None, wait: None = None, follow: Literal[True], timeout: float | None = None
    ) -> AsyncSparkJobLogLines: ...
    async def save_logs(
        self,
        path: str | os.PathLike[str],
        *,
        follow: bool = False,
        timeout: float | None = None,
        progress: bool | None = None,
    ) -> int: ...
    async def explain(self, *, timeout: float | None = None) -> K8sSparkJobExplanation: ...
    async def events(self, *, timeout: float | None = None) -> K8sSparkEventsList: ...
    async def describe(self, *, timeout: float | None = None) -> K8sSparkApplication: ...
    async def delete(self, *, timeout: float | None = None) -> None: ...

class AsyncSparkJobLogLines:
    def __init__(self, lines: SparkJobLogLines) -> None: ...
    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> str: ...
    async def aclose(self) -> None: ...
