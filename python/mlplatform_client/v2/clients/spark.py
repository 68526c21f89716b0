"""The connection to a Spark cluster."""

from __future__ import annotations

from mlplatform_client.v2.platform import ServiceUserPlatform, _url, named_cluster

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mlplatform_client.serializers.spark_proxy import K8sClusterInfo
    from mlplatform_client.v2.auth import BasicAuth, CIAMAuth

__all__ = ["SparkClient"]


class SparkClient:
    """The connection to one cluster. Creating one sends no request.

    Parameters
    ----------
    host : str
        Address of the cluster. The last part of its path is the cluster's name or id, the rest the platform's address:
        ``https://platform.example.com/local``. Without a path, a label of the host name may be that
        (``https://spark.<id>.example.com``); else the platform must have a single cluster. Without a scheme,
        ``https://`` is meant.
    auth : BasicAuth or CIAMAuth
        The credential.
    skip_tls_verify : bool, optional
        ``True``: the platform's certificate is not verified, with a warning. Default: ``False``. Prefer
        ``MLP_CA_BUNDLE``, a PEM file of certificate authorities.
    timeout : float, optional
        Seconds for a whole call, retries included; 0 < timeout <= 86400. Default: ``MLP_TIMEOUT``, else 60.

    Raises
    ------
    ConfigurationException
        A setting is invalid; the message names it.
    TypeError
        ``host`` or ``auth`` is of another type.
    """

    def __init__(
        self,
        host: str,
        auth: BasicAuth | CIAMAuth,
        skip_tls_verify: bool = False,
        *,
        timeout: float | None = None,
    ) -> None:
        self.host = _url("host", host)
        scheme, rest = self.host.split("://", 1)
        base, slash, name = rest.rpartition("/")
        self._name = name if slash else None
        url = f"{scheme}://{base if slash else rest}"
        self._platform = ServiceUserPlatform(url, auth, bool(skip_tls_verify), timeout)
        self._cluster: K8sClusterInfo | None = None

    def _info(self, timeout: float | None = None) -> K8sClusterInfo:
        if self._cluster is None:
            self._cluster = named_cluster(self._platform, self.host, self._name, timeout)
        return self._cluster

    def close(self) -> None:
        """Close the connections; later calls raise ``ClosedException``."""
        self._platform.close()

    def __repr__(self) -> str:
        return f"<SparkClient host={self.host!r}>"
