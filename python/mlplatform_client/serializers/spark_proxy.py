"""Spark clusters, jobs, secrets and config maps."""

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
