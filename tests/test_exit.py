"""The interpreter ends while requests are in flight: quietly and at once."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
