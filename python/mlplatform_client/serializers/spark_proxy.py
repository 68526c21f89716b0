"""Descriptions of Spark clusters, of their jobs, and of what these use."""

from mlplatform_client._native import (
    K8sClusterInfo,
    K8sSparkApplication,
    K8sSparkEvent,
    K8sSparkEventsList,
    K8sSparkJobExplanation,
    K8sSparkJobInfo,
    K8sSparkJobInfoDetail,
    K8sSparkJobLogs,
    K8sSparkJobsInfoList,
)

__all__ = [
    "K8sClusterInfo",
    "K8sSparkApplication",
    "K8sSparkEvent",
    "K8sSparkEventsList",
    "K8sSparkJobExplanation",
    "K8sSparkJobInfo",
    "K8sSparkJobInfoDetail",
    "K8sSparkJobLogs",
    "K8sSparkJobsInfoList",
]
