"""Waiting for jobs, and jobs as handles. The platform's jobs are shell scripts."""

from __future__ import annotations

import asyncio
import datetime
import os
import pickle
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import stand_in
from faults.kill import Server
from jobs import manifest, new_cluster, until

from mlplatform_client import MLPlatform
from mlplatform_client.aio import AsyncMLPlatform, AsyncSparkJob
from mlplatform_client.core.exceptions import (
    BadRequestException,
    ClosedException,
    MLPlatformException,
    NotFoundException,
    SparkJobFailed,
    TimeoutException,
)
from mlplatform_client.core.spark_job import SparkJob
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.spark_proxy import K8sSparkJobInfo


@pytest.fixture(scope="module")
def cluster(admin: MLPlatform) -> Iterator[str]:
    cluster = new_cluster(admin, "waits")
    yield cluster
    admin.delete_cluster(cluster)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Jobs end when it is there."""
    return tmp_path / "gate"


def _submit(mlp: MLPlatform, cluster: str, name: str, program: str, **spec: Any) -> K8sSparkJobInfo:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"mlplatform-waits-{os.getpid()}.py"
    path.write_text(program)
    try:
        return mlp.spark_submit_job(cluster, manifest(name, **spec), path)
    finally:
        path.unlink()


def _behind(gate: Path, then: str = "") -> str:
    return f"while ! [ -e '{gate}' ]; do sleep 0.02; done\n{then}\n"


def test_a_wait_tells_what_happens_and_ends_with_the_job(admin: MLPlatform, cluster: str, gate: Path) -> None:
    seen: list[K8sSparkJobInfo] = []

    def note(info: K8sSparkJobInfo) -> None:
        seen.append(info)
        if info.status == "RUNNING":
            gate.touch()

    job = _submit(admin, cluster, "told", _behind(gate, "echo done")).job()
    assert job == admin.spark_job(cluster, "told")
    info = job.wait(on_update=note)
    assert (info.job_name, info.status) == ("told", "COMPLETED")
    statuses = [info.status for info in seen]
    assert statuses[-2:] == ["RUNNING", "COMPLETED"]
    assert len(set(statuses)) == len(statuses)
    assert admin.wait_for_spark_job(cluster, "told", "running").status == "COMPLETED"
    assert str(job.logs(wait=0)) == "done\n"
    assert job.info().status == job.explain().status == "COMPLETED"
    assert job.describe().status["applicationState"]["state"] == "COMPLETED"
    assert {event.job_name for event in job.events()} == {"told"}
    job.delete()
    with pytest.raises(NotFoundException):
        job.wait()


def test_the_end_is_seen_soon(admin: MLPlatform, cluster: str, gate: Path) -> None:
    """From the time of the event in which the platform noted it."""
    late = []
    for number in range(5):
        job = _submit(admin, cluster, f"soon-{number}", _behind(gate)).job()
        job.wait("running")
        gate.touch()
        job.wait()
        seen = datetime.datetime.now(datetime.timezone.utc)
        late.append((seen - list(job.events())[-1].time).total_seconds())
        gate.unlink()
    assert min(late) < 0.2, late


def test_until_it_runs(admin: MLPlatform, cluster: str, gate: Path) -> None:
    _submit(admin, cluster, "runs", _behind(gate))
    assert admin.wait_for_spark_job(cluster, "runs", until="running").status == "RUNNING"
    gate.touch()
    assert admin.wait_for_spark_job(cluster, "runs").status == "COMPLETED"


def test_a_failed_job_says_why(admin: MLPlatform, cluster: str) -> None:
    _submit(admin, cluster, "fails", "seq 60\necho \"ModuleNotFoundError: No module named 'nltk'\" >&2\nexit 3\n")
    for goal in ("completed", "running"):
        with pytest.raises(SparkJobFailed, match="the job 'fails' failed: ") as caught:
            admin.wait_for_spark_job(cluster, "fails", goal)
        error = caught.value
        assert error.explanation == admin.spark_job_explain(cluster, "fails")
        assert error.explanation.sentence in str(error)
        assert error.hint == error.explanation.remedy
        lines = error.log.splitlines()
        assert (len(lines), lines[0], lines[-1]) == (50, "12", "ModuleNotFoundError: No module named 'nltk'")
        assert error.events
        assert any("WARNING" in event for event in error.events)
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (SparkJobFailed, str(error), vars(error))


def test_a_retry_is_no_failure(admin: MLPlatform, cluster: str, tmp_path: Path) -> None:
    policy = {"type": "OnFailure", "onFailureRetries": 2, "onFailureRetryInterval": 1}
    program = f"[ -e {tmp_path}/second ] && exit 0\ntouch {tmp_path}/second\nexit 1\n"
    _submit(admin, cluster, "retried", program, restartPolicy=policy)
    seen: list[str] = []
    admin.wait_for_spark_job(cluster, "retried", on_update=lambda info: seen.append(info.status))
    assert seen[-1] == "COMPLETED"
    assert {"FAILING", "PENDING_RERUN"} & set(seen), seen


def test_a_wait_that_is_over_says_why_the_job_waits(admin: MLPlatform, cluster: str) -> None:
    pod = {"memory": "512m", "cores": 100}
    _submit(admin, cluster, "large", "exit 0\n", driver=pod)
    said = "the job 'large' is SUBMITTED after a wait of 1 s. The job 'large' asks for more than the cluster has"
    with pytest.raises(TimeoutException, match=re.escape(said)) as caught:
        admin.wait_for_spark_job(cluster, "large", timeout=1)
    assert caught.value.hint
    gone: list[BaseException] = []

    def wait() -> None:
        try:
            admin.wait_for_spark_job(cluster, "large", on_update=lambda _: waits.set())
        except BaseException as error:
            gone.append(error)

    waits = threading.Event()
    thread = threading.Thread(target=wait)
    thread.start()
    assert waits.wait(30)
    admin.spark_delete_job(cluster, "large")
    thread.join(30)
    assert [type(error) for error in gone] == [NotFoundException]
    assert "was deleted during the wait" in str(gone[0])


def test_wrong_waits(admin: MLPlatform, cluster: str) -> None:
    with pytest.raises(NotFoundException, match="no job named 'nobody'"):
        admin.wait_for_spark_job(cluster, "nobody")
    with pytest.raises(NotFoundException):
        admin.wait_for_spark_job("nothing", "nobody")
    with pytest.raises(BadRequestException, match="use 'completed' or 'running'"):
        admin.wait_for_spark_job(cluster, "nobody", until="over")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="on_update must be callable"):
        admin.wait_for_spark_job(cluster, "nobody", on_update=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="did you mean 'timeout'"):
        admin.wait_for_spark_job(cluster, "nobody", timeot=5)  # type: ignore[call-arg]
    _submit(admin, cluster, "raises", "exit 0\n")
    with pytest.raises(ZeroDivisionError):
        admin.wait_for_spark_job(cluster, "raises", on_update=lambda _: 1 / 0)


def test_a_description_knows_its_job_until_it_is_copied(admin: MLPlatform, cluster: str) -> None:
    info = _submit(admin, cluster, "handle", "exit 0\n")
    assert isinstance(info.job(), SparkJob)
    assert info.job() == next(info for info in admin.spark_jobs_list(cluster) if info.job_name == "handle").job()
    assert repr(info.job()) == f"<SparkJob job_name='handle' cluster_id='{cluster}'>"
    again = pickle.loads(pickle.dumps(info))
    assert (again, hash(again), repr(again)) == (info, hash(info), repr(info))
    with pytest.raises(MLPlatformException) as caught:
        again.job()
    assert caught.value.hint == "mlp.spark_job(cluster_id, 'handle') returns a handle"


def test_close_ends_waits(platform: LocalPlatform, admin: MLPlatform, cluster: str, gate: Path) -> None:
    _submit(admin, cluster, "closes", _behind(gate))
    mlp = MLPlatform(platform.admin_token, url=platform.url)
    with pytest.raises(ClosedException):
        mlp.wait_for_spark_job(cluster, "closes", on_update=lambda _: mlp.close())
    gate.touch()


# --- awaited


def test_awaited(platform: LocalPlatform, admin: MLPlatform, cluster: str, gate: Path) -> None:
    async def story() -> None:
        async with AsyncMLPlatform(platform.admin_token, url=platform.url) as mlp:
            path = gate.with_name("job.py")
            path.write_text(_behind(gate, "echo done"))
            info = await mlp.spark_submit_job(cluster, manifest("awaited"), path)
            job: Any = info.job()
            assert type(job) is AsyncSparkJob
            assert job == await mlp.spark_job(cluster, "awaited")
            seen: list[str] = []

            async def note(info: K8sSparkJobInfo) -> None:
                await asyncio.sleep(0)
                seen.append(info.status)
                if info.status == "RUNNING":
                    gate.touch()

            assert (await job.wait(on_update=note)).status == "COMPLETED"
            assert seen[-2:] == ["RUNNING", "COMPLETED"]
            assert str(await job.logs(wait=0)) == "done\n"
            assert {event.job_name for event in await job.events()} == {"awaited"}
            await job.delete()
            with pytest.raises(NotFoundException):
                await job.info()

    asyncio.run(story())


def _polls(platform: LocalPlatform) -> int:
    """How many long polls the server has answered; each is a line of its log when its answer begins."""
    return (Path(platform.data_dir) / "server.log").read_text().count("/job-changes ")


def test_many_waits_share_their_polls(platform: LocalPlatform, admin: MLPlatform, cluster: str, gate: Path) -> None:
    names = [f"many-{number}" for number in range(8)]
    for name in names:
        _submit(admin, cluster, name, _behind(gate))
    before = _polls(platform)

    async def story() -> list[str]:
        async with AsyncMLPlatform(platform.admin_token, url=platform.url) as mlp:
            waits = [asyncio.ensure_future(mlp.wait_for_spark_job(cluster, name)) for name in names * 20]
            await mlp.wait_for_spark_job(cluster, names[0], "running")
            gate.touch()
            return [info.status for info in await asyncio.gather(*waits)]

    assert asyncio.run(story()) == ["COMPLETED"] * 160
    # One to begin with, and one for each batch of changes: jobs start and end, each with a few events.
    assert _polls(platform) - before < 80


def test_who_gives_up_leaves_no_poll_behind(
    platform: LocalPlatform, admin: MLPlatform, cluster: str, gate: Path
) -> None:
    """Seen at the server: its connections are no more."""
    _submit(admin, cluster, "given-up", _behind(gate))
    server = platform.pid

    def sockets() -> int:
        count = 0
        for entry in Path(f"/proc/{server}/fd").iterdir():
            try:
                count += os.readlink(entry).startswith("socket:")
            except OSError:
                continue
        return count

    async def story() -> None:
        mlp = AsyncMLPlatform(platform.admin_token, url=platform.url)
        waits = [asyncio.ensure_future(mlp.wait_for_spark_job(cluster, "given-up")) for _ in range(20)]
        await mlp.wait_for_spark_job(cluster, "given-up", "running")
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        await mlp.close()

    before = sockets()
    asyncio.run(story())
    until(lambda: sockets() <= before, 15)
    gate.touch()


def test_a_wait_outlives_the_server(tmp_path: Path, gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed and started again twice, and the job goes on meanwhile."""
    monkeypatch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(tmp_path)))
    with Server(tmp_path / "data") as server:
        server.start()
        admin = MLPlatform(server.admin_token, url=server.url)
        cluster = admin.get_clusters()[0].id
        _submit(admin, cluster, "outlives", _behind(gate))
        ended: list[str] = []
        runs = threading.Event()

        def note(info: K8sSparkJobInfo) -> None:
            if info.status == "RUNNING":
                runs.set()

        def wait() -> None:
            ended.append(admin.wait_for_spark_job(cluster, "outlives", on_update=note).status)

        thread = threading.Thread(target=wait)
        thread.start()
        assert runs.wait(60)
        for _ in range(2):
            server.kill()
            server.start()
        server.kill()
        gate.touch()
        server.start()
        thread.join(60)
        assert ended == ["COMPLETED"]
