"""A proxy as companies have them: CONNECT, with or without a user name and password."""

from __future__ import annotations

import asyncio
import base64
import contextlib

from mlplatform_client.testing._background import Background, hang_up


class ConnectProxy(Background):
    """Leads every tunnel to one place, whatever host was asked for: names need not exist.

    `asked` are the hosts, `credentials` what came along.
    """

    def __init__(self, port: int, user: str | None = None) -> None:
        self._port, self._user = port, user
        self.asked: list[str] = []
        self.credentials: list[str] = []
        super().__init__()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, host, _ = head[0].split(" ")
        self.asked.append(host)
        given = [line.split(" ", 2)[2] for line in head if line.lower().startswith("proxy-authorization: basic ")]
        user = base64.b64decode(given[0]).decode() if given else ""
        self.credentials.append(user)
        if method != "CONNECT" or user != (self._user or ""):
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
            return
        there, here = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_pump(reader, here), _pump(there, writer))
        finally:
            await hang_up(here)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()
