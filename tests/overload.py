"""Ten times as many callers as a platform works for at once, none of whom waits when told to come again later."""

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

# The server works on 512 requests at once.
CALLERS = 5120
# What a caller waits before it comes again: the header says a second, which nobody here honours.
IMPATIENCE = 0.2
# Callers whose answers are timed.
PROBES = 16
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
    body = json.dumps({"refresh_token": str(platform.admin_token)}).encode()
    head = ["POST /v1_0/sessions HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    request = "\r\n".join([*head, "", ""]).encode() + body
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        others = pool.submit(_crowd, platform.url, request, seconds, CALLERS)
        seen = _crowd(platform.url, request, seconds, PROBES)
        well_after = _well_again(platform.url, body)
        crowd = others.result()
    seen.well_after = well_after
    seen.served_to_others = len(crowd.served)
    seen.shed += crowd.shed
    seen.without_retry_after += crowd.without_retry_after
    seen.broken += crowd.broken
    seen.others.update(crowd.others)
    return seen


def _crowd(url: str, request: bytes, seconds: float, callers: int) -> Overload:
    seen, end = Overload(), time.monotonic() + seconds

    async def all_at_once() -> None:
        await asyncio.gather(*(_caller(url, request, end, seen) for _ in range(callers)))

    asyncio.run(all_at_once())
    return seen


async def _caller(url: str, request: bytes, end: float, seen: Overload) -> None:
    address = urlsplit(url)
    while time.monotonic() < end:
        try:
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
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
