"""The connection of this generation's classes, and ``CloudMLPlatform``."""

from __future__ import annotations

import warnings

from mlplatform_client._native import MLPlatform
from mlplatform_client.core.exceptions import NotFoundException
from mlplatform_client.v2.auth import BasicAuth, CIAMAuth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mlplatform_client.serializers.spark_proxy import K8sClusterInfo
    from mlplatform_client.v2.spark.cluster import SparkCluster

__all__ = ["CloudMLPlatform"]

# Addresses whose certificates are not verified, and that the user was told about.
_warned: set[tuple[str, str]] = set()


def _url(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be str, not {type(value).__name__}: is its environment variable set?")
    value = value.strip().rstrip("/")
    return value if "://" in value else f"https://{value}"


def _warn(setting: str, url: str, stacklevel: int) -> None:
    if (setting, url) in _warned:
        return
    _warned.add((setting, url))
    host = url.split("://", 1)[-1].split("/", 1)[0].rsplit("@", 1)[-1]
    warnings.warn(
        f"{setting}: the certificate of {host} is not verified, so anybody on the network can read the password "
        "and answer in its place; name your authority's PEM file in MLP_CA_BUNDLE instead, and leave this argument out",
        UserWarning,
        stacklevel=stacklevel,
    )


class ServiceUserPlatform(MLPlatform):
    """An ``MLPlatform`` with the credential of a service user."""

    def __init__(self, url: str, auth: BasicAuth | CIAMAuth, skip_tls_verify: bool, timeout: float | None) -> None:
        name: str | None
        secret: str | None
        verify_issuer, issuer, token, audience = not skip_tls_verify, None, None, None
        if isinstance(auth, BasicAuth):
            name, secret = auth.username, auth._password
        elif isinstance(auth, CIAMAuth):
            name, secret, token = auth.client_id, auth._client_secret, auth._ciam_access_token
            audience = auth.spark_app_id
            if auth.lk_ui_url is not None:
                issuer, verify_issuer = _url("lk_ui_url", auth.lk_ui_url), auth.verify_tls_certificate
            elif not auth.verify_tls_certificate:
                # The endpoint is the platform's; other requests to it are still verified.
                issuer, verify_issuer = url, False
        else:
            raise TypeError(f"auth must be BasicAuth or CIAMAuth, not {type(auth).__name__}")
        self._use_service_user(url, name, secret, token, audience, issuer, not skip_tls_verify, verify_issuer, timeout)
        if skip_tls_verify:
            _warn("skip_tls_verify=True", url, 4)
        if issuer is not None and token is None and not verify_issuer:
            _warn("verify_tls_certificate=False", issuer, 4)


class CloudMLPlatform:
    """A platform with its clusters.

    Parameters
    ----------
    host : str
        Address of the platform. Without a scheme, ``https://`` is meant.
    auth : BasicAuth or CIAMAuth
        The credential.
    skip_tls_verify : bool, optional
        ``True``: the platform's certificate is not verified, with a warning. Default: ``False``.
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
        self._platform = ServiceUserPlatform(self.host, auth, bool(skip_tls_verify), timeout)

    def clusters(self, *, timeout: float | None = None) -> list[SparkCluster]:
        """All clusters, each as a ``SparkCluster``.

        Parameters
        ----------
        timeout : float, optional
            Seconds for this call. Default: that of the object.

        Raises
        ------
        UnauthorizedException
            User name and password are not those of a service user.
        """
        from mlplatform_client.v2.spark.cluster import SparkCluster

        return [SparkCluster._of(self._platform, info) for info in self._platform.get_clusters(timeout=timeout)]

    def close(self) -> None:
        """Close the connections; later calls raise ``ClosedException``."""
        self._platform.close()

    def __repr__(self) -> str:
        return f"<CloudMLPlatform host={self.host!r}>"


def named_cluster(platform: MLPlatform, host: str, name: str | None, timeout: float | None) -> K8sClusterInfo:
    """The cluster that an address names: by its path, else by a label of its host name, else the only one."""
    clusters = platform.get_clusters(timeout=timeout)
    labels = host.split("://", 1)[-1].split("/", 1)[0].split(":", 1)[0].split(".")
    wanted = labels if name is None else [name]
    # A label such as "spark" may also be the name of a cluster.
    found = [info for info in clusters if info.id in wanted] or [info for info in clusters if info.name in wanted]
    if not found and name is None and len(clusters) == 1:
        found = [*clusters]
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted(info.name for info in clusters)[:20]) or "none"
    what = f"no cluster '{name}'" if name is not None else "no cluster that this address means"
    raise NotFoundException(
        f"the platform has {what} (host is {host!r}); its clusters: {names}",
        hint="write the cluster's name or id as the last part of host: https://platform.example.com/<cluster>",
    )
