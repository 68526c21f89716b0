"""The client for programs of ``asyncio``: the methods of ``MLPlatform``, and each of them is awaited.

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
from typing import Any

from mlplatform_client._native import AwaitedPlatform, Call, Completions, MLPlatform

__all__ = ["AsyncMLPlatform"]


class _Bridge:
    """Wakes one event loop for the calls that have ended: once for all that ended meanwhile.

    The loop holds it, by the handler that it has for the socket, and nobody else does: it goes with the loop.
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
            return call.result()
        finally:
            # Cancelled, or left where it was because its loop is gone: the request ends.
            del self._waiting[number]
            call.abort()


_bridges: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[_Bridge]] = weakref.WeakKeyDictionary()


def _bridge_of(loop: asyncio.AbstractEventLoop) -> _Bridge:
    known = _bridges.get(loop)
    bridge = known() if known is not None else None
    # A forked child has the parent's loops, and shares their sockets.
    if bridge is None or bridge.process != os.getpid():
        bridge = _Bridge(loop)
        _bridges[loop] = weakref.ref(bridge)
    return bridge


async def _awaited(value: Any) -> Any:
    """What comes of a call; what was there at once is it already."""
    if type(value) is not Call:
        return value
    loop = asyncio.get_running_loop()
    return await _bridge_of(loop).wait(loop, value)


class AsyncMLPlatform:
    """``MLPlatform`` for programs of ``asyncio``: the same settings and methods, and every method is awaited.

    Making one sends nothing; the first call does. It is an asynchronous context manager: at the end of the
    ``async with`` block it is closed. One object may be used by several event loops, one after another or in threads,
    and after a ``fork``. A call that is cancelled ends its request.

    It runs on the event loops of ``asyncio`` and on those that are like them (``uvloop``; ``anyio`` with ``asyncio`` as
    its backend). Of Windows' loops it needs the ``SelectorEventLoop``.

    Parameters
    ----------
    refresh_token, url, ca_bundle, client_cert, client_key, timeout, allow_http
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

    __signature__ = inspect.signature(MLPlatform)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._core = AwaitedPlatform(*args, **kwargs)

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


def _awaiting(name: str) -> Any:
    """Make a coroutine function of a method."""
    method = getattr(MLPlatform, name)

    async def call(self: AsyncMLPlatform, /, *args: Any, **kwargs: Any) -> Any:
        return await _awaited(method(self._core, *args, **kwargs))

    call.__name__ = name
    call.__qualname__ = f"{AsyncMLPlatform.__name__}.{name}"
    call.__doc__ = method.__doc__
    call.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
    return call


for _name in dir(MLPlatform):
    if not _name.startswith("_"):
        setattr(AsyncMLPlatform, _name, _awaiting(_name))
del _name
