"""Clients that are after a server's memory and time: answers that are asked for and not read, bodies that are large,
many-valued or never end, heads that are half sent. What they cost, and what everybody else notices of it.

`python tests/exhaustion.py [PROGRAM]` measures any `mlplatform-server`, so also an older one.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from jobs import manifest

from mlplatform_client import MLPlatform
from mlplatform_client.local import _find_program
from mlplatform_client.serializers.auth import MLPTokenType

MIB = 1024 * 1024
# As large as the largest program in base64.
LARGE = 14 * MIB
ATTACKER, OTHER = "127.0.0.2", "127.0.0.3"


class Connection(socket.socket):
    """One of HTTP/2 shows that it lives whenever it is asked to, as long as its answers are not read."""

    http2 = False
    _read = b""

    def answer_pings(self) -> None:
        """Read what is there; of answers, that is their heads."""
        with contextlib.suppress(OSError):
            self._read += self.recv(65536, socket.MSG_DONTWAIT)
        while len(self._read) >= 9:
            end = 9 + int.from_bytes(self._read[:3], "big")
            if len(self._read) < end:
                return
            kind, flags, payload = self._read[3], self._read[4], self._read[9:end]
            self._read = self._read[end:]
            if kind == 6 and not flags & 1:
                with contextlib.suppress(OSError):
                    self.sendall(_frame(6, 1, 0, payload))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


@dataclass
class Server:
    """A server process with a User and a cluster that holds a job with a log of some MiB."""

    program: str
    folder: Path
    arguments: tuple[str, ...] = ()
    user: str | None = None
    url: str = ""
    process: subprocess.Popen[bytes] = field(init=False)
    cluster: str = ""
    session: str = ""

    def __enter__(self) -> Server:
        script = self.folder / "spark-submit"
        script.write_text("#!/bin/sh\nexec head -c 4000000 /dev/zero\n")
        script.chmod(0o755)
        as_myself = {} if "--job-user" in self.arguments else {"MLP_SERVER_JOBS_AS_MYSELF": "1"}
        self.process = subprocess.Popen(
            [
                self.program,
                "serve",
                "--data-dir",
                str(self.folder / "data"),
                "--listen",
                "127.0.0.1:0",
                "--exit-on-stdin-eof",
                *self.arguments,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # As a variable, since an older program does not know the flag.
            env={**os.environ, "MLP_SERVER_SPARK_SUBMIT": str(script), **as_myself},
            user=self.user,
        )
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.url = ready["url"]
        with MLPlatform(Path(ready["admin_token_file"]).read_text().strip(), url=self.url) as admin:
            self.cluster = admin.get_clusters()[0].id
            token = admin.create_refresh_token(admin.create_register_token("anna", "1h", token_type=MLPTokenType.USER))
        self.session = self.post("/v1_0/sessions", {"refresh_token": str(token)})["session_token"]
        self.post(
            self.jobs,
            {"manifest": manifest("log", type="Scala", mainClass="None", mainApplicationFile="local:///dev/null")},
            self.session,
        )
        while not self.log_is_whole():
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def jobs(self) -> str:
        return f"/v1_0/magnum/{self.cluster}/jobs"

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname
        assert parts.port
        return parts.hostname, parts.port

    def post(self, path: str, body: object, session: str | None = None) -> dict[str, str]:
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {session}"} if session else {})}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)  # noqa: S310 - ours
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - ours
            found: dict[str, str] = json.load(answer)
        return found

    def log_is_whole(self) -> bool:
        request = urllib.request.Request(  # noqa: S310 - ours
            f"{self.url}{self.jobs}/log/logs?tail=1", headers={"Authorization": f"Bearer {self.session}"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - ours
            return len(answer.read()) >= 4_000_000

    def connect(self, source: str = ATTACKER) -> Connection:
        """From an address of the attacker's. It takes as little as can be."""
        connection = Connection()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.bind((source, 0))
        connection.connect(self.address)
        return connection

    def memory(self, what: str = "VmHWM") -> int:
        """MiB, at most or now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{what}:", 1)[1].split()[0]) // 1024


def http2(server: Server, paths: list[str], headers: dict[str, str], window: int) -> bytes:
    """A connection of HTTP/2 that asks for all of that and leaves so much room for each answer."""

    def text(value: str) -> bytes:
        length = len(value)
        # HPACK: seven bits of the length, then the rest.
        head = bytes([length]) if length < 127 else bytes([127, (length - 127) % 128 | 128, (length - 127) // 128])
        return head + value.encode()

    host, port = server.address
    settings = (4).to_bytes(2, "big") + window.to_bytes(4, "big")
    # The window of the connection is as large as can be: what is not sent, is not for its sake.
    data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, settings)
    data += _frame(8, 0, 0, (2**31 - 1 - 65535).to_bytes(4, "big"))
    for number, path in enumerate(paths):
        fields = b"\x82\x86\x04" + text(path) + b"\x01" + text(f"{host}:{port}")
        for name, value in headers.items():
            fields += b"\x00" + text(name) + text(value)
        data += _frame(1, 5, 2 * number + 1, fields)
    return data


Attack = Callable[[Server], "list[Connection]"]


def _each(server: Server, count: int, data: bytes) -> list[Connection]:
    """So many connections that say all the same, as many as the server takes."""
    connections = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            connection = server.connect()
            connection.http2 = data.startswith(b"PRI ")
            connections.append(connection)
            connection.sendall(data)
    return connections


def unread_documents(server: Server) -> list[Connection]:
    """A stranger asks for a large document that is the same for all, and leaves no room for it."""
    return _each(server, 1000, http2(server, ["/openapi.json"] * 64, {}, 0))


def unread_documents_by_bytes(server: Server) -> list[Connection]:
    """The same, with room for one byte."""
    return _each(server, 1000, http2(server, ["/openapi.json"] * 64, {}, 1))


def unread_logs(server: Server) -> list[Connection]:
    """A User asks for logs and leaves no room for them."""
    headers = {"authorization": f"Bearer {server.session}"}
    return _each(server, 1000, http2(server, [f"{server.jobs}/log/logs"] * 64, headers, 1))


def unread_logs_without_streams(server: Server) -> list[Connection]:
    """The same over HTTP/1, and nobody takes from the socket."""
    ask = f"GET {server.jobs}/log/logs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.session}\r\n\r\n"
    return _each(server, 1500, ask.encode())


def unread_descriptions(server: Server) -> list[Connection]:
    """A User makes answers large, as manifests are, asks for them and does not take them."""
    large = manifest("large", type="Scala", mainClass="None", mainApplicationFile="local:///dev/null")
    large["metadata"] = {"name": "large", "annotations": {"a": "x" * (250 * 1024)}}
    server.post(server.jobs, {"manifest": large}, server.session)
    path = f"{server.jobs}/large/description"
    return _each(server, 300, http2(server, [path] * 64, {"authorization": f"Bearer {server.session}"}, 0))


def _submit(server: Server, length: int) -> bytes:
    head = (
        f"POST {server.jobs} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {server.session}\r\nContent-Length: {length}\r\n\r\n"
    )
    return head.encode()


def stalled_bodies(server: Server) -> list[Connection]:
    """A User sends a hundred large bodies, all but their ends."""
    connections = _each(server, 100, _submit(server, LARGE))
    rest = b" " * (LARGE - 1)

    def send(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(rest)

    threads = [threading.Thread(target=send, args=(connection,), daemon=True) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(1.0)
    return connections


def _bodies(server: Server, body: bytes) -> list[Connection]:
    def send() -> None:
        end = time.monotonic() + 8.0
        while time.monotonic() < end:
            with contextlib.suppress(OSError), server.connect() as connection:
                connection.sendall(_submit(server, len(body)) + body)
                connection.recv(1000)

    threads = [threading.Thread(target=send, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return []


def many_values(server: Server) -> list[Connection]:
    """A User submits 14 MiB of zeros in a list, over and over, four at once."""
    return _bodies(server, b'{"manifest":[' + b"0," * (LARGE // 2 - 100) + b"0]}")


def many_names(server: Server) -> list[Connection]:
    """A User submits a million fields that nobody knows, over and over, four at once."""
    fields = ",".join(f'"k{number:07}":1' for number in range(1_000_000))
    return _bodies(server, b'{"manifest":{},' + fields.encode() + b"}")


def half_heads(server: Server) -> list[Connection]:
    """A stranger sends five thousand heads, all but their ends."""
    return _each(server, 5000, b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 15_000)


def half_bodies(server: Server) -> list[Connection]:
    """A stranger sends bodies of the size that anybody may send, all but their ends, behind long heads."""
    length = 64 * 1024
    head = (
        f"POST /v1_0/sessions HTTP/1.1\r\nHost: x\r\nX-Long: {'x' * 7_500}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
    return _each(server, 5000, head.encode() + b" " * (length - 1))


ATTACKS: dict[str, Attack] = {
    "1,000 connections × 64 streams, `/openapi.json`, window 0": unread_documents,
    "1,000 connections × 64 streams, `/openapi.json`, window 1": unread_documents_by_bytes,
    "1,000 connections × 64 streams, logs, window 1": unread_logs,
    "1,500 connections of HTTP/1, logs that nobody reads": unread_logs_without_streams,
    "300 connections × 64 streams, descriptions of 250 KiB, window 0": unread_descriptions,
    "100 bodies of 14 MiB without their last byte": stalled_bodies,
    "4 at once, bodies of 14 MiB of zeros": many_values,
    "4 at once, bodies of a million names": many_names,
    "5,000 heads of 15 KiB without their end": half_heads,
    "5,000 bodies of 64 KiB without their last byte": half_bodies,
}


@dataclass
class Seen:
    """What an attack did."""

    peak: int
    times: list[float]
    refused: int
    # The last of its connections, or None: some are open still.
    closed_after: float | None
    watched: float
    connections: int

    def __str__(self) -> str:
        """For the report."""
        times = sorted(self.times)
        median, p99 = statistics.median(times) * 1000, times[len(times) * 99 // 100] * 1000
        told = f"{self.peak} MiB, others median {median:.1f} ms, 99th percentile {p99:.0f} ms"
        if self.refused:
            told += f", {self.refused} refused"
        if self.connections and self.closed_after is None:
            told += f", open after {self.watched:.0f} s"
        elif self.closed_after is not None:
            told += f", closed after {self.closed_after:.0f} s"
        return told


def others(address: tuple[str, int], session: str, seconds: float) -> tuple[list[float], int]:
    """How long a caller from elsewhere waits for `who_am_i`, on one connection after the other and on new ones."""
    ask = f"GET /v1_0/tokens/self HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {session}\r\n\r\n".encode()
    times, refused, end = [], 0, time.monotonic() + seconds
    connection: socket.socket | None = None
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            if connection is None:
                connection = socket.create_connection(address, 30, (OTHER, 0))
            connection.sendall(ask)
            answer = connection.recv(65536)
        except OSError:
            answer = b""
        if answer.startswith(b"HTTP/1.1 200 "):
            times.append(time.monotonic() - began)
        else:
            refused += 1
        if len(times) % 10 == 0 or not answer:
            if connection is not None:
                connection.close()
            connection = None
        time.sleep(0.005)
    return times, refused


def hold(connections: list[Connection], began: float, patience: float) -> float | None:
    """Keep them open as long as that; seconds until the server has closed the last of them."""
    poll, left = select.poll(), {connection.fileno(): connection for connection in connections}
    for number, connection in left.items():
        # Data is not taken; an end is told all the same.
        poll.register(number, select.POLLRDHUP | (select.POLLIN if connection.http2 else 0))
    while left and time.monotonic() - began < patience:
        for number, events in poll.poll(1000):
            if events & (select.POLLRDHUP | select.POLLHUP | select.POLLERR):
                poll.unregister(number)
                left.pop(number)
            else:
                left[number].answer_pings()
    return None if left or not connections else time.monotonic() - began


def watch(server: Server, attack: Attack, seconds: float = 10.0, patience: float = 0.0) -> Seen:
    """Peak of memory, what others wait, and, with patience, when the attack's connections are closed."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(int).result()
        elsewhere = pool.submit(others, server.address, server.session, seconds)
        began = time.monotonic()
        connections = attack(server)
        watched = max(patience, seconds)
        closed = hold(connections, began, watched)
        times, refused = elsewhere.result()
        for connection in connections:
            connection.close()
    return Seen(server.memory(), times, refused, closed, watched, len(connections))


@contextlib.contextmanager
def served(program: str | None = None, *arguments: str) -> Iterator[Server]:
    """A server for one attack."""
    with (
        tempfile.TemporaryDirectory(prefix="mlplatform-exhaustion-") as folder,
        Server(program or _find_program(), Path(folder), arguments) as server,
    ):
        yield server


if __name__ == "__main__":
    for name, attack in ATTACKS.items():
        if len(sys.argv) > 2 and sys.argv[2] not in name:
            continue
        with served(sys.argv[1] if len(sys.argv) > 1 else None) as server:
            print(f"{name}: {watch(server, attack, patience=100.0)}", flush=True)
