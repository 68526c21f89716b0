"""Faults of a request; functions create those with parameters."""

from __future__ import annotations

import asyncio
import json

from mlplatform_client.core.exceptions import BY_STATUS
from mlplatform_client.testing._proxy import Exchange, Fault, through

_LONGEST_DELAY = 3600.0


def status(code: int, *, retry_after: int | None = None) -> Fault:
    """Answer with a refusal in the platform's own form; the platform gets no request.

    Parameters
    ----------
    code : int
        The HTTP status: 400, 401, 403, 404, 409, 429, 500 or 503; 502 and 504 are those of a proxy in front of the
        platform.
    retry_after : int, optional
        Seconds that the client is told to wait before it asks again. Default: it is told nothing.

    Returns
    -------
    Fault
        For `FaultProxy.fail` and `FaultProxy.always`.

    Raises
    ------
    ValueError
        Nobody answers with that status, or ``retry_after`` is negative.
    """
    if code in (502, 504):
        body, kind = b"<html><body>Bad gateway</body></html>", "text/html"
    elif code in BY_STATUS:
        told = {"status": code, "errorCode": BY_STATUS[code].__name__, "errorParams": {"field": "a fault of a test"}}
        body, kind = json.dumps(told).encode(), "application/json"
    else:
        raise ValueError(f"code={code}: write one of {', '.join(map(str, sorted([*BY_STATUS, 502, 504])))}")
    headers = [f"Content-Type: {kind}"]
    if retry_after is not None:
        if retry_after < 0:
            raise ValueError(f"retry_after={retry_after}: write seconds, 0 or more")
        headers.append(f"Retry-After: {retry_after}")
    return saying(http(f"{code} Fault", body, *headers))


def delay(seconds: float) -> Fault:
    """Let the request through after a while.

    Parameters
    ----------
    seconds : float
        0 to 3600.

    Returns
    -------
    Fault
        For `FaultProxy.fail` and `FaultProxy.always`.

    Raises
    ------
    ValueError
        ``seconds`` is out of its range.
    """
    if not 0 <= seconds <= _LONGEST_DELAY:
        raise ValueError(f"seconds={seconds}: write 0 to {_LONGEST_DELAY:g}")

    async def fault(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await through(exchange)

    return fault


async def reset(exchange: Exchange) -> None:
    """Break the connection (RST); the platform gets no request."""
    exchange.reset()


async def hang(exchange: Exchange) -> None:
    """Take the request and never answer; the client's ``timeout`` ends the call."""
    await exchange.client_gone()
    exchange.close()


def http(head: str, body: bytes = b"", *headers: str) -> bytes:
    """Create a complete answer.

    Parameters
    ----------
    head : str
        The status: ``"200 OK"``.
    body : bytes
        Default: empty.
    *headers : str
        ``"Content-Type: text/html"``; the length is added.

    Returns
    -------
    bytes
        As it travels, for `saying`.
    """
    return "\r\n".join([f"HTTP/1.1 {head}", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


def saying(answer: bytes) -> Fault:
    """Answer with these bytes, whatever they are, and close the connection; the platform gets no request.

    Parameters
    ----------
    answer : bytes
        The whole answer, its head included: `http` makes one.

    Returns
    -------
    Fault
        For `FaultProxy.fail` and `FaultProxy.always`.
    """

    async def fault(exchange: Exchange) -> None:
        await exchange.send(answer)
        exchange.close()

    return fault
