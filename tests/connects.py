"""What the tests of Spark Connect share: a server with the gateway, and calls that no stock client makes."""

from __future__ import annotations

import os
import struct
import uuid
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
from served import Served

from mlplatform_client.serializers.auth import MLPTokenType

SERVICE = "/spark.connect.SparkConnectService/"


class Connected(Served):
    """A platform on the real Spark, with the gateway on a free port."""

    def __init__(self, folder: Path, *arguments: str, log_level: str = "info") -> None:
        before = os.environ.pop("MLP_SERVER_SPARK_SUBMIT", None)
        try:
            listen = () if "--connect-listen" in arguments else ("--connect-listen", "127.0.0.1:0")
            super().__init__(folder, *listen, *arguments, log_level=log_level, spark=True)
        finally:
            if before is not None:
                os.environ["MLP_SERVER_SPARK_SUBMIT"] = before

    @property
    def address(self) -> str:
        """Host and port of the gateway."""
        return self.ready["connect_url"].removeprefix("sc://").rstrip("/")

    def remote(self, token: str, more: str = "") -> str:
        """A connection string."""
        return f"{self.ready['connect_url']};spark-token={token}{more}"

    def user(self, name: str) -> str:
        """The value of a new User's token."""
        with self.admin() as admin:
            return str(
                admin.create_refresh_token(admin.create_register_token(name, "10m", token_type=MLPTokenType.USER))
            )


def length(value: int) -> bytes:
    """A protobuf number."""
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, content: bytes | str) -> bytes:
    """A field with a length."""
    content = content.encode() if isinstance(content, str) else content
    return length(number << 3 | 2) + length(len(content)) + content


def call(
    address: str, method: str, message: bytes, *metadata: tuple[str, str], timeout: float = 150, **options: Any
) -> list[bytes]:
    """The messages of an answer, as they come over the wire."""
    with grpc.insecure_channel(address) as channel:
        stub = channel.unary_stream(SERVICE + method if "/" not in method else method)
        return list(stub(message, metadata=metadata, timeout=timeout, **options))


def refusal(address: str, method: str, message: bytes, *metadata: tuple[str, str], **options: Any) -> tuple[str, str]:
    """Name and text of the status of a call that is refused."""
    try:
        answer = call(address, method, message, *metadata, **options)
    except grpc.RpcError as error:
        return error.code().name, error.details() or ""
    raise AssertionError(f"it was answered: {answer!r}")


def new_session() -> str:
    return str(uuid.uuid4())


def frame(message: bytes, compressed: int = 0) -> bytes:
    """A message as gRPC sends it."""
    return struct.pack(">BI", compressed, len(message)) + message


def sql(session: str, query: str, *, user: bytes = b"", operation: str | None = None) -> bytes:
    """A request that runs a query; `user`: field 2, as it is."""
    relation = field(10, field(1, query))  # Relation.sql.query
    message = field(1, session) + user + field(3, field(1, relation))  # Plan.root
    return message + (field(6, operation) if operation else b"")
