"""Spark Connect: sessions of pyspark, and what the platform says of them."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from mlplatform_client.core.exceptions import ConfigurationException

__all__ = ["K8sSparkConnectSettings", "K8sSparkSession"]

_INSTALL = "spark_session needs pyspark's Connect client, and '{}' is not installed: pip install 'pyspark[connect]'"


class K8sSparkSession:
    """An open session of Spark Connect.

    Attributes
    ----------
    session_id : str
        As the client chose it: a UUID.
    token_id : str
        Id of the access token that it was opened with.
    token_name : str
        The name of that token.
    address : str
        Where it was opened from.
    opened_at : datetime.datetime
        When it was opened.
    last_used_at : datetime.datetime
        When it was last called.
    running : int
        Operations that run now.
    operations : int
        Operations since it was opened, those that run included.
    """

    session_id: str
    token_id: str
    token_name: str
    address: str
    opened_at: datetime
    last_used_at: datetime
    running: int
    operations: int

    def __init__(self, fields: dict[str, Any]) -> None:
        for name in self.__annotations__:
            setattr(self, name, _time(fields[name]) if name.endswith("_at") else fields[name])

    def to_dict(self) -> dict[str, Any]:
        """Its fields."""
        return dict(vars(self))

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, K8sSparkSession) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.session_id, self.token_id, self.last_used_at))

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {value}" for name, value in vars(self).items())


class K8sSparkConnectSettings:
    """The settings of a cluster's Connect server. Printed, it is one ``key value`` a line.

    Attributes
    ----------
    settings : dict of str to str
        Settings of Spark by their names; ``spark.jars`` and ``spark.jars.packages`` are joined by commas.
    ends_sessions : int
        Open sessions that end because the server is started again.
    """

    settings: dict[str, str]
    ends_sessions: int

    def __init__(self, fields: dict[str, Any]) -> None:
        last = ("spark.jars", "spark.jars.packages")
        found = sorted(fields["settings"].items(), key=lambda item: (item[0] in last, item))
        self.settings, self.ends_sessions = dict(found), fields["ends_sessions"]

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, K8sSparkConnectSettings) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return "\n".join(f"{key} {value}" for key, value in self.settings.items())


def sessions(answer: dict[str, Any]) -> list[K8sSparkSession]:
    """What `get_spark_sessions` returns."""
    return [K8sSparkSession(item) for item in answer["items"]]


def settings(answer: dict[str, Any]) -> K8sSparkConnectSettings:
    """What `add_spark_connect_jars` returns."""
    return K8sSparkConnectSettings(answer)


def session(url: str, token: str | None, cluster: str | None, remote: str | None, conf: dict[str, Any] | None) -> Any:
    """What `spark_session` returns."""
    if token is None:
        raise ConfigurationException(
            "spark_session needs an access token: MLPlatform('<access token>'), or the variable MLP_REFRESH_TOKEN"
        )
    address, secure = _address(url, remote or os.environ.get("MLP_SPARK_REMOTE"))
    try:
        # Also says which of pyspark's own requirements is missing.
        from pyspark.sql.connect import client
        from pyspark.sql.connect.session import SparkSession as ConnectSession
    except ImportError as error:
        raise ConfigurationException(_INSTALL.format(error.name or "pyspark")) from error
    cluster = cluster or os.environ.get("MLP_CLUSTER")
    parameters = (";use_ssl=true" if secure else "") + (f";cluster={quote(cluster, safe='')}" if cluster else "")

    # As pyspark's own builder: its functions then make columns for Connect.
    os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"
    builder = ConnectSession.builder.channelBuilder(_channel(client, address, parameters, token))
    for key, value in (conf or {}).items():
        builder = builder.config(key, value)
    return builder.create()


def _channel(client: Any, address: str, parameters: str, token: str) -> Any:
    """What pyspark connects by. The token is no part of the address, which it shows and puts into the environment."""

    def metadata(self: Any) -> Any:
        return [*base.metadata(self), ("spark-token", token)]

    # Spark 3.5 has no other than the default one.
    base = getattr(client, "DefaultChannelBuilder", None) or client.ChannelBuilder
    members = {"metadata": metadata, "__repr__": lambda _: f"<Spark Connect at {address}>"}
    return type("Channel", (base,), members)(f"sc://{address}/{parameters}")


def _address(url: str, remote: str | None) -> tuple[str, bool]:
    """Host and port of the gateway, and whether it has TLS."""
    platform = urlsplit(url)
    if remote is None:
        host = platform.hostname or ""
        return f"[{host}]:15002" if ":" in host else f"{host}:15002", platform.scheme == "https"
    place, _, parameters = remote.partition("/")[2].lstrip("/").partition("/")
    if not remote.startswith("sc://") or not place or parameters.strip("/;") not in ("", "use_ssl=true"):
        shown = remote.split(";", maxsplit=1)[0]
        raise ConfigurationException(
            f"remote is '{shown}', and must be sc://HOST:PORT, with /;use_ssl=true for TLS: token and cluster are added"
        )
    return place, "use_ssl" in parameters


def _time(text: str) -> datetime:
    # Python before 3.11 reads no Z, and no digits but three or six.
    text = text.replace("Z", "+00:00")
    if "." in text:
        head, _, tail = text.partition(".")
        digits, zone = tail[:-6], tail[-6:]
        text = f"{head}.{digits[:6]:0<6}{zone}"
    return datetime.fromisoformat(text)
