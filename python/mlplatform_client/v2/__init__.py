"""The API of the on-premises generation: one cluster by its address, with a user name and a password.

>>> from mlplatform_client.v2 import BasicAuth, SparkCluster
>>> from mlplatform_client.v2.clients.spark import SparkClient
>>> cluster = SparkCluster(SparkClient(host="https://platform.example.com/local", auth=BasicAuth("anna", "<token>")))
>>> print(cluster.jobs.list())

User name and password (or client id and client secret) are the name and the value of an access token.
"""

from mlplatform_client.v2.auth import BasicAuth, CIAMAuth
from mlplatform_client.v2.platform import CloudMLPlatform
from mlplatform_client.v2.spark.cluster import SparkCluster

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mlplatform_client.serializers.spark_proxy import K8sSparkJobStatus

__all__ = ["BasicAuth", "CIAMAuth", "CloudMLPlatform", "K8sSparkJobStatus", "SparkCluster"]


# The module of enumerations takes longer to import than this package.
def __getattr__(name: str) -> object:
    if name == "K8sSparkJobStatus":
        from mlplatform_client.serializers.spark_proxy import K8sSparkJobStatus

        return K8sSparkJobStatus
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
