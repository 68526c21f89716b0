"""The client for ``asyncio``: the methods of ``MLPlatform`` as coroutines.

>>> import asyncio
>>> from mlplatform_client.aio import AsyncMLPlatform
>>>
>>> async def main():
...     async with AsyncMLPlatform("<access token>") as mlp:
...         print(await mlp.who_am_i())
>>>
>>> asyncio.run(main())

Whoever cancels a call, or lets its time run out, ends its request, too.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
import weakref
from collections.abc import Callable
from typing import Any

from mlplatform_client._native import AwaitedPlatform, Call, Completions, MLPlatform, SparkJobLogLines
from mlplatform_client.core.spark_job import Handle, SparkJob

__all__ = ["AsyncMLPlatform", "AsyncSparkJob", "AsyncSparkJobLogLines"]


class _Bridge:
    """Wakes one event loop for ended calls, once for all that have ended meanwhile.

    Only the loop refers to it, through its handler of the socket, so that it is freed with the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.process = os.getpid()
        self._completions = Completions()
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        try:
            loop.add_reader(self._completions.fileno(), self._wake)
        except NotImplementedError:
            raise NotImplementedError(
                f"AsyncMLPlatform needs an event loop that watches sockets, and {type(loop).__name__} does not: "
                "run it in an asyncio.SelectorEventLoop"
            ) from None

    def _wake(self) -> None:
        for number in self._completions.take():
            future = self._waiting.get(number)
            if future is not None and not future.done():
                future.set_result(None)

    async def wait(self, loop: asyncio.AbstractEventLoop, call: Call) -> Any:
        number = next(self._numbers)
        future = self._waiting[number] = loop.create_future()
        try:
            call.begin(self._completions, number)
            await future
            if call.on_update is not None:
                await self._tell(loop, call, number)
            return call.result()
        finally:
            # Cancelled, or the loop was closed: end the request.
            del self._waiting[number]
            call.abort()

    async def _tell(self, loop: asyncio.AbstractEventLoop, call: Call, number: int) -> None:
        """Pass on updates until the call has ended."""
        while True:
            # Created before the check, so that a later update wakes it.
            future = self._waiting[number] = loop.create_future()
            over = call.is_over()
            while (update := call.update()) is not None:
                told = call.on_update(update)
                if inspect.isawaitable(told):
                    await told
            if over:
                return
            await future


_bridges: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[_Bridge]] = weakref.WeakKeyDictionary()


def _bridge_of(loop: asyncio.AbstractEventLoop) -> _Bridge:
    known = _bridges.get(loop)
    bridge = known() if known is not None else None
    # A forked child inherits the parent's loops and shares their sockets.
    if bridge is None or bridge.process != os.getpid():
        bridge = _Bridge(loop)
        _bridges[loop] = weakref.ref(bridge)
    return bridge


async def _awaited(value: Any) -> Any:
    """The result of a call; other values are returned unchanged."""
    if inspect.iscoroutine(value):
        return await value
    if type(value) is SparkJobLogLines:
        return AsyncSparkJobLogLines(value)
    if type(value) is not Call:
        return value
    loop = asyncio.get_running_loop()
    return await _bridge_of(loop).wait(loop, value)


class AsyncMLPlatform:
    """``MLPlatform`` for ``asyncio``: the same settings, and the same methods as coroutines.

    Creating one sends no request; the first call does. It is an asynchronous context manager: at the end of the
    ``async with`` block it is closed. One object may be used by several event loops, one after another or in threads,
    and after a ``fork``. A call that is cancelled ends its request.

    It runs on the event loops of ``asyncio`` and on those that are like them (``uvloop``; ``anyio`` with ``asyncio`` as
    its backend). Of Windows' loops it needs the ``SelectorEventLoop``.

    Parameters
    ----------
    refresh_token, url, ca_bundle, client_cert, client_key, timeout, allow_http, profile
        As ``MLPlatform`` has them.

    Raises
    ------
    ConfigurationException
        A setting has a value that cannot be meant; the message says where the value came from.

    Examples
    --------
    >>> async with AsyncMLPlatform("<access token>") as mlp:
    ...     print(await mlp.who_am_i())
    """

    def __init__(
        self,
        refresh_token: str | None = None,
        *,
        url: str | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
        client_cert: str | os.PathLike[str] | None = None,
        client_key: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        allow_http: bool | None = None,
        profile: str | None = None,
    ) -> None:
        self._core: Any = AwaitedPlatform(
            refresh_token,
            url=url,
            ca_bundle=ca_bundle,
            client_cert=client_cert,
            client_key=client_key,
            timeout=timeout,
            allow_http=allow_http,
            profile=profile,
        )
        # Handles of jobs refer to this object.
        self._core._public = self

    async def __aenter__(self) -> AsyncMLPlatform:
        """Return itself."""
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close it."""
        self._core.close()

    def __repr__(self) -> str:
        return repr(self._core).replace(type(self._core).__name__, type(self).__name__, 1)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled or copied: it holds a token and open connections; make one where "
            f"it is needed ({type(self).__name__}() reads MLP_REFRESH_TOKEN and MLP_URL)"
        )


class AsyncSparkJobLogLines:
    """The lines of a job's log as they are written: an asynchronous iterator of ``str``.

    ``spark_job_logs(…, follow=True)`` of an ``AsyncMLPlatform`` returns one. A line has its end with it, as lines of
    files have. A loop over it that is cancelled ends its request.

    >>> async for line in await mlp.spark_job_logs(cluster.id, "pi-1", follow=True):
    ...     print(line, end="")
    """

    def __init__(self, lines: SparkJobLogLines) -> None:
        self._lines = lines

    def __aiter__(self) -> AsyncSparkJobLogLines:
        return self

    async def __anext__(self) -> str:
        while (line := self._lines.take()) is None:
            if self._lines.is_over():
                raise StopAsyncIteration
            await _awaited(self._lines.fetch())
        return line

    async def aclose(self) -> None:
        """End the iteration and its request. May be called twice."""
        self._lines.close()


class AsyncSparkJob(Handle):
    """``SparkJob`` of an ``AsyncMLPlatform``: the same methods as coroutines."""


AsyncMLPlatform._handle = AsyncSparkJob


def _await_all(cls: type, methods: type, of: Callable[[Any], Any]) -> None:
    """Add coroutine functions for the methods of another class; `of` returns the object to call them on."""
    for name in dir(methods):
        method = getattr(methods, name)
        if not name.startswith("_") and callable(method):
            setattr(cls, name, _awaiting(cls, name, method, of))


def _awaiting(cls: type, name: str, method: Any, of: Callable[[Any], Any]) -> Any:
    # The method is called in the frame of this coroutine, so that warnings point to the awaiting code.
    async def awaiting(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return await _awaited(method(of(self), *args, **kwargs))

    awaiting.__name__ = name
    awaiting.__qualname__ = f"{cls.__name__}.{name}"
    awaiting.__doc__ = method.__doc__
    awaiting.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
    return awaiting


_await_all(AsyncMLPlatform, MLPlatform, lambda self: self._core)
_await_all(AsyncSparkJob, SparkJob, lambda self: self)
