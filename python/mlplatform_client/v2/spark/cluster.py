"""Spark clusters."""

from __future__ import annotations

from mlplatform_client.v2.clients.spark import SparkClient
from mlplatform_client.v2.spark.jobs import SparkJobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mlplatform_client import MLPlatform
    from mlplatform_client.serializers.spark_proxy import K8sClusterInfo
    from mlplatform_client.v2.spark.nodes import MagnumClusterNodesUsageInfo

__all__ = ["SparkCluster"]


class SparkCluster:
    """A Spark cluster. Creating one sends no request.

    Parameters
    ----------
    client : SparkClient
        The connection.

    Attributes
    ----------
    jobs : SparkJobs
        The cluster's jobs.

    Raises
    ------
    TypeError
        ``client`` is of another type.
    """

    jobs: SparkJobs

    def __init__(self, client: SparkClient) -> None:
        if not isinstance(client, SparkClient):
            raise TypeError(f"client must be a SparkClient, not {type(client).__name__}")
        self.jobs = SparkJobs(client._platform, client._info)

    @classmethod
    def _of(cls, platform: MLPlatform, info: K8sClusterInfo) -> SparkCluster:
        self = cls.__new__(cls)
        self.jobs = SparkJobs(platform, lambda _timeout: info)
        return self

    def top_nodes_info(self, *, timeout: float | None = None) -> MagnumClusterNodesUsageInfo:
        """What the cluster's machines have and use. On a local cluster, that is the machine of the platform.

        Parameters
        ----------
        timeout : float, optional
            Seconds for this call. Default: that of the client.

        Returns
        -------
        MagnumClusterNodesUsageInfo
            ``nodes_usage``: one entry for each machine; printed, it is a table.
        """
        from mlplatform_client.v2.spark.nodes import MagnumClusterNodesUsageInfo

        platform, cluster_id = self.jobs._platform, self.jobs._cluster_id(timeout)
        return MagnumClusterNodesUsageInfo._of(platform._top_nodes_info(cluster_id, timeout))

    def __repr__(self) -> str:
        return f"<SparkCluster of {self.jobs._platform!r}>"
