"""The interpreter ends while requests are in flight: quietly and at once."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from exits import leave_often, world

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform

LEAVES = """
import sys, threading
from mlplatform_client import MLPlatform
one = MLPlatform("a token", url=sys.argv[1])
clients = [one if sys.argv[2] == "shared" else MLPlatform("a token", url=sys.argv[1]) for _ in range(30)]
started = threading.Barrier(31)
def call(client):
    started.wait()
    client.who_am_i()
for client in clients:
    threading.Thread(target=call, args=(client,), daemon=True).start()
started.wait()
sys.stdin.readline()
"""
SHARING = ["shared", "separate"]


def leave_with_requests_in_flight(python: str | Path, sharing: str, times: int) -> None:
    """30 daemon threads wait for a silent server when the main thread ends; also for the release wheel's test."""
    # Of one object's calls, one exchanges and the others wait for it.
    in_flight = 1 if sharing == "shared" else 30
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for _ in range(times):
            with subprocess.Popen(
                [python, "-c", LEAVES, url, sharing],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ) as child:
                connections = [listener.accept()[0] for _ in range(in_flight)]
                left = time.monotonic()
                output, errors = child.communicate("leave\n", timeout=30)
                for connection in connections:
                    connection.close()
                assert (child.returncode, output, errors) == (0, "", "")
                assert time.monotonic() - left < 5


@pytest.mark.parametrize("sharing", SHARING)
def test_exit_with_30_requests_in_flight_prints_nothing(sharing: str) -> None:
    leave_with_requests_in_flight(sys.executable, sharing, times=20)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_exits_with_every_kind_of_call_in_flight(platform: LocalPlatform, admin: MLPlatform) -> None:
    """Here the build of this environment; `test_packaging.py` has the release wheel on each Python."""
    assert leave_often(sys.executable, world(platform, admin), 100) == []


# Python code that runs under a frame of ours, in a daemon thread, and has lost the GIL when the main thread ends.
CAUGHT = """
import atexit, datetime, os, sys, threading, time, warnings
code_runs, leaves = threading.Event(), threading.Event()
def slow(*args, **kwargs):
    if not code_runs.is_set():
        code_runs.set()
        leaves.wait()
        time.sleep(0.3)
        os.write(1, b"the thread was waited for\\n")
    return "1h"
class Slow(str):
    __str__ = __repr__ = __fspath__ = __hash__ = __eq__ = slow
class Path:
    __fspath__ = slow
class Mapping(dict):
    items = slow
class Length:
    total_seconds = slow
from collections.abc import Mapping as Abstract
class Settings(Abstract):
    __getitem__ = __len__ = __iter__ = slow
def items():
    yield slow()
from mlplatform_client import MLPlatform
from mlplatform_client.core.manifest import Manifest
from mlplatform_client.serializers.auth import MLPTokenInfo
from mlplatform_client.serializers.spark_proxy import K8sSparkEvent, K8sSparkEventsList
warnings.simplefilter("always")
mlp = MLPlatform("a token", url="http://127.0.0.1:9")
info = MLPTokenInfo("id", "name", Slow("USER"), "issuer", None, None)
event = K8sSparkEvent(Slow("event"), "job", "pod", "NORMAL", "Started", "message")
events = K8sSparkEventsList([Slow("event")])
manifest = Manifest({})
def call():
    try:
        CALL
    except Exception:
        pass
    while True:
        hash(info)
threading.Thread(target=call, daemon=True).start()
code_runs.wait()
leaves.set()
"""
CODE = {
    "a warning": "warnings.showwarning = slow; mlp.stop(nonsense=1)",
    "a path": "mlp.get_manifest_from_yaml_file(Path())",
    "a path of the connection's": "MLPlatform(ca_bundle=Path())",
    "a lifetime": "mlp.create_register_token('anna', Length(), token_type='USER')",
    "a moment": "mlp.get_audit(since=Length())",
    "a mapping": "manifest.set_executor_settings(Settings())",
    "an iterator": "manifest.set_jars(items())",
    "str of a value": "str(info)",
    "repr of a value": "repr(info)",
    "hash of a value": "hash(info)",
    "equality of values": "info == MLPTokenInfo('id', 'name', Slow('x'), 'issuer', None, None)",
    "str of a list": "str(events)",
    "repr of a list": "repr(events)",
    "a table": "K8sSparkEventsList([event])._repr_html_()",
    "what a notebook keeps": "K8sSparkEventsList([event])._repr_mimebundle_()",
    "a table of one object": "event._repr_html_()",
    "a list's member": "Slow('x') in events",
    "a pickle": "events.__reduce__(); hash(events)",
}


def run(script: str, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("code", CODE.values(), ids=CODE)
def test_python_code_under_a_frame_of_ours_is_waited_for(code: str) -> None:
    assert run(CAUGHT.replace("CALL", code)) == (0, "the thread was waited for\n", "")


def test_the_end_does_not_wait_for_ever() -> None:
    """Nor is a thread that never gets out an abort."""
    script = CAUGHT.replace("time.sleep(0.3)", "threading.Event().wait()")
    assert run(script.replace("CALL", CODE["a warning"])) == (0, "", "")


# A hook that is older than the import comes after ours: by then the daemon threads are out, and stay there.
STAY_AWAY = """
import atexit, threading, time
calls = 0
def count():
    before = calls
    time.sleep(0.3)
    # Each may have been on its way from its last call to the count.
    print("stopped" if calls - before <= 4 else calls - before, flush=True)
    print(mlp, info.name)
atexit.register(count)
from mlplatform_client import MLPlatform
from mlplatform_client.serializers.auth import MLPTokenInfo
mlp = MLPlatform("a token", url="http://127.0.0.1:9")
info = MLPTokenInfo("id", "name", "USER", "issuer", None, None)
begun = threading.Event()
def loop():
    global calls
    while True:
        hash(info)
        calls += 1
        begun.set()
for _ in range(4):
    threading.Thread(target=loop, daemon=True).start()
begun.wait()
"""


def test_threads_stay_away_once_the_end_has_begun_and_the_main_thread_goes_on() -> None:
    said = "stopped\n<MLPlatform url='http://127.0.0.1:9/' refresh_token=given> name\n"
    assert run(STAY_AWAY) == (0, said, "")


# The module's globals go when finalization has long begun; the thread that finalizes may still call.
AT_THE_VERY_END = """
import sys
from mlplatform_client import MLPlatform
class Last:
    def __init__(self):
        self.mlp, self.write = MLPlatform(sys.argv[1], url=sys.argv[2]), sys.stdout.write
        self.mlp.who_am_i()
    def __del__(self):
        self.write(self.mlp.who_am_i().name + "\\n")
        try:
            self.mlp.delete_token("nobody")
        except Exception as error:
            self.write(type(error).__name__ + "\\n")
sys.last_of_all = Last()
"""


def test_a_finalizer_may_call(platform: LocalPlatform) -> None:
    said = run(AT_THE_VERY_END, str(platform.admin_token), platform.url)
    assert said == (0, "admin\nNotFoundException\n", "")


# A child has none of the parent's threads: neither those that are inside nor the end that has begun are its own.
FORKS = """
import atexit, os, sys, threading
from concurrent.futures import ThreadPoolExecutor
def child(where):
    pid = os.fork()
    if pid == 0:
        called = []
        if sys.version_info < (3, 12) or where == "running":
            thread = threading.Thread(target=lambda: called.append(mlp.who_am_i().name))
            thread.start()
            thread.join()
        else:  # no thread may be started any more
            called.append(mlp.who_am_i().name)
        if where == "running":
            sys.exit(called != ["admin"])
        os._exit(called != ["admin"])
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def at_the_end():
    if os.getpid() == parent:
        print(child("ending"))
parent = os.getpid()
atexit.register(at_the_end)
from mlplatform_client import MLPlatform
mlp = MLPlatform(sys.argv[1], url=sys.argv[2])
def loop():
    while True:
        mlp.who_am_i()
for _ in range(4):
    threading.Thread(target=loop, daemon=True).start()
mlp.who_am_i()
print([child("running") for _ in range(5)])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork exists on unix only")
def test_a_forked_child_begins_anew(platform: LocalPlatform) -> None:
    code, said, errors = run(
        "import warnings; warnings.simplefilter('ignore')\n" + FORKS, str(platform.admin_token), platform.url
    )
    assert (code, said, errors) == (0, "[0, 0, 0, 0, 0]\n0\n", "")


def test_a_second_interpreter_in_the_process_is_refused() -> None:
    """Its end would not be the other's."""
    module = next((name for name in ("_interpreters", "_xxsubinterpreters") if importlib.util.find_spec(name)), None)
    if module is None:
        pytest.skip("this Python has no module for them")
    imports = "import mlplatform_client"
    code, said, errors = run(f"{imports}\nimport {module} as i; print(i.run_string(i.create(), '{imports}'))")
    assert code in (0, 1)
    assert "ImportError" in said + errors
