"""Descriptions of Spark clusters, and of what their jobs use."""

from mlplatform_client._native import K8sClusterInfo

__all__ = ["K8sClusterInfo"]
