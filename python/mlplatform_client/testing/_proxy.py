"""A TCP proxy in front of a platform that reads HTTP/1.1 requests and applies a fault to each."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import re
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from mlplatform_client._native import contract
from mlplatform_client.testing._background import Background, hang_up

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)
# A request is held whole, and an answer for those who look at it. The platform takes no request of that size; a longer
# one breaks the connection, of a longer answer the rest is passed on and not kept.
_LARGEST = 64 * 1024 * 1024
_PIECE = 65536
_Take = Callable[[bytes], Awaitable[None]]
_KEPT = 1000
# Each method, and how its requests begin. The other routes are for monitoring and for people.
_LINES = {
    name: re.compile(f"{verb} " + re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))
    for name, verb, path, *_ in contract()["routes"]
    if name not in ("healthz", "readyz", "metrics", "openapi")
}


class Exchange:
    """One request with its answer.

    Attributes
    ----------
    method : str or None
        Whose request it is: ``"who_am_i"``, ``"create_session"``, …; ``None`` if it is no method's.
    line : str
        ``"POST /v1_0/tokens"``, without a query.
    request : bytes
        All of it, the token in its headers included.
    answer : bytes
        What the platform answered, whether or not it was passed on.
    sent : bytes
        What was passed on.
    """

    def __init__(self, proxy: FaultProxy, request: bytes, writer: asyncio.StreamWriter, gone: asyncio.StreamReader):
        self.request = request
        self.line = request.split(b" HTTP/", 1)[0].split(b"?", 1)[0].decode("latin-1")
        self.method = next((name for name, line in _LINES.items() if line.fullmatch(self.line)), None)
        self.answer = b""
        self.sent = b""
        self._proxy, self._writer, self._reader = proxy, writer, gone

    async def forward(self) -> bytes:
        """Let the request through; the whole answer is given to the caller, not to the client."""
        message = _Message()
        await self._ask(message.take, whole=True)
        self.answer = bytes(message.content)
        return self.answer

    async def relay(self) -> None:
        """Let the request through, and the answer as it comes: a long one begins at once."""

        async def take(piece: bytes) -> None:
            if len(self.answer) + len(piece) > _LARGEST:
                await self.stream(piece)
            else:
                self.answer += piece
                await self.send(piece)

        await self._ask(take, whole=False)

    async def _ask(self, take: _Take, *, whole: bool) -> None:
        reader, writer = await asyncio.open_connection(*self._proxy.target)
        try:
            writer.write(self.request)
            await _read(reader, take, headless=self.line.startswith("HEAD"), whole=whole)
        finally:
            await hang_up(writer)
        self._proxy.count(answered=1)

    async def forward_part(self, length: int) -> None:
        """Forward only this many bytes of the request, and close the connection to the platform."""
        _, writer = await asyncio.open_connection(*self._proxy.target)
        writer.write(self.request[:length])
        with contextlib.suppress(OSError):
            await writer.drain()
        await hang_up(writer)

    async def send(self, data: bytes) -> None:
        """Send these bytes to the client."""
        self.sent += data
        await self.stream(data)

    async def stream(self, data: bytes) -> None:
        """As `send`, for what has no end: it is not kept in ``sent``."""
        self._proxy.count(sent=len(data))
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        """Close the connection to the client."""
        self._writer.close()

    def reset(self) -> None:
        """Reset the connection to the client (RST)."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NO_TIME)
        self._writer.transport.abort()

    def half_close(self) -> None:
        """Send FIN, and continue to read."""
        self._writer.write_eof()

    async def client_gone(self) -> None:
        """Wait until the client closes the connection."""
        with contextlib.suppress(OSError):
            while await self._reader.read(65536):
                pass

    @property
    def over(self) -> bool:
        """Whether the connection to the client is closed."""
        return self._writer.is_closing()


# On Windows the two numbers are shorts.
_LINGER_NO_TIME = struct.pack("hh" if hasattr(socket, "SIO_RCVALL") else "ii", 1, 0)

Fault = Callable[[Exchange], Awaitable[None]]


async def through(exchange: Exchange) -> None:
    """No fault."""
    await exchange.relay()


class FaultProxy(Background):
    """A proxy on a free loopback port that forwards everything except for the faults of `fail` and `always`.

    A context manager: at the end of the ``with`` block it is stopped.

    Parameters
    ----------
    url : str
        The platform's address, ``http://`` and with its port.
    tls : ssl.SSLContext, optional
        With it the proxy speaks TLS to its clients.

    Attributes
    ----------
    url : str
        Its own address, for ``MLPlatform(url=…)`` or ``MLP_URL``.
    requests : int
        How many requests have arrived whole.
    answered : int
        How many of them the platform has answered.
    exchanges : collections.deque of Exchange
        The last thousand requests, oldest first.

    Examples
    --------
    >>> with LocalPlatform() as platform, FaultProxy(platform.url) as proxy:
    ...     proxy.fail(reset, on="who_am_i")
    ...     MLPlatform(platform.admin_token, url=proxy.url).who_am_i()  # its second attempt comes through
    """

    def __init__(self, url: str, *, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ValueError(f"{url!r} is not the address of a local platform: write http://127.0.0.1:PORT")
        self.target = (parts.hostname, parts.port)
        self.exchanges: deque[Exchange] = deque(maxlen=_KEPT)
        self.requests = self.answered = self.received = self.sent = 0
        self._once: list[tuple[str | None, Fault]] = []
        self._always: list[tuple[str | None, Fault]] = []
        self._changed = threading.Condition()
        super().__init__(tls)

    @property
    def url(self) -> str:
        """Its own address."""
        return f"{'http' if self._tls is None else 'https'}://{self.address}"

    def fail(self, *faults: Fault, times: int = 1, on: str | None = None) -> None:
        """Apply these faults to the next requests, one each.

        Parameters
        ----------
        *faults : Fault
            What happens to them, in this order.
        times : int
            How often the whole sequence comes; 1 to 1000. Default: 1.
        on : str, optional
            The method of ``MLPlatform`` whose requests are meant, ``"create_session"`` for the exchange of the access
            token. Default: any request.

        Raises
        ------
        ValueError
            There is no such method, or ``times`` is out of its range.
        """
        if not 1 <= times <= _KEPT:
            raise ValueError(f"times={times}: write 1 to {_KEPT}, or use always()")
        _check(on)
        with self._changed:
            self._once += [(on, fault) for _ in range(times) for fault in faults]

    def always(self, fault: Fault, on: str | None = None) -> None:
        """Apply this fault to every request, until `heal`.

        Parameters
        ----------
        fault : Fault
            What happens to them.
        on : str, optional
            The method of ``MLPlatform`` whose requests are meant. Default: any request.

        Raises
        ------
        ValueError
            There is no such method.
        """
        _check(on)
        with self._changed:
            self._always.append((on, fault))

    def heal(self) -> None:
        """Remove all pending faults."""
        with self._changed:
            self._once, self._always = [], []

    @property
    def pending(self) -> int:
        """The number of unused faults of `fail`."""
        with self._changed:
            return len(self._once)

    def wait_for(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Wait until a count is what it should be.

        Parameters
        ----------
        condition : callable
            Asked whenever a count has changed: ``lambda: proxy.requests == 2``.
        seconds : float
            How long at most. Default: 30.

        Raises
        ------
        TimeoutError
            It never was.
        """
        with self._changed:
            if not self._changed.wait_for(condition, seconds):
                raise TimeoutError(
                    f"not so within {seconds:g} s: {self.requests} requests came, {self.answered} were answered"
                )

    def count(self, *, requests: int = 0, answered: int = 0, received: int = 0, sent: int = 0) -> None:
        """Add to the counts; for faults."""
        with self._changed:
            self.requests += requests
            self.answered += answered
            self.received += received
            self.sent += sent
            self._changed.notify_all()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read requests and apply their faults."""
        while True:
            message = _Message()
            await _read(reader, message.take)
            request = bytes(message.content)
            if not request:
                return
            exchange = Exchange(self, request, writer, reader)
            self.exchanges.append(exchange)
            self.count(requests=1, received=len(request))
            await self._next(exchange.method)(exchange)
            if exchange.over:
                return

    def _next(self, method: str | None) -> Fault:
        with self._changed:
            for planned in self._once:
                if planned[0] in (None, method):
                    self._once.remove(planned)
                    return planned[1]
            return next((fault for on, fault in self._always if on in (None, method)), through)


def _check(on: str | None) -> None:
    if on is None or on in _LINES:
        return
    nearest = difflib.get_close_matches(on, _LINES, 1)
    meant = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(_LINES)}"
    raise ValueError(f"on={on!r} is not a method of MLPlatform that sends requests: {meant}")


class _Message:
    """One that is held whole."""

    def __init__(self) -> None:
        self.content = bytearray()

    async def take(self, piece: bytes) -> None:
        _check_size(len(self.content) + len(piece))
        self.content += piece


async def _read(reader: asyncio.StreamReader, take: _Take, *, headless: bool = False, whole: bool = True) -> None:
    """Take a request or an answer as it comes; nothing at the end of the stream.

    One that is to be held whole is not begun if it says that it is too long.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as end:
        if not end.partial:
            return
        raise
    await take(head)
    if headless:
        return
    if _CHUNKED.search(head):
        size = 1
        while size:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";", 1)[0], 16)
            _check_size(size)
            await take(line + (await reader.readexactly(size + len(b"\r\n")) if size else b""))
        # Trailers, up to an empty line.
        while line != b"\r\n":
            line = await reader.readuntil(b"\r\n")
            await take(line)
    elif length := _LENGTH.search(head):
        left = int(length[1])
        if whole:
            _check_size(left)
        while left:
            piece = await reader.read(min(left, _PIECE))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            await take(piece)


def _check_size(size: int) -> None:
    if size > _LARGEST:
        raise ValueError("a message of HTTP is too long")
