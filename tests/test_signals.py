"""Ctrl-C ends a call at once, and close() ends the calls of other threads."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import ClosedException, ForbiddenException

WAITS = """
import signal, sys
from mlplatform_client import MLPlatform
signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background (`make &`) has it ignored
mlp = MLPlatform("a token", url=sys.argv[1])
print("calling", flush=True)
try:
    mlp.who_am_i()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def _url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_ctrl_c_ends_a_call_to_a_server_that_does_not_answer(silent: socket.socket) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITS, _url(silent)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "calling\n"
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(10)  # the request has arrived: the call waits for its answer
            sent = time.monotonic()
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == "interrupted\n"
            # A connection without an answer is given up after 30 s.
            assert time.monotonic() - sent < 20
            while connection.recv(65536):  # the request is really given up: the connection ends
                pass
        assert child.wait(60) == 0


def test_another_signal_s_handler_runs_during_a_call(silent: socket.socket) -> None:
    """And a handler that does not raise does not end the call."""
    seen, during = threading.Event(), []
    body = b'{"status":403,"errorCode":"ForbiddenException"}'
    head = f"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"

    def answer_after_the_signal() -> None:
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(10)
            os.kill(os.getpid(), signal.SIGUSR1)
            during.append(seen.wait(20))
            connection.sendall(head.encode() + body)

    thread = threading.Thread(target=answer_after_the_signal)
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.set())
    try:
        thread.start()
        with pytest.raises(ForbiddenException):
            MLPlatform("a token", url=_url(silent)).who_am_i()
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert during == [True]


@pytest.mark.parametrize("method", ["stop", "close"])
def test_stop_and_close_end_the_calls_of_other_threads(silent: socket.socket, method: str) -> None:
    mlp = MLPlatform("a token", url=_url(silent))
    errors: list[BaseException] = []

    def call() -> None:
        try:
            mlp.who_am_i()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    connection, _ = silent.accept()
    with connection:
        assert connection.recv(10)
        getattr(mlp, method)()
        thread.join(60)
    assert [type(error) for error in errors] == [ClosedException]


def test_a_closed_object_says_so() -> None:
    with MLPlatform("a token") as mlp:
        pass
    mlp.close()
    with pytest.raises(ClosedException, match="create another one"):
        mlp.who_am_i()
