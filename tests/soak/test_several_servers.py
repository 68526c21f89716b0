"""Two and three servers on one PostgreSQL, whatever happens to them and to it."""

from __future__ import annotations

import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults.kill import Ledger, load
from faults.replicas import Replicas, kill_any, race_for_names, redeem_at_once, rotate_beside_exchanges, until
from figures import Figure
from postgres import Cluster

KILLS = 60
REDEEMS = 1024
ROTATIONS = 100
NAMES = 100
RESTARTS = 10


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL of these tests' own."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(params=[2, 3])
def replicas(request: pytest.FixtureRequest, cluster: Cluster, tmp_path: Path) -> Iterator[Replicas]:
    """Two servers, and three."""
    with Replicas(tmp_path, cluster, request.param) as replicas:
        yield replicas


def test_races(replicas: Replicas, figure: Figure) -> None:
    began = time.monotonic()
    answers = Counter(answer.status for answer in redeem_at_once(replicas, REDEEMS))
    took = time.monotonic() - began
    # The rate limit of each server answers some of those that came too late.
    assert answers[201] == 1
    assert set(answers) <= {201, 403, 429}
    exchanges = rotate_beside_exchanges(replicas, ROTATIONS)
    race_for_names(replicas, NAMES)
    replicas.verify_audit()
    servers = len(replicas.servers)
    figure(
        f"with {servers} servers, one of {REDEEMS} racing redeems succeeds; a rotated value is good at none of them; "
        "one of the tokens of one name is made",
        f"{answers[201]} of {REDEEMS} in {took:.1f} s; {ROTATIONS} rotations beside {exchanges} exchanges; "
        f"{NAMES} names; chain whole",
    )


def test_kills(replicas: Replicas, figure: Figure) -> None:
    ledger, starts = kill_any(replicas, KILLS)
    assert len(ledger.failures) < KILLS / 10
    replicas.check(ledger)
    figure(
        f"with {len(replicas.servers)} servers, `kill -9` of any of them under load loses nothing that was "
        "acknowledged, brings nothing back, and leaves the audit chain whole",
        f"{KILLS} kills; {len(ledger.living)} living and {len(ledger.dead)} deleted tokens as acknowledged; "
        f"{len(ledger.failures)} calls failed after all attempts; "
        f"start: median {statistics.median(starts) * 1000:.0f} ms, longest {max(starts) * 1000:.0f} ms",
    )


class Pauses:
    """How long nothing was acknowledged, at most."""

    def __init__(self, ledger: Ledger) -> None:
        self.longest, self._ledger, self._over = 0.0, ledger, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        seen, since = self._ledger.acknowledged, time.monotonic()
        while not self._over.wait(0.005):
            now = time.monotonic()
            if self._ledger.acknowledged != seen:
                seen, since = self._ledger.acknowledged, now
            self.longest = max(self.longest, now - since)

    def __enter__(self) -> Pauses:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@contextmanager
def _under_load(replicas: Replicas, urls: list[str]) -> Iterator[Ledger]:
    ledger = Ledger()
    with load(replicas.token, urls, ledger):
        ledger.wait_for(10)
        yield ledger
        ledger.wait_for(10)
    replicas.check(ledger)


def test_a_server_that_stands_still(replicas: Replicas, figure: Figure) -> None:
    one = replicas.servers[0]
    until(lambda: one.ready()["jobs"] == "active")
    with (
        _under_load(replicas, replicas.urls[1:]) as ledger,
        load(replicas.token, [one.url], Ledger(), first=100),
        Pauses(ledger) as pauses,
    ):
        for _ in range(5):
            one.send(signal.SIGSTOP)
            ledger.wait_for(50)
            one.send(signal.SIGCONT)
            ledger.wait_for(10)
    # The database ends its transactions, one after the other, after 3 seconds each; then it is somebody else's turn.
    assert pauses.longest < 8
    assert not ledger.failures
    figure(
        f"with {len(replicas.servers)} servers, one that stands still (`SIGSTOP`, in the middle of changes) holds up "
        "the others for less than 8 s",
        f"5 times; the longest time without a change was {pauses.longest:.1f} s; no call failed",
    )


def _ready_again(replicas: Replicas) -> float:
    began = time.monotonic()
    for server in replicas.servers:
        until(lambda server=server: server.ready().get("status") == "ready", 60)  # type: ignore[misc]
    return time.monotonic() - began


def test_a_database_that_restarts(replicas: Replicas, figure: Figure) -> None:
    ready, acknowledged = [], []
    with _under_load(replicas, replicas.urls) as ledger:
        for number in range(RESTARTS):
            # In order, and as a loss of power would.
            replicas.cluster.end(signal.SIGQUIT if number % 2 else signal.SIGINT)
            replicas.cluster.start()
            began = time.monotonic()
            ledger.wait_for(1)
            acknowledged.append(time.monotonic() - began)
            ready.append(_ready_again(replicas))
            ledger.wait_for(10)
    figure(
        f"with {len(replicas.servers)} servers, a PostgreSQL that is restarted under load loses nothing, and the "
        "servers find it again by themselves",
        f"{RESTARTS} restarts, half of them as after a loss of power; "
        f"{len(ledger.failures)} calls failed after all attempts; after the database answers, the first change after "
        f"at most {max(acknowledged):.1f} s, all servers ready {max(ready):.1f} s later",
    )


def test_a_database_that_stands_still(replicas: Replicas, figure: Figure) -> None:
    with _under_load(replicas, replicas.urls) as ledger:
        replicas.cluster.signal_all(signal.SIGSTOP)
        try:
            unready = until(lambda: replicas.servers[0].ready().get("checks", {}).get("store") != "ok")  # type: ignore[attr-defined]
            answers = [server.post("/v1_0/sessions", {"refresh_token": replicas.token}) for server in replicas.servers]
            time.sleep(20)
        finally:
            replicas.cluster.signal_all(signal.SIGCONT)
        began = time.monotonic()
        ledger.wait_for(1)
        took = time.monotonic() - began
        ready = _ready_again(replicas)
    assert {(answer.status, answer.retry_after) for answer in answers} == {(503, "1")}
    figure(
        f"with {len(replicas.servers)} servers, a PostgreSQL that stands still is told of, and nothing is lost",
        f"not ready after {unready:.1f} s; 503 with `Retry-After` after at most "
        f"{max(answer.seconds for answer in answers):.1f} s; afterwards the first change after {took:.1f} s, "
        f"all servers ready {ready:.1f} s later",
    )
