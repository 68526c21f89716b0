"""Many more callers than a platform works for at once, none of whom waits when told to come again later."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
import urllib.request
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from mlplatform_client.local import LocalPlatform

# The server works on 512 requests of one address at once.
CALLERS = 5120
# What a caller waits before it comes again: the header says a second, which nobody here honours.
IMPATIENCE = 0.2
# Callers whose answers are timed.
PROBES = 64
# In a row, without a refusal: it is well again.
WELL = 20


@dataclass
class Overload:
    """What was seen."""

    served: list[float] = field(default_factory=list)
    served_to_others: int = 0
    shed: int = 0
    without_retry_after: int = 0
    broken: int = 0
    others: dict[int, int] = field(default_factory=dict)
    well_after: float = 0.0

    @property
    def p99(self) -> float:
        """Of what was served, in seconds."""
        return sorted(self.served)[len(self.served) * 99 // 100]

    def __str__(self) -> str:
        """For the report."""
        return (
            f"{len(self.served) + self.served_to_others} served, p99 {self.p99:.2f} s, {self.shed} told to come again, "
            f"{self.broken} connections broken, well again after {self.well_after:.2f} s"
        )


def overload(platform: LocalPlatform, seconds: float) -> Overload:
    """Exchange the Administrator's token over and over from all callers at once.

    The crowd is a process of its own. How long an answer takes is measured in this one by a few callers more: in the
    crowd's, an answer waits longer for its reader than the reader for the answer.
    """
    request = exchange(platform.admin_token)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        others = pool.submit(_crowd, platform.url, request, seconds, CALLERS)
        seen = _crowd(platform.url, request, seconds, PROBES)
        well_after = _well_again(platform.url, request.partition(b"\r\n\r\n")[2])
        crowd = others.result()
    seen.well_after = well_after
    seen.served_to_others = len(crowd.served)
    seen.shed += crowd.shed
    seen.without_retry_after += crowd.without_retry_after
    seen.broken += crowd.broken
    seen.others.update(crowd.others)
    return seen


def exchange(refresh_token: str) -> bytes:
    """A request as it is sent."""
    return _post("/v1_0/sessions", refresh_token=refresh_token)


def redeem(register_token: str) -> bytes:
    """A request as it is sent."""
    return _post("/v1_0/tokens", register_token=register_token)


def who_am_i(session_token: str) -> bytes:
    """A request as it is sent."""
    return f"GET /v1_0/tokens/self HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {session_token}\r\n\r\n".encode()


def _post(path: str, **fields: str) -> bytes:
    body = json.dumps({name: str(value) for name, value in fields.items()}).encode()
    head = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


def beside_a_stranger(platform: LocalPlatform, request: bytes, strangers: int, seconds: float) -> dict[str, Overload]:
    """What a few callers see, of the address that all those connections of one stranger come from and of another.

    The stranger is a process of its own, and there for a second before and after.
    """
    honest = exchange(platform.admin_token)
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        stranger = pool.submit(_crowd, platform.url, request, seconds + 2.0, strangers, "127.0.0.2")
        time.sleep(1.0)
        same = pool.submit(_crowd, platform.url, honest, seconds, 2, "127.0.0.2")
        other = pool.submit(_crowd, platform.url, honest, seconds, 2, "127.0.0.3")
        return {"stranger": stranger.result(), "same": same.result(), "other": other.result()}


def _crowd(url: str, request: bytes, seconds: float, callers: int, source: str | None = None) -> Overload:
    seen, end = Overload(), time.monotonic() + seconds

    async def all_at_once() -> None:
        await asyncio.gather(*(_caller(url, request, end, seen, source) for _ in range(callers)))

    asyncio.run(all_at_once())
    return seen


async def _caller(url: str, request: bytes, end: float, seen: Overload, source: str | None = None) -> None:
    address = urlsplit(url)
    while time.monotonic() < end:
        try:
            bound = (source, 0) if source else None
            reader, writer = await asyncio.open_connection(address.hostname, address.port, local_addr=bound)
            try:
                while time.monotonic() < end and await _ask(reader, writer, request, seen):
                    pass
            finally:
                writer.close()
        except (OSError, EOFError, asyncio.IncompleteReadError):
            seen.broken += 1
            await asyncio.sleep(IMPATIENCE)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, seen: Overload) -> bool:
    """Whether the connection is good for another."""
    began = time.monotonic()
    writer.write(request)
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    headers = dict(line.split(": ", 1) for line in head.strip().split("\r\n")[1:])
    await reader.readexactly(int(headers["content-length"]))
    status = int(head.split(" ", 2)[1])
    if status == 201:
        seen.served.append(time.monotonic() - began)
    elif status == 503:
        seen.shed += 1
        seen.without_retry_after += "retry-after" not in headers
        await asyncio.sleep(IMPATIENCE)
    else:
        seen.others[status] = seen.others.get(status, 0) + 1
    return headers.get("connection") != "close"


def _well_again(url: str, body: bytes) -> float:
    """Seconds until the last of so many in a row was served."""
    began, row = time.monotonic(), 0
    request = urllib.request.Request(  # noqa: S310 - a platform of ours
        f"{url}/v1_0/sessions", data=body, headers={"Content-Type": "application/json"}, method="POST"
    )
    while row < WELL:
        try:
            with urllib.request.urlopen(request, timeout=30):  # noqa: S310 - a platform of ours
                row += 1
        except OSError:
            row = 0
    return time.monotonic() - began
