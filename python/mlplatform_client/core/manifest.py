"""Manifests of Spark jobs and their validation."""

from mlplatform_client._native import Manifest, ManifestProblem
from mlplatform_client.serializers.spark_proxy import K8sSparkJobRestartPolicyType

__all__ = ["K8sSparkJobRestartPolicyType", "Manifest", "ManifestProblem"]
