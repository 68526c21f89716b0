"""fork, then use in the child and in the parent."""

from __future__ import annotations

import os
import threading

import pytest
from conftest import Newcomer

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="fork exists on unix only"),
    # Python warns of forking beside threads, which is what is tested here.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]


def _fork(child: object) -> int:
    """Run in a forked child; returns its exit code: 0 when it returned, 1 when it raised."""
    assert callable(child)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child()
            code = 0
        finally:
            os._exit(code)
    # A child that hangs is the failure that is looked for: end it, so that waiting for it ends.
    alarm = threading.Timer(20, os.kill, (pid, 9))
    alarm.start()
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        alarm.cancel()


def test_used_object_works_in_child_and_parent(newcomer: Newcomer, platform: LocalPlatform) -> None:
    name, token = newcomer()
    mlp = MLPlatform(token, url=platform.url)
    mlp.who_am_i()  # runtime, connections and session exist before the fork

    def child() -> None:
        for _ in range(3):
            assert mlp.who_am_i().name == name
        mlp.close()

    assert _fork(child) == 0
    assert mlp.who_am_i().name == name
    assert _fork(child) == 0


def test_fork_while_other_threads_call(newcomer: Newcomer, platform: LocalPlatform) -> None:
    _, token = newcomer()
    mlp = MLPlatform(token, url=platform.url)
    done = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while not done.is_set():
                mlp.who_am_i()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        codes = [_fork(lambda: mlp.who_am_i()) for _ in range(10)]
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert codes == [0] * 10
    assert failures == []


def test_a_grandchild_works(newcomer: Newcomer, platform: LocalPlatform) -> None:
    _, token = newcomer()
    mlp = MLPlatform(token, url=platform.url)
    mlp.who_am_i()

    def child() -> None:
        mlp.who_am_i()
        assert _fork(lambda: mlp.who_am_i()) == 0

    assert _fork(child) == 0


def test_the_local_platform_outlives_a_forked_child(tmp_path: os.PathLike[str]) -> None:
    """A child that ends the ordinary way must not stop its parent's platform."""
    with LocalPlatform(tmp_path) as platform:
        mlp = MLPlatform(platform.admin_token, url=platform.url)

        def child() -> None:
            platform.stop()  # what the end of an ordinary interpreter does

        assert _fork(child) == 0
        assert mlp.who_am_i().name == "admin"
