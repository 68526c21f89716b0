"""Two and three servers on one PostgreSQL; `tests/soak/test_several_servers.py` does the same for longer."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults.kill import Ledger, load
from faults.replicas import (
    Replicas,
    kill_any,
    race_for_names,
    redeem_at_once,
    rotate_beside_exchanges,
    small_disk,
    until,
)
from jobs import FINAL, manifest
from postgres import Cluster
from served import get

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import ConflictException
from mlplatform_client.serializers.auth import MLPTokenType

KILLS = 6
REDEEMS = 256
# A database that does not answer is given up after this.
SILENCE = 17.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL of these tests' own."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def two(cluster: Cluster, tmp_path: Path) -> Iterator[Replicas]:
    """Two servers."""
    with Replicas(tmp_path, cluster, 2) as replicas:
        yield replicas


@pytest.fixture
def three(cluster: Cluster, tmp_path: Path) -> Iterator[Replicas]:
    """Three servers."""
    with Replicas(tmp_path, cluster, 3) as replicas:
        yield replicas


def test_of_racing_redeems_one_succeeds(three: Replicas) -> None:
    answers = redeem_at_once(three, REDEEMS)
    assert Counter(answer.status for answer in answers) == {201: 1, 403: REDEEMS - 1}
    three.verify_audit()


def test_a_rotated_value_is_good_nowhere(three: Replicas) -> None:
    assert rotate_beside_exchanges(three, 10) > 10
    three.verify_audit()


def test_of_racing_names_one_is_given(three: Replicas) -> None:
    race_for_names(three, 10)
    three.verify_audit()


@pytest.mark.slow
def test_servers_that_are_killed_lose_nothing(three: Replicas) -> None:
    ledger, _ = kill_any(three, KILLS)
    three.check(ledger)


def _program(folder: Path, text: str) -> str:
    path = folder / "program.py"
    path.write_text(text)
    return f"local://{path}"


def _state(admin: MLPlatform, cluster: str, name: str) -> str:
    return str(admin.spark_job_info(cluster, name).status)


def test_one_runs_jobs_and_the_others_say_so(two: Replicas, tmp_path: Path) -> None:
    one, other = two.servers
    until(lambda: one.ready()["jobs"] == "active")
    assert other.ready()["jobs"] == "off"
    with two.admin(0) as here, two.admin(1) as there:
        cluster = here.get_clusters()[0].id
        program = _program(tmp_path, "echo hello; sleep 600")
        with pytest.raises(ConflictException, match="this server of the platform runs no jobs"):
            there.spark_submit_job(cluster, manifest("j", mainApplicationFile=program))
        here.spark_submit_job(cluster, manifest("j", mainApplicationFile=program))
        # What the store knows, each server says.
        until(lambda: _state(there, cluster, "j") == "RUNNING")
        for ask in (there.spark_job_logs, there.spark_job_explain):
            with pytest.raises(ConflictException, match="has none of their programs and logs"):
                ask(cluster, "j")
        until(lambda: "hello" in str(here.spark_job_logs(cluster, "j", wait=0)))
        # Which wakes the one that runs it.
        there.spark_delete_job(cluster, "j")
        assert not list(here.spark_jobs_list(cluster))
    assert 'mlplatform_jobs_role{role="active"} 1' in _metrics(two, 0)
    assert 'mlplatform_jobs_role{role="off"} 1' in _metrics(two, 1)


def _metrics(replicas: Replicas, number: int) -> str:
    server = replicas.servers[number]
    session = server.post("/v1_0/sessions", {"refresh_token": replicas.token}).body["session_token"]
    return get(server.url + "/metrics", str(session))[2]


@pytest.mark.slow
def test_a_second_server_with_jobs_is_refused(two: Replicas, tmp_path: Path) -> None:
    one, other = two.servers
    with two.admin(0) as admin:
        cluster = admin.get_clusters()[0].id
        admin.spark_submit_job(cluster, manifest("j", mainApplicationFile=_program(tmp_path, "sleep 600")))
        until(lambda: _state(admin, cluster, "j") == "RUNNING")
    assert other.stop() == 0
    other.jobs = True

    def refusal(*more: str) -> str:
        done = subprocess.run(other.command(*more), capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2, done
        return done.stderr

    assert "runs the jobs of this database on its machine, so no other can" in refusal()
    assert "start this one with --no-jobs" in refusal("--abandon-jobs")
    # It ends its jobs when its standard input does; one that is killed leaves them.
    one.kill()
    until(lambda: "with --abandon-jobs: these jobs have failed then" in refusal(), 30)
    other.start("--abandon-jobs")
    with two.admin(1) as admin:
        assert _state(admin, cluster, "j") == "FAILED"
    assert other.ready()["jobs"] == "active"
    assert "runs the jobs of this database" in subprocess.run(
        one.command(), capture_output=True, text=True, check=False, timeout=60
    ).stderr  # fmt: skip
    two.verify_audit()


@pytest.mark.slow
def test_a_holder_that_stands_still_holds_up_nobody(two: Replicas, tmp_path: Path) -> None:
    one, other = two.servers
    until(lambda: one.ready()["jobs"] == "active")
    with two.admin(0) as admin:
        cluster = admin.get_clusters()[0].id
        program = _program(tmp_path, f"while [ ! -e {tmp_path}/go ]; do sleep 0.1; done")
        admin.spark_submit_job(cluster, manifest("j", mainApplicationFile=program))
        until(lambda: _state(admin, cluster, "j") == "RUNNING")
    ledger = Ledger()
    with load(two.token, [other.url], ledger):
        ledger.wait_for(5)
        one.send(signal.SIGSTOP)
        # In the middle of a change, at worst, which the database ends after seconds.
        ledger.wait_for(20)
        (tmp_path / "go").touch()
        until(
            lambda: two.cluster.sql("SELECT ends_at < extract(epoch FROM now()) * 1e6 FROM leases", two.database) == "t"
        )
        one.send(signal.SIGCONT)
        # Its lease is another: nothing is done on the old one.
        until(lambda: two.cluster.sql("SELECT epoch FROM leases", two.database) == "2")
        with two.admin(1) as admin:
            until(lambda: _state(admin, cluster, "j") in FINAL)
            assert _state(admin, cluster, "j") == "COMPLETED"
    assert not ledger.failures
    two.check(ledger)


@pytest.mark.slow
def test_a_database_that_restarts_is_found_again(two: Replicas) -> None:
    ledger = Ledger()
    with load(two.token, two.urls, ledger):
        ledger.wait_for(10)
        two.cluster.end(signal.SIGQUIT)
        try:
            for server in two.servers:
                assert server.ready()["checks"]["store"] == "the store cannot be read and written"  # type: ignore[index]
                answer = server.post("/v1_0/sessions", {"refresh_token": two.token})
                assert (answer.status, answer.retry_after) == (503, "1")
                assert "its database does not answer" in str(answer.body)
                assert answer.seconds < SILENCE
        finally:
            two.cluster.start()
        for server in two.servers:
            until(lambda server=server: server.ready().get("status") == "ready", 10)  # type: ignore[misc]
        ledger.wait_for(10)
    two.check(ledger)


@pytest.mark.slow
def test_a_database_that_stands_still_is_told_of(two: Replicas) -> None:
    one = two.servers[0]
    until(lambda: one.ready()["jobs"] == "active")
    two.cluster.signal_all(signal.SIGSTOP)
    try:
        assert until(lambda: one.ready()["checks"]["store"] != "ok") < 5  # type: ignore[index]
        answer = one.post("/v1_0/sessions", {"refresh_token": two.token})
        assert (answer.status, answer.retry_after) == (503, "1")
        assert answer.seconds < SILENCE + 3
        assert get(one.url + "/healthz")[0] == 200
    finally:
        two.cluster.signal_all(signal.SIGCONT)
    for server in two.servers:
        until(lambda server=server: server.ready().get("status") == "ready", 30)  # type: ignore[misc]
    with two.admin(1) as admin:
        assert admin.who_am_i().name == "admin"
    until(lambda: one.ready()["jobs"] == "active", 30)
    two.verify_audit()


@pytest.mark.slow
def test_a_change_that_is_in_the_way_for_too_long_is_told_of(two: Replicas) -> None:
    one, other = two.servers
    session = str(one.post("/v1_0/sessions", {"refresh_token": two.token}).body["session_token"])
    fields = {"client_name": "late", "access_ttl": "1h", "token_type": "USER"}
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted"
    with ThreadPoolExecutor(1) as pool:
        # The lock that each change takes, held for longer than it is waited for.
        holder = pool.submit(two.cluster.sql, "SELECT pg_advisory_lock(7741302957118205), pg_sleep(14)", two.database)
        until(lambda: two.cluster.sql(held, two.database) == "1")
        answer = one.post("/v1_0/register-tokens", fields, session)
        assert (answer.status, answer.retry_after) == (503, "1")
        assert 9 < answer.seconds < 13
        # Who reads or exchanges does not wait for it, and the lease is kept.
        assert other.post("/v1_0/sessions", {"refresh_token": two.token}).seconds < 3
        assert one.ready()["jobs"] == "active"
        holder.result(60)
    assert one.post("/v1_0/register-tokens", fields, session).status == 201
    two.verify_audit()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted for this, which takes root")
def test_a_database_that_is_full_is_told_of(cluster: Cluster, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    with small_disk(disk):
        cluster.sql(f"CREATE TABLESPACE small LOCATION '{disk}'")
        cluster.sql("CREATE DATABASE full_one TABLESPACE small")
        with Replicas(tmp_path, cluster, 2, cluster.url("full_one")) as two:
            # What a new database consists of is on the disk then.
            cluster.sql("CHECKPOINT")
            filler = disk / "filler"
            free = os.statvfs(disk)
            filler.write_bytes(bytes(free.f_bavail * free.f_bsize - 256 * 1024))
            session = str(two.servers[0].post("/v1_0/sessions", {"refresh_token": two.token}).body["session_token"])

            def create(number: int, server: int) -> int:
                fields = {"client_name": f"one-{number}", "access_ttl": "1h", "token_type": "USER"}
                answer = two.servers[server].post("/v1_0/register-tokens", fields, session)
                assert answer.status in (201, 503), answer
                if answer.status == 503:
                    assert answer.retry_after
                    assert "disk is full" in str(answer.body)
                return answer.status

            made = next(number for number in range(5_000) if create(number, number % 2) == 503)
            assert made > 10
            # Who reads is answered.
            with two.admin(1) as admin:
                assert len(admin.get_register_tokens_info()) == made
            filler.unlink()
            for server in range(2):
                assert create(made + server, server) == 201
            for replica in two.servers:
                until(lambda replica=replica: replica.ready().get("status") == "ready", 10)  # type: ignore[misc]
            two.verify_audit()
        cluster.sql("DROP DATABASE full_one")
        cluster.sql("DROP TABLESPACE small")


def test_one_that_stops_is_not_ready_first(two: Replicas) -> None:
    one = two.servers[0]
    one.kill()
    one.start("--drain-delay", "2s")
    until(lambda: one.ready().get("status") == "ready")
    one.send(signal.SIGTERM)
    until(lambda: one.ready()["checks"]["serving"] == "the server is stopping")  # type: ignore[index]
    # It still answers those whom the balancer sends meanwhile.
    with two.admin(0) as admin:
        admin.create_register_token("late", "10m", token_type=MLPTokenType.USER)
    assert one.wait() == 0
    with two.admin(1) as admin:
        assert [info.client_name for info in admin.get_register_tokens_info()] == ["late"]
    # What stops gives its lease up: nobody waits for its end.
    assert two.cluster.sql("SELECT ends_at FROM leases", two.database) == "0"
