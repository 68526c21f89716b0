"""What the calls of every day cost on a platform with a hundred, ten thousand and a million tokens, on both stores."""

from __future__ import annotations

import contextlib
import http.client
import json
import statistics
import time
from functools import partial
from urllib.parse import urlsplit

from benchmarks.bench_console import seed
from benchmarks.stores import Server, on_postgresql
from postgres import Cluster

from mlplatform_client.local import LocalPlatform

TITLE = "Growth"
SIZES = [100, 10_000, 1_000_000]
ROUNDS = 15
REQUESTS = 40


class Caller:
    """One connection to one platform; every request on it must succeed."""

    def __init__(self, platform: LocalPlatform | Server) -> None:
        self._platform = platform
        address = urlsplit(platform.url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port)
        self._session = self._exchange()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def measure(self) -> dict[str, list[float]]:
        """Of each kind of call the milliseconds of some."""
        took: dict[str, list[float]] = {"exchange": [], "who_am_i": [], "create_register_token": [], "redeem": []}

        def timed(what: str, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, str]:
            began = time.perf_counter()
            answer = self._ask(method, path, body)
            took[what].append((time.perf_counter() - began) * 1000)
            return answer

        for _ in range(REQUESTS):
            timed("exchange", "POST", "/v1_0/sessions", {"refresh_token": str(self._platform.admin_token)})
            timed("who_am_i", "GET", "/v1_0/tokens/self")
            # The name is one of its own each time.
            asked = {"client_name": f"new-{time.perf_counter_ns()}", "access_ttl": "1h", "token_type": "USER"}
            made = timed("create_register_token", "POST", "/v1_0/register-tokens", asked)
            timed("redeem", "POST", "/v1_0/tokens", {"register_token": made["register_token"]})
        return took

    def _exchange(self) -> str:
        self._session = ""
        return self._ask("POST", "/v1_0/sessions", {"refresh_token": str(self._platform.admin_token)})["session_token"]

    def _ask(self, method: str, path: str, body: dict[str, str] | None) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self._session:
            headers["Authorization"] = f"Bearer {self._session}"
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]!r}")
        return dict(json.loads(text))


def _seed(size: int, platform: LocalPlatform) -> None:
    seed(platform.data_dir, size)


def run() -> str:
    took: dict[str, dict[tuple[str, int], list[float]]] = {}
    with contextlib.ExitStack() as stack:
        platforms: dict[tuple[str, int], LocalPlatform | Server] = {}
        for size in SIZES:
            platform = stack.enter_context(LocalPlatform())
            seed(platform.data_dir, size)
            platforms["SQLite", size] = platform
        cluster = stack.enter_context(Cluster(settings=("shared_buffers=128MB",)))
        for size in SIZES:
            moved = on_postgresql(cluster, partial(_seed, size))
            platforms["PostgreSQL", size] = stack.enter_context(moved)[0]
        # To fill a million takes longer than a connection may idle.
        callers = {
            where: stack.enter_context(contextlib.closing(Caller(platform))) for where, platform in platforms.items()
        }
        for caller in callers.values():
            caller.measure()
        for _ in range(ROUNDS):
            for where, caller in callers.items():
                for what, times in caller.measure().items():
                    took.setdefault(what, {}).setdefault(where, []).extend(times)
    rows = []
    for store in ("SQLite", "PostgreSQL"):
        for what, by in took.items():
            medians = [statistics.median(by[store, size]) for size in SIZES]
            cells = " | ".join(f"{ms:.2f}" for ms in medians)
            rows.append(f"| {store} | {what} | {cells} | {medians[-1] / medians[0]:.2f} × |")
    return (
        f"As many access tokens, registration tokens and audit rows each. Milliseconds of a request, median of "
        f"{ROUNDS * REQUESTS} on one connection, the {len(platforms)} platforms in turns; the last column is the "
        "largest beside the smallest.\n\n"
        f"| | | {' | '.join(f'{size:,}' for size in SIZES)} | |\n| --- | --- | --- | --- | --- | --- |\n"
        + "\n".join(rows)
    )
