"""`AsyncMLPlatform`: the same methods, awaited; what is cancelled is over, at the server too."""

from __future__ import annotations

import asyncio
import builtins
import gc
import inspect
import os
import pickle
import socket
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Iterator
from typing import Any
from unittest import mock

import async_stub
import pytest
from conftest import ROOT, Newcomer

from mlplatform_client import MLPlatform, aio
from mlplatform_client.aio import AsyncMLPlatform
from mlplatform_client.core.exceptions import (
    BadRequestException,
    ClosedException,
    ConfigurationException,
    NotFoundException,
    TimeoutException,
)
from mlplatform_client.local import LocalPlatform

# What mypy's oldest Python does not have.
modern: Any = asyncio
modern_builtins: Any = builtins
METHODS = [name for name in dir(MLPlatform) if not name.startswith("_")]


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        listener.settimeout(30)
        yield listener


def _url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def _is_given_up(connection: socket.socket) -> bool:
    """Whether the client closes it: the request is no more."""
    connection.settimeout(20)
    with connection:
        while connection.recv(65536):
            pass
    return True


async def _in_flight(listener: socket.socket) -> socket.socket:
    """The connection of a request that has arrived."""
    connection, _ = await asyncio.to_thread(listener.accept)
    assert await asyncio.to_thread(connection.recv, 10)
    return connection


@pytest.mark.parametrize("name", METHODS)
def test_both_faces_have_the_same_methods(name: str) -> None:
    method, awaited = getattr(MLPlatform, name), getattr(AsyncMLPlatform, name)
    assert inspect.iscoroutinefunction(awaited)
    assert inspect.signature(awaited) == inspect.signature(method)
    assert (awaited.__name__, awaited.__doc__) == (name, method.__doc__)


def test_the_stub_is_what_the_other_one_says() -> None:
    """`python tools/async_stub.py` writes it."""
    path = ROOT / "python" / "mlplatform_client" / "aio.pyi"
    assert path.read_text(encoding="utf-8") == async_stub.made()


def test_neither_has_more() -> None:
    assert [name for name in dir(AsyncMLPlatform) if not name.startswith("_")] == METHODS
    mine, other = (inspect.signature(cls).parameters.values() for cls in (AsyncMLPlatform, MLPlatform))
    assert [(p.name, p.kind, p.default) for p in mine] == [(p.name, p.kind, p.default) for p in other]


async def _story(url: str, token: str, name: str) -> None:
    async with AsyncMLPlatform(token, url=url) as mlp:
        assert (await mlp.who_am_i()).name == name
        infos = await asyncio.gather(*(mlp.who_am_i(timeout=50) for _ in range(50)))
        assert {info.name for info in infos} == {name}
        with pytest.raises(NotFoundException) as caught:
            await mlp.get_cluster_info("nothing")
        assert caught.value.status == 404
        with pytest.raises(BadRequestException, match="timeout"):
            await mlp.who_am_i(timeout=-1)
        with pytest.raises(TypeError):
            await mlp.who_am_i(nonsense=1)  # type: ignore[call-arg]
        await mlp.stop()
        assert (await mlp.who_am_i()).name == name
    with pytest.raises(ClosedException):
        await mlp.who_am_i()


@pytest.mark.parametrize("loops", ["asyncio", "uvloop"])
def test_a_story(loops: str, newcomer: Newcomer, platform: LocalPlatform) -> None:
    """Several loops, one after another."""
    name, token = newcomer()
    make: Any = pytest.importorskip(loops).new_event_loop
    for _ in range(3):
        loop = make()
        loop.set_debug(True)
        try:
            loop.run_until_complete(_story(platform.url, token, name))
        finally:
            loop.close()


def test_anyio(newcomer: Newcomer, platform: LocalPlatform) -> None:
    anyio = pytest.importorskip("anyio")
    name, token = newcomer()
    anyio.run(_story, platform.url, token, name)


def test_one_object_in_the_loops_of_many_threads(newcomer: Newcomer, platform: LocalPlatform) -> None:
    name, token = newcomer()
    mlp = AsyncMLPlatform(token, url=platform.url)
    names: list[str] = []

    async def call() -> None:
        for info in await asyncio.gather(*(mlp.who_am_i() for _ in range(20))):
            names.append(info.name)

    threads = [threading.Thread(target=lambda: asyncio.run(call())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == [name] * 160


def test_a_manifest_needs_no_request(tmp_path: Any) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("kind: SparkApplication\n")
    mlp = AsyncMLPlatform()
    assert "SparkApplication" in str(asyncio.run(mlp.get_manifest_from_yaml_file(path)))


def test_a_warning_is_told_where_it_is_awaited(newcomer: Newcomer, platform: LocalPlatform) -> None:
    _, token = newcomer()
    mlp = AsyncMLPlatform(token, url=platform.url)

    async def call() -> None:
        await mlp.get_clusters(nonsense=1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(call())
    assert [(warning.filename, str(warning.message)) for warning in caught] == [
        (__file__, "get_clusters() ignores the keyword argument 'nonsense'")
    ]


# --- what ends a call


def test_a_cancelled_task_ends_its_request(silent: socket.socket) -> None:
    async def call() -> bool:
        mlp = AsyncMLPlatform("a token", url=_url(silent))
        task = asyncio.create_task(mlp.who_am_i())
        connection = await _in_flight(silent)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await asyncio.to_thread(_is_given_up, connection)

    assert asyncio.run(call())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio has it from 3.11 on")
def test_timeouts_and_groups_of_asyncio_end_requests(silent: socket.socket) -> None:
    async def call() -> bool:
        mlp = AsyncMLPlatform("a token", url=_url(silent))
        with pytest.raises(TimeoutError):
            async with modern.timeout(0.5):
                await mlp.who_am_i()
        first, _ = silent.accept()
        assert await asyncio.to_thread(_is_given_up, first)

        async def fails() -> None:
            connections.append(await _in_flight(silent))
            raise ValueError("the other one is cancelled")

        connections: list[socket.socket] = []

        async def together() -> None:
            async with modern.TaskGroup() as group:
                group.create_task(mlp.who_am_i())
                group.create_task(fails())

        with pytest.raises(modern_builtins.BaseExceptionGroup) as caught:
            await together()
        assert [type(error) for error in caught.value.exceptions] == [ValueError]
        return await asyncio.to_thread(_is_given_up, connections[0])

    assert asyncio.run(call())


def test_the_call_s_own_timeout(silent: socket.socket) -> None:
    with pytest.raises(TimeoutException):
        asyncio.run(AsyncMLPlatform("a token", url=_url(silent)).who_am_i(timeout=0.2))


def test_close_ends_calls(silent: socket.socket) -> None:
    async def call() -> None:
        mlp = AsyncMLPlatform("a token", url=_url(silent))
        task = asyncio.create_task(mlp.who_am_i())
        with await _in_flight(silent):
            await mlp.close()
            with pytest.raises(ClosedException):
                await task

    asyncio.run(call())


def test_a_loop_that_ends_takes_its_calls_along(silent: socket.socket) -> None:
    """Whether its tasks are cancelled, as `asyncio.run` does, or left behind."""
    mlp = AsyncMLPlatform("a token", url=_url(silent))

    async def leave() -> socket.socket:
        tasks.append(asyncio.ensure_future(mlp.who_am_i()))
        return await _in_flight(silent)

    tasks: list[asyncio.Future[Any]] = []
    assert _is_given_up(asyncio.run(leave()))
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(leave())
    loop.close()
    # What Python says of a task that nobody finished is meant for its author.
    tasks[-1]._log_destroy_pending = False  # type: ignore[attr-defined]
    tasks.clear()
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert _is_given_up(connection)
    assert gone() is None
    assert list(vars(aio)["_bridges"]) == []


def test_a_loop_that_watches_no_sockets_is_told() -> None:
    loop = asyncio.SelectorEventLoop()
    try:
        with (
            mock.patch.object(loop, "add_reader", side_effect=NotImplementedError),
            pytest.raises(NotImplementedError, match="SelectorEventLoop"),
        ):
            loop.run_until_complete(AsyncMLPlatform("a token", url="http://127.0.0.1:9").who_am_i())
    finally:
        loop.close()


# --- as an object


def test_as_an_object() -> None:
    mlp = AsyncMLPlatform("a token", url="http://127.0.0.1:9")
    assert repr(mlp) == "<AsyncMLPlatform url='http://127.0.0.1:9/' refresh_token=given>"
    with pytest.raises(TypeError, match="AsyncMLPlatform cannot be pickled"):
        pickle.dumps(mlp)
    with pytest.raises(ConfigurationException):
        AsyncMLPlatform(url="nowhere")
    with pytest.raises(TypeError):
        AsyncMLPlatform(address="x")  # type: ignore[call-arg]


def test_what_belongs_to_a_call_is_used_once() -> None:
    from mlplatform_client._native import AwaitedPlatform, Completions

    call: Any = AwaitedPlatform("a token", url="http://127.0.0.1:9").who_am_i()
    completions = Completions()
    call.begin(completions, 7)
    with pytest.raises(RuntimeError, match="already started"):
        call.begin(completions, 8)
    call.abort()
    with pytest.raises(Exception, match="task of the call was lost"):
        call.result()
    with pytest.raises(RuntimeError, match="already taken"):
        call.result()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork exists on unix only")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_has_loops_of_its_own(newcomer: Newcomer, platform: LocalPlatform) -> None:
    """Forked beside a loop, and inside one with a call under way."""
    name, token = newcomer()
    mlp = AsyncMLPlatform(token, url=platform.url)

    def child() -> bool:
        return asyncio.run(mlp.who_am_i()).name == name

    async def forks() -> list[int]:
        codes = []
        for _ in range(3):
            under_way = asyncio.ensure_future(mlp.who_am_i())
            await asyncio.sleep(0)
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    del under_way
                    gc.collect()
                    code = 0 if child() else 2
                finally:
                    os._exit(code)
            alarm = threading.Timer(20, os.kill, (pid, 9))
            alarm.start()
            codes.append(os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, pid, 0))[1]))
            alarm.cancel()
            assert (await under_way).name == name
        return codes

    assert asyncio.run(forks()) == [0, 0, 0]
    assert child()


LEAVES = """
import asyncio, sys, threading
from mlplatform_client.aio import AsyncMLPlatform
mlp = AsyncMLPlatform(sys.argv[1], url=sys.argv[2])
async def calls():
    await asyncio.gather(*(mlp.who_am_i() for _ in range(5)))
async def loop():
    while True:
        await calls()
        started.set()
started = threading.Event()
if sys.argv[3] == "daemons":
    for _ in range(4):
        threading.Thread(target=lambda: asyncio.run(loop()), daemon=True).start()
    started.wait()
elif sys.argv[3] == "unfinished":
    unfinished = asyncio.new_event_loop()
    task = unfinished.create_task(loop())
    unfinished.run_until_complete(calls())
    task._log_destroy_pending = False
else:
    async def main():
        asyncio.ensure_future(loop())
        await calls()
    asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["daemons", "unfinished", "cancelled"])
def test_an_interpreter_ends_with_awaited_calls_in_flight(how: str, platform: LocalPlatform) -> None:
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", LEAVES, str(platform.admin_token), platform.url, how],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
