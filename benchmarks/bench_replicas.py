"""Requests per second on SQLite, and on PostgreSQL with one, two and three servers."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest import mock
from urllib.parse import urlsplit

from benchmarks.stores import Server, on_postgresql
from postgres import Cluster

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

TITLE = "SQLite, PostgreSQL and replicas"
ROUNDS = 5
SECONDS = 3
CONNECTIONS = 16
USERS = 64
REDEEMS = 1000

# Each line of a file in turn: as the body of a request, or as its session.
SCRIPT = """
local lines, number = {}, 0
for line in io.lines("FILE") do lines[#lines + 1] = line end
request = function()
    number = number % #lines + 1
    return wrk.format("METHOD", nil, {["Content-Type"] = "application/json", ["Authorization"] = SESSION}, BODY)
end
"""


class Servers:
    """The servers of one platform."""

    def __init__(self, servers: Sequence[LocalPlatform | Server], tokens: list[str], folder: Path, wrk: str) -> None:
        self._servers, self._tokens, self._folder, self._wrk_program = servers, tokens, folder, wrk

    def exchange(self) -> float:
        """Exchanges a second."""
        bodies = [json.dumps({"refresh_token": token}) for token in self._tokens]
        return self._wrk("/v1_0/sessions", "POST", bodies)

    def who_am_i(self) -> float:
        """Calls of who_am_i a second."""
        bodies = ({"refresh_token": token} for token in self._tokens[:4])
        sessions = [_post(self._servers[0].url, "/v1_0/sessions", body)["session_token"] for body in bodies]
        return self._wrk("/v1_0/tokens/self", "GET", [f"Bearer {session}" for session in sessions])

    def redeem(self) -> float:
        """Registration tokens redeemed a second."""
        admin = [MLPlatform(server.admin_token, url=server.url) for server in self._servers]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            made = list(pool.map(lambda n: _register(admin[n % len(admin)]), range(REDEEMS)))
        for one in admin:
            one.close()
        parts = [made[number::CONNECTIONS] for number in range(CONNECTIONS)]

        def redeem(number: int) -> None:
            address = urlsplit(self._servers[number % len(self._servers)].url)
            connection = http.client.HTTPConnection(address.hostname or "", address.port)
            for token in parts[number]:
                body = json.dumps({"register_token": str(token)})
                connection.request("POST", "/v1_0/tokens", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                if answer.status >= 300:
                    raise RuntimeError(f"redeem: {answer.status}")
            connection.close()

        began = time.perf_counter()
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(redeem, range(CONNECTIONS)))
        return REDEEMS / (time.perf_counter() - began)

    def _wrk(self, path: str, method: str, lines: list[str]) -> float:
        file, script = self._folder / "lines", self._folder / "request.lua"
        file.write_text("\n".join(lines))
        session, body = ("nil", "lines[number]") if method == "POST" else ("lines[number]", "nil")
        text = SCRIPT.replace("FILE", str(file)).replace("METHOD", method)
        script.write_text(text.replace("SESSION", session).replace("BODY", body))
        options = ["-t1", f"-c{CONNECTIONS // len(self._servers)}", f"-d{SECONDS}s", "-s", str(script)]
        running = [
            subprocess.Popen([self._wrk_program, *options, server.url + path], stdout=subprocess.PIPE, text=True)
            for server in self._servers
        ]
        said = [process.communicate()[0] for process in running]
        if any("Non-2xx" in one or "Socket errors" in one for one in said):
            raise SystemExit("\n".join(said))
        return sum(float(re.findall(r"Requests/sec: +([\d.]+)", one)[0]) for one in said)


def _post(url: str, path: str, body: dict[str, str]) -> dict[str, str]:
    address = urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(address.hostname or "", address.port)) as connection:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer: dict[str, str] = json.load(connection.getresponse())
    return answer


def _register(admin: MLPlatform) -> str:
    return str(admin.create_register_token(f"user-{uuid.uuid4()}", "1h", token_type=MLPTokenType.USER))


def _users(platform: LocalPlatform) -> list[str]:
    with MLPlatform(platform.admin_token, url=platform.url) as admin:
        return [str(admin.create_refresh_token(_register(admin))) for _ in range(USERS)]


def _add_users(tokens: list[str], platform: LocalPlatform) -> None:
    tokens.extend(_users(platform))


def run() -> str:
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("wrk is missing. Debian, Ubuntu: apt-get install wrk")
    rates: dict[str, dict[str, list[float]]] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, MLP_SERVER_TOKENS_PER_ISSUER="1000000"))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlplatform-bench-")))
        platform = stack.enter_context(LocalPlatform())
        targets = {"SQLite": Servers([platform], _users(platform), folder, wrk)}
        # As durable as it is by default, and with a cache of the size that its documentation begins with.
        cluster = stack.enter_context(Cluster(settings=("shared_buffers=128MB",)))
        for count in (1, 2, 3):
            tokens: list[str] = []
            servers = on_postgresql(cluster, partial(_add_users, tokens), count)
            name = f"PostgreSQL, {count} server{'s' if count > 1 else ''}"
            targets[name] = Servers(stack.enter_context(servers), tokens, folder, wrk)
        for _ in range(ROUNDS):
            for name, target in targets.items():
                for what in ("exchange", "who_am_i", "redeem"):
                    rates.setdefault(what, {}).setdefault(name, []).append(getattr(target, what)())
    rows = []
    for what, of in rates.items():
        cells = (f"{statistics.median(of[name]):,.0f} ({min(of[name]):,.0f}-{max(of[name]):,.0f})" for name in targets)
        rows.append(f"| `{what}` | {' | '.join(cells)} |")
    return (
        f"Requests a second, median (range) of {ROUNDS} interleaved rounds: {CONNECTIONS} connections, divided among "
        f"the servers, {USERS} tokens, {SECONDS} s a round; of redeeming, {REDEEMS} registration tokens a round. "
        f"Clients, servers and PostgreSQL share this machine's {os.cpu_count()} cores, so more servers show what they "
        "cost and not what they gain. Redeeming does not grow with servers: each one is a row of the audit, "
        "which is one chain.\n\n"
        f"| | {' | '.join(targets)} |\n| --- |{' --- |' * len(targets)}\n" + "\n".join(rows)
    )
