"""Every page of the console with 100,000 tokens: how soon its first byte comes, and how large it is."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import sqlite3
import statistics
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from benchmarks.stores import Server, on_postgresql
from postgres import Cluster

from mlplatform_client.local import LocalPlatform

TITLE = "The console with 100,000 tokens"
TOKENS = 100_000
RUNS = 15
DAY = 86_400_000_000

PAGES = [
    "/tokens",
    "/tokens?older=50000",
    "/tokens?newer=50000",
    "/tokens?older=26",
    "/tokens?q=team-099",
    "/tokens?q=nobody+has+this+name",
    "/tokens?q=никто",
    "/tokens?q=ZZ",
    "/tokens?q=Жо",
    "/tokens?q=te",
    "/tokens?q=team",
    "/tokens?q=team&older=50000",
    "/tokens?q=team&ending=1",
    "/tokens?ending=1",
    "/tokens?ending=1&q=nobody+has+this+name",
    "/tokens/new",
    "/tokens/tok_seed00000000000001/delete",
    "/tokens/tok_seed00000000000001/rotate",
    "/registration-tokens",
    "/registration-tokens?older=50000",
    "/registration-tokens?show=waiting",
    "/registration-tokens?show=replayed",
    "/registration-tokens?q=nobody+has+this+name",
    "/registration-tokens?q=ZZ",
    "/registration-tokens?q=team",
    "/registration-tokens?q=team&show=replayed",
    "/registration-tokens/new",
    "/audit",
    "/audit?token=team-050000",
    "/audit?action=delete_token&outcome=done",
    "/audit?since=2020-01-01T00:00&until=2020-02-01T00:00",
    "/audit?token=nobody",
    "/audit?action=sign_in&outcome=replay",
    "/audit/export?format=csv",
    "/audit/export?format=json&action=create_token",
    "/me",
]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def seed(data_dir: str, count: int = TOKENS) -> None:
    """Put that many access tokens, registration tokens and audit rows into the store; none of them has a value.

    Each thousandth token has issued the thousand from it on.
    """
    now = time.time_ns() // 1000
    numbers = range(1, count + 1)

    def issuer(n: int) -> str:
        return f"tok_seed{n - n % 1000 or 1:014}"

    with closing(sqlite3.connect(Path(data_dir) / "platform.sqlite3", timeout=30)) as store, store:
        store.executemany(
            "INSERT INTO register_tokens (id, digest, client_name, role, issuer_id, issuer_name, created_at, "
            "expires_at, redeemed_at, redeemed_address, replay_count, last_replay_at) "
            "VALUES (?, ?, ?, 'USER', ?, 'a lead', ?, ?, ?, ?, ?, ?)",
            (
                (
                    f"tok_seedreg{n:013}", _digest(f"r{n}"), f"team-{n:06}", issuer(n), now - n, now + DAY,
                    now if n % 10 else None, "192.0.2.1", n % 1000 == 0, now if n % 1000 == 0 else None,
                )
                for n in numbers
            ),
        )  # fmt: skip
        store.executemany(
            "INSERT INTO tokens (id, name, role, issuer_id, issuer_name, register_token_id, created_at, expires_at, "
            "last_used_at, last_used_address) VALUES (?, ?, 'USER', ?, 'a lead', ?, ?, ?, ?, '192.0.2.1')",
            (
                (
                    f"tok_seed{n:014}", f"team-{n:06} " + "🙂" * 50, issuer(n),
                    f"tok_seedreg{n:013}" if n % 10 else None, now - n,
                    None if n % 3 else now + (n % 400 + 1) * DAY, now - n,
                )
                for n in numbers
            ),
        )  # fmt: skip
        store.executemany(
            "INSERT INTO token_secrets (digest, token_id, created_at) VALUES (?, ?, ?)",
            ((_digest(f"t{n}"), f"tok_seed{n:014}", now) for n in numbers),
        )
        store.executemany(
            "INSERT INTO audit (at, actor, action, subject, address, request_id, outcome, detail, mac) "
            "VALUES (?, ?, 'create_token', ?, '192.0.2.1', 'req_0', 'done', '{\"name\":\"x\"}', zeroblob(32))",
            ((now, issuer(n), f"tok_seed{n:014}") for n in numbers),
        )


class Reader:
    """Somebody who is signed in, and reads nothing but times and sizes."""

    def __init__(self, platform: LocalPlatform | Server) -> None:
        address = urlsplit(platform.url)
        self.connection = http.client.HTTPConnection(address.hostname or "", address.port)
        form = urlencode({"token": str(platform.admin_token)})
        headers = {"Origin": platform.url, "Content-Type": "application/x-www-form-urlencoded"}
        self.connection.request("POST", "/sign-in", form, headers)
        answer = self.connection.getresponse()
        answer.read()
        self.cookie = (answer.getheader("Set-Cookie") or "").split(";")[0]

    def get(self, path: str) -> tuple[float, int]:
        """Milliseconds to the first byte, and bytes."""
        path = re.sub("[^\x00-\x7f]+", lambda found: urlencode({"": found.group()})[1:], path)
        began = time.perf_counter()
        self.connection.request("GET", path, headers={"Cookie": self.cookie, "Accept": "text/html"})
        answer = self.connection.getresponse()
        first = (time.perf_counter() - began) * 1000
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status}")
        if answer.getheader("Content-Disposition"):  # a file of all rows: it has no bound, and is not waited for
            self.connection.close()
            return first, 0
        return first, len(answer.read())


def measure(platform: LocalPlatform | Server, runs: int = RUNS) -> dict[str, tuple[float, int]]:
    """Of each page the median time to its first byte, in milliseconds, and its size."""
    reader = Reader(platform)
    times: dict[str, list[float]] = {page: [] for page in PAGES}
    sizes = {page: reader.get(page)[1] for page in PAGES}
    for _ in range(runs):
        for page in PAGES:
            times[page].append(reader.get(page)[0])
    reader.connection.close()
    return {page: (statistics.median(times[page]), sizes[page]) for page in PAGES}


def run() -> str:
    with contextlib.ExitStack() as stack:
        platform = stack.enter_context(LocalPlatform())
        seed(platform.data_dir)
        cluster = stack.enter_context(Cluster(settings=("shared_buffers=128MB",)))
        moved = stack.enter_context(on_postgresql(cluster, lambda platform: seed(platform.data_dir)))
        sqlite, postgresql = measure(platform), measure(moved[0])
    rows = [
        f"| `{page}` | {ms:.1f} | {postgresql[page][0]:.1f} | {size / 1000:.0f} |"
        for page, (ms, size) in sqlite.items()
    ]
    head = (
        f"As many registration tokens and audit rows beside them. Median of {RUNS} requests on one connection.\n\n"
        "| page | first byte on SQLite, ms | on PostgreSQL, ms | size, KB |\n| --- | --- | --- | --- |\n"
    )
    return head + "\n".join(rows)
