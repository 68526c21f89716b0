"""The faults that are not in the package. Those with a parameter are made by a function."""

from __future__ import annotations

import asyncio
import random
import threading

from mlplatform_client.testing import Exchange, Fault, http, saying

HTML = b"<html><body>Welcome to the airport. token=secret</body></html>"
# How long a slow network pauses between two pieces.
_PAUSE = 0.01


# Slow, but in the end all is well.


def throttle(pieces: int) -> Fault:
    """The answer comes in so many pieces, however long it is: lists grow with the run of the tests."""

    async def fault(exchange: Exchange) -> None:
        answer = await exchange.forward()
        piece = len(answer) // pieces + 1
        for start in range(0, len(answer), piece):
            await exchange.send(answer[start : start + piece])
            await asyncio.sleep(_PAUSE)

    return fault


# The connection breaks.


def cut_request(length: int) -> Fault:
    """So many bytes arrive at the platform."""

    async def fault(exchange: Exchange) -> None:
        await exchange.forward_part(length)
        exchange.close()

    return fault


def cut_answer(length: int) -> Fault:
    """The platform has done what was asked; so many bytes of its answer arrive."""

    async def fault(exchange: Exchange) -> None:
        answer = await exchange.forward()
        await exchange.send(answer[:length])
        exchange.close()

    return fault


swallow = cut_answer(0)


async def reset_after(exchange: Exchange) -> None:
    """RST, when the platform has answered."""
    await exchange.forward()
    exchange.reset()


def half_close(length: int) -> Fault:
    """FIN in the middle of the answer, and the other direction stays open."""

    async def fault(exchange: Exchange) -> None:
        answer = await exchange.forward()
        await exchange.send(answer[:length])
        exchange.half_close()
        await exchange.client_gone()
        exchange.close()

    return fault


def hold_back(release: threading.Event) -> Fault:
    """The client sees a broken connection; the request goes on when it is released, and its answer to nobody."""

    async def fault(exchange: Exchange) -> None:
        exchange.close()
        await asyncio.get_running_loop().run_in_executor(None, release.wait, 30)
        await exchange.forward()

    return fault


# Nothing comes, or not enough.


async def trickle(exchange: Exchange) -> None:
    """Byte after byte, and the last never comes."""
    answer = await exchange.forward()
    for byte in answer[:-1]:
        await exchange.send(bytes([byte]))
        await asyncio.sleep(_PAUSE)
    await exchange.client_gone()
    exchange.close()


# Somebody else answers.

portal = saying(http("200 OK", HTML, "Content-Type: text/html"))
_noise = random.Random(1).randbytes(512)  # noqa: S311 - the same in each run
garbage = saying(_noise)
empty = saying(http("204 No Content"))
garbage_body = saying(http("200 OK", _noise, "Content-Type: application/json"))


def redirect(location: str) -> Fault:
    return saying(http("302 Found", b"", f"Location: {location}"))


def unavailable(retry_after: str) -> Fault:
    """What a load balancer says while the platform restarts."""
    return saying(http("503 Service Unavailable", HTML, "Content-Type: text/html", f"Retry-After: {retry_after}"))


def endless_with(*headers: str) -> Fault:
    """An answer without an end, with such headers."""
    head = "\r\n".join(["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *headers, "", ""]).encode()
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

    async def fault(exchange: Exchange) -> None:
        await exchange.stream(head)
        while not exchange.over:
            await exchange.stream(chunk)

    return fault


endless = endless_with()
# As if it were a job's log: it is read piece by piece.
endless_log = endless_with("X-Log-Offset: 0", "X-Log-Final: false")


async def endless_head(exchange: Exchange) -> None:
    """Headers without an end."""
    await exchange.stream(b"HTTP/1.1 200 OK\r\n")
    while not exchange.over:
        await exchange.stream(b"X-More: " + b"x" * 1000 + b"\r\n")
