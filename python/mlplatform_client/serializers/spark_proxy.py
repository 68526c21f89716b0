"""Spark clusters, jobs, secrets and config maps."""

from enum import Enum

from mlplatform_client._native import (
    K8sClusterInfo,
    K8sConfigmap,
    K8sObjectNamesList,
    K8sSecret,
    K8sSparkApplication,
    K8sSparkEvent,
    K8sSparkEventsList,
    K8sSparkJobExplanation,
    K8sSparkJobInfo,
    K8sSparkJobInfoDetail,
    K8sSparkJobLogs,
    K8sSparkJobsInfoList,
)
from mlplatform_client.core.connect import K8sSparkConnectSettings, K8sSparkSession
from mlplatform_client.serializers.auth import _Text

__all__ = [
    "K8sClusterInfo",
    "K8sConfigmap",
    "K8sObjectNamesList",
    "K8sSecret",
    "K8sSparkApplication",
    "K8sSparkConnectSettings",
    "K8sSparkEvent",
    "K8sSparkEventsList",
    "K8sSparkJobExplanation",
    "K8sSparkJobInfo",
    "K8sSparkJobInfoDetail",
    "K8sSparkJobLogs",
    "K8sSparkJobRestartPolicyType",
    "K8sSparkJobStatus",
    "K8sSparkJobsInfoList",
    "K8sSparkSession",
]


class K8sSparkJobRestartPolicyType(_Text):
    """When a job is run again. Equal to its value in the manifest, and printed as it."""

    NEVER = "Never"
    """Never."""

    ALWAYS = "Always"
    """After every end."""

    ON_FAILURE = "OnFailure"
    """After a failure, a limited number of times."""


class K8sSparkJobStatus(str, Enum):
    """The state of a job. Equal to its name, and printed as ``K8sSparkJobStatus.SUBMITTED`` on every Python version."""

    # str() and format() of such enumerations changed in Python 3.11 and 3.12; scripts print them.
    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    SUBMITTED = "SUBMITTED"
    """Accepted; it waits for capacity."""

    RUNNING = "RUNNING"
    """Its program runs."""

    COMPLETED = "COMPLETED"
    """Its program ended well."""

    FAILED = "FAILED"
    """It ended badly, for good."""

    FAILING = "FAILING"
    """Its program ended badly, and will be run again."""

    SUBMISSION_FAILED = "SUBMISSION_FAILED"
    """It could not be started, and that will be tried again."""

    PENDING_RERUN = "PENDING_RERUN"
    """Its next run waits for capacity."""
