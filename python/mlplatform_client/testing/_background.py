"""Servers for tests, on an event loop in a separate thread."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
# All that is waited for is this machine's own; under load that takes a while.
_STOP_SECONDS = 30.0


class Background:
    """A listener on a free loopback port; `serve` gets each connection."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        # A daemon: what a test forgot to stop does not keep the interpreter from ending.
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(self).__name__, daemon=True)
        self._thread.start()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self.port = 0
        self.connections = 0
        self._run(self._listen())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection; called for each."""
        raise NotImplementedError

    @property
    def address(self) -> str:
        """``127.0.0.1`` and the port."""
        return f"127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Nothing listens there for a while."""
        self._run(self._close())
        yield
        self._run(self._listen())

    def stop(self) -> None:
        """Close the listener and all connections. May be called twice."""
        if self._loop.is_closed():
            return
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self: T) -> T:
        """Return itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop it."""
        self.stop()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_STOP_SECONDS)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a callback of the listener runs in a task, which the type does not say
        self._tasks.add(task)
        self.connections += 1
        try:
            # What is no HTTP, or too long of it, ends its connection.
            with contextlib.suppress(OSError, EOFError, ValueError, asyncio.LimitOverrunError):
                await self.serve(reader, writer)
            await hang_up(writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _close(self) -> None:
        """The listener and what it has accepted."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # What was aborted is closed in the next round of the loop.
        await asyncio.sleep(0)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close, and wait for it."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
