"""The interpreter ends while requests are in flight: quietly and at once."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

LEAVES = """
import sys, threading
from mlplatform_client import MLPlatform
clients = [MLPlatform("a token", url=sys.argv[1]) for _ in range(30)]
started = threading.Barrier(31)
def call(client):
    started.wait()
    client.who_am_i()
for client in clients:
    threading.Thread(target=call, args=(client,), daemon=True).start()
started.wait()
sys.stdin.readline()
"""


def test_exit_with_30_requests_in_flight_prints_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for _ in range(20):
            with subprocess.Popen(
                [sys.executable, "-c", LEAVES, url],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ) as child:
                connections = [listener.accept()[0] for _ in range(30)]  # all 30 are in flight
                left = time.monotonic()
                output, errors = child.communicate("leave\n", timeout=30)
                for connection in connections:
                    connection.close()
                assert (child.returncode, output, errors) == (0, "", "")
                assert time.monotonic() - left < 5
