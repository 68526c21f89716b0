"""A TCP proxy in front of a platform that reads the requests of HTTP/1.1, so that each can meet a fault of its own."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from faults.background import Background, hang_up

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)


class Exchange:
    """One request on its way, and what became of it."""

    def __init__(self, proxy: FaultProxy, request: bytes, writer: asyncio.StreamWriter, gone: asyncio.StreamReader):
        self.request = request
        # "POST /v1_0/tokens", without a query.
        self.line = request.split(b" HTTP/", 1)[0].split(b"?", 1)[0].decode()
        # What the platform answered, whether or not it was passed on, and what was.
        self.answer = b""
        self.sent = b""
        self._proxy, self._writer, self._reader = proxy, writer, gone

    async def forward(self) -> bytes:
        """Let the request through; the answer is given to the caller, not to the client."""
        reader, writer = await asyncio.open_connection(*self._proxy.target)
        try:
            writer.write(self.request)
            self.answer = await _message(reader, self.line.startswith("HEAD"))
        finally:
            await hang_up(writer)
        self._proxy.count(answered=1)
        return self.answer

    async def forward_part(self, length: int) -> None:
        """Let so much of the request through, and hang up on the platform."""
        _, writer = await asyncio.open_connection(*self._proxy.target)
        writer.write(self.request[:length])
        with contextlib.suppress(OSError):
            await writer.drain()
        await hang_up(writer)

    async def send(self, data: bytes) -> None:
        """Give that to the client."""
        self.sent += data
        self._proxy.count(sent=len(data))
        self._writer.write(data)
        await self._writer.drain()

    async def stream(self, data: bytes) -> None:
        """As `send`, for what has no end: it is not kept."""
        self._proxy.count(sent=len(data))
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        """Hang up on the client."""
        self._writer.close()

    def reset(self) -> None:
        """Hang up with a RST."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def half_close(self) -> None:
        """Send FIN, and go on listening."""
        self._writer.write_eof()

    async def client_gone(self) -> None:
        """Wait until the client hangs up."""
        with contextlib.suppress(OSError):
            while await self._reader.read(65536):
                pass

    @property
    def over(self) -> bool:
        return self._writer.is_closing()


Fault = Callable[[Exchange], Awaitable[None]]


async def through(exchange: Exchange) -> None:
    """No fault at all."""
    await exchange.send(await exchange.forward())


class FaultProxy(Background):
    """Passes everything through, apart from what `fail` and `always` say.

    Requests are counted when they have arrived here whole; `answered` are those that the platform has answered.
    The last thousand are kept in `exchanges`.
    """

    def __init__(self, url: str, *, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self.target = (parts.hostname, parts.port)
        self.exchanges: deque[Exchange] = deque(maxlen=1000)
        self.requests = self.answered = self.received = self.sent = 0
        self._once: list[tuple[str, Fault]] = []
        self._always: list[tuple[str, Fault]] = []
        self._changed = threading.Condition()
        super().__init__(tls)

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{self.address}"

    def fail(self, *faults: Fault, on: str = "") -> None:
        """The next requests that begin with `on` meet these, one each."""
        with self._changed:
            self._once += [(on, fault) for fault in faults]

    def always(self, fault: Fault, on: str = "") -> None:
        """Every request that begins with `on` meets this, until `heal`."""
        with self._changed:
            self._always.append((on, fault))

    def heal(self) -> None:
        with self._changed:
            self._once, self._always = [], []

    def wait_for(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Until a count is what it should be."""
        with self._changed:
            assert self._changed.wait_for(condition, seconds)

    def count(self, *, requests: int = 0, answered: int = 0, received: int = 0, sent: int = 0) -> None:
        with self._changed:
            self.requests += requests
            self.answered += answered
            self.received += received
            self.sent += sent
            self._changed.notify_all()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await _message(reader):
            exchange = Exchange(self, request, writer, reader)
            self.exchanges.append(exchange)
            self.count(requests=1, received=len(request))
            await self._next(exchange.line)(exchange)
            if exchange.over:
                return

    def _next(self, line: str) -> Fault:
        with self._changed:
            for planned in self._once:
                if begins_as(line, planned[0]):
                    self._once.remove(planned)
                    return planned[1]
            return next((fault for on, fault in self._always if begins_as(line, on)), through)


def begins_as(line: str, on: str) -> bool:
    """Whether a request begins so, where `*` is any part of a path."""
    return re.match(re.escape(on).replace(r"\*", "[^/]+"), line) is not None


async def _message(reader: asyncio.StreamReader, headless: bool = False) -> bytes:
    """A request or an answer, whole; nothing at the end of the stream."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as end:
        if not end.partial:
            return b""
        raise
    if headless:
        return head
    if _CHUNKED.search(head):
        body = b""
        size = None
        while size != 0:
            line = await reader.readuntil(b"\r\n")
            size = int(line, 16)
            body += line + await reader.readexactly(size + 2)
        return head + body
    length = _LENGTH.search(head)
    return head + (await reader.readexactly(int(length[1])) if length else b"")
