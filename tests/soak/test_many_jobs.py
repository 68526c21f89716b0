"""Many jobs, large logs, and what SIGKILL leaves behind."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, stand_in
from figures import Figure
from jobs import FINAL, manifest, processes, until

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import MLPlatformException, NotFoundException
from mlplatform_client.local import LocalPlatform


def resident(pid: int) -> int:
    """MiB that a process has in memory at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:", 1)[1].split()[0]) // 1024


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], LocalPlatform]]:
    """Starts a platform, again and again in one directory, whose jobs are shell scripts."""
    monkeypatch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(tmp_path)))
    started: list[LocalPlatform] = []

    def start() -> LocalPlatform:
        started.append(LocalPlatform(tmp_path / "data"))
        return started[-1]

    yield start
    for platform in started:
        platform.stop()


def client(platform: LocalPlatform) -> tuple[MLPlatform, str]:
    mlp = MLPlatform(platform.admin_token, url=platform.url)
    return mlp, mlp.get_clusters()[0].id


@pytest.mark.timeout(1800)
def test_two_hundred_jobs(scripts: Callable[[], LocalPlatform], tmp_path: Path, figure: Figure) -> None:
    platform = scripts()
    mlp, cluster = client(platform)
    program = tmp_path / "job.py"
    record = tmp_path / "record"
    program.write_text(f"echo $1 >> {record}; sleep 0.2\n")
    began = time.monotonic()
    for number in range(200):
        mlp.spark_submit_job(cluster, manifest(f"job-{number}", arguments=[str(number)]), program)
    calls = []

    def done() -> bool:
        before = time.monotonic()
        jobs = mlp.spark_jobs_list(cluster)
        calls.append(time.monotonic() - before)
        assert len(jobs) == 200
        return all(job.status in FINAL for job in jobs)

    until(done, 1500)
    assert {job.status for job in mlp.spark_jobs_list(cluster)} == {"COMPLETED"}
    ran = [int(line) for line in record.read_text().split()]
    assert sorted(ran) == list(range(200)), "each once"
    # Four run at once: nobody is more than those before its turn.
    assert max(abs(number - place) for place, number in enumerate(ran)) <= 8
    memory = resident(platform.pid)
    assert memory < 200
    slow = sorted(calls)[int(len(calls) * 0.99)] * 1000
    figure(
        "200 jobs: all end, none runs twice, the order is kept",
        f"{time.monotonic() - began:.0f} s; server {memory} MiB; a list of them "
        f"{statistics.median(calls) * 1000:.0f} ms, 99th percentile {slow:.0f} ms",
    )


@pytest.mark.timeout(3600)
def test_ten_real_jobs_at_once(figure: Figure) -> None:
    pytest.importorskip("pyspark")
    with LocalPlatform() as platform:
        mlp, cluster = client(platform)
        began = time.monotonic()
        with ThreadPoolExecutor(10) as pool:
            for number in range(10):
                pool.submit(
                    mlp.spark_submit_job, cluster, manifest(f"pi-{number}"), ROOT / "examples" / "calculate-pi.py"
                )
        calls = []

        def done() -> bool:
            before = time.monotonic()
            mlp.who_am_i()
            calls.append(time.monotonic() - before)
            jobs = mlp.spark_jobs_list(cluster)
            return len(jobs) == 10 and all(job.status in FINAL for job in jobs)

        until(done, 3000)
        for number in range(10):
            assert str(mlp.spark_job_logs(cluster, f"pi-{number}")).count("Pi is roughly") == 1
        memory = resident(platform.pid)
        assert memory < 200
        figure(
            "ten real Spark jobs submitted at once: all end well, none runs twice",
            f"{time.monotonic() - began:.0f} s; server {memory} MiB; who_am_i meanwhile "
            f"{statistics.median(calls) * 1000:.1f} ms",
        )


@pytest.mark.timeout(900)
def test_a_large_log_takes_no_memory(scripts: Callable[[], LocalPlatform], tmp_path: Path, figure: Figure) -> None:
    platform = scripts()
    mlp, cluster = client(platform)
    program = tmp_path / "job.py"
    size = 200 * 1024 * 1024
    program.write_text(f"yes 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde | head -c {size}\n")
    mlp.spark_submit_job(cluster, manifest("loud"), program)
    until(lambda: mlp.spark_job_info(cluster, "loud").status in FINAL)
    before = resident(platform.pid)
    began = time.monotonic()
    log = mlp.spark_job_logs(cluster, "loud", timeout=600).logs
    seconds = time.monotonic() - began
    assert len(log) == size
    grown = resident(platform.pid) - before
    assert grown < 20
    assert len(mlp.spark_job_logs(cluster, "loud", tail=1000).logs.splitlines()) == 1000
    figure("a log of 200 MiB: the server's memory stays flat", f"{grown} MiB more, {200 / seconds:.0f} MiB/s")


SECRET = """apiVersion: v1
kind: Secret
metadata:
  name: needed
stringData:
  KEY: value
"""
STATES = ("SUBMITTED", "RUNNING", "FAILING", "SUBMISSION_FAILED", "PENDING_RERUN", "COMPLETED", "FAILED")
# Where time goes on by itself, the state may have moved on when it is asked for.
MOVED_ON = {"FAILING": ("PENDING_RERUN", "RUNNING"), "SUBMISSION_FAILED": ("PENDING_RERUN",)}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("state", STATES)
def test_kill_9_of_the_server(scripts: Callable[[], LocalPlatform], tmp_path: Path, state: str, figure: Figure) -> None:
    """In each state of a job: after the restart state, log and events are right, and nothing is left behind."""
    platform = scripts()
    mlp, cluster = client(platform)
    gate, secret = tmp_path / "gate", tmp_path / "secret.yaml"
    mark = f"{tmp_path}/gate"
    waits = f"while [ ! -e {gate} ]; do sleep 0.05; done"
    program = tmp_path / "job.py"
    secret.write_text(SECRET)
    spec: dict[str, Any] = {}

    def fill() -> None:
        """Take all places before it is its turn."""
        program.write_text(f"{waits}\n")
        for number in range(4):
            mlp.spark_submit_job(cluster, manifest(f"before-{number}"), program)
        program.write_text("echo ran\n")

    if state == "SUBMITTED":
        fill()
    elif state == "SUBMISSION_FAILED":
        fill()
        mlp.create_secret_from_yaml(cluster, secret)
        spec["driver"] = {"memory": "512m", "envFrom": [{"secretRef": {"name": "needed"}}]}
        numbers = {"onSubmissionFailureRetries": 100, "onSubmissionFailureRetryInterval": 1}
        spec["restartPolicy"] = {"type": "OnFailure", **numbers}
    elif state == "RUNNING":
        program.write_text(f"echo begun; {waits}; echo ran\n")
    elif state in ("FAILING", "PENDING_RERUN"):
        once = tmp_path / "once"
        program.write_text(f"if [ ! -e {once} ]; then touch {once}; exit 1; fi; echo ran\n")
        interval = 5 if state == "FAILING" else 1
        spec["restartPolicy"] = {"type": "OnFailure", "onFailureRetries": 1, "onFailureRetryInterval": interval}
    else:
        program.write_text(f"echo ran; exit {int(state == 'FAILED')}\n")
    mlp.spark_submit_job(cluster, manifest("subject", **spec), program)
    if state == "PENDING_RERUN":
        until(lambda: mlp.spark_job_info(cluster, "subject").status == "FAILING")
        fill()
    elif state == "SUBMISSION_FAILED":
        mlp.delete_secret(cluster, "needed")
        gate.touch()
    until(lambda: mlp.spark_job_info(cluster, "subject").status == state)
    os.kill(platform.pid, signal.SIGKILL)
    platform.stop()
    mlp, cluster = client(scripts())
    assert mlp.spark_job_info(cluster, "subject").status in (state, *MOVED_ON.get(state, ()))
    if state == "SUBMISSION_FAILED":
        mlp.create_secret_from_yaml(cluster, secret)
    gate.touch()
    until(lambda: mlp.spark_job_info(cluster, "subject").status in FINAL)
    assert mlp.spark_job_info(cluster, "subject").status == ("FAILED" if state == "FAILED" else "COMPLETED")
    assert str(mlp.spark_job_logs(cluster, "subject")).count("ran\n") == 1
    reasons = [event.reason for event in mlp.spark_events(cluster) if event.job_name == "subject"]
    assert reasons.count("Started") == reasons.count("SparkDriverCompleted") + reasons.count("SparkDriverFailed")
    assert ("SparkApplicationSubmissionFailed" in reasons) == (state == "SUBMISSION_FAILED")
    until(lambda: all(job.status in FINAL for job in mlp.spark_jobs_list(cluster)))
    until(lambda: not processes(mark), 10)
    figure("`kill -9` of the server in each state of a job", "state, log and events are right, no process is left")


@pytest.mark.timeout(600)
def test_kill_9_while_a_job_is_deleted(scripts: Callable[[], LocalPlatform], tmp_path: Path, figure: Figure) -> None:
    platform = scripts()
    mlp, cluster = client(platform)
    program, mark = tmp_path / "job.py", f"{tmp_path}/never"
    program.write_text(f"trap 'echo asked' TERM; echo begun; while [ ! -e {mark} ]; do sleep 0.05; done\n")
    mlp.spark_submit_job(cluster, manifest("subject"), program)
    until(lambda: str(mlp.spark_job_logs(cluster, "subject", wait=0)) == "begun\n")
    with ThreadPoolExecutor(1) as pool:
        deleting = pool.submit(mlp.spark_delete_job, cluster, "subject", timeout=5)
        until(lambda: "asked" in str(mlp.spark_job_logs(cluster, "subject", wait=0)))
        assert not deleting.done(), "it returns when no process is left"
        os.kill(platform.pid, signal.SIGKILL)
        with pytest.raises(MLPlatformException):
            deleting.result()
    platform.stop()
    mlp, cluster = client(scripts())
    with pytest.raises(NotFoundException):
        mlp.spark_job_info(cluster, "subject")
    until(lambda: not processes(mark) and not processes(f"{tmp_path}/data/buckets"), 20)
    reasons = [event.reason for event in mlp.spark_events(cluster)]
    until(lambda: [event.reason for event in mlp.spark_events(cluster)][-1] == "Killing", 10)
    assert reasons.count("SparkApplicationDeleted") == 1
    figure("`kill -9` of the server while a job is deleted", "it is deleted, no process is left")


@pytest.mark.timeout(600)
def test_kill_9_at_any_moment(scripts: Callable[[], LocalPlatform], tmp_path: Path, figure: Figure) -> None:
    """While jobs start and end: each runs once, whatever was under way."""
    record = tmp_path / "record"
    program = tmp_path / "job.py"
    program.write_text(f"echo $1 >> {record}\n")
    submitted = 0
    for turn in range(20):
        platform = scripts()
        mlp, cluster = client(platform)
        for _ in range(10):
            mlp.spark_submit_job(cluster, manifest(f"job-{submitted}", arguments=[str(submitted)]), program)
            submitted += 1
        time.sleep(0.03 * turn)  # not a wait: the moment of the kill is what is varied
        os.kill(platform.pid, signal.SIGKILL)
        platform.stop()
    mlp, cluster = client(scripts())
    until(lambda: all(job.status in FINAL for job in mlp.spark_jobs_list(cluster)), 300)
    ran = sorted(int(line) for line in record.read_text().split())
    assert ran == list(range(submitted)), "each once"
    figure("20 times `kill -9` of the server while jobs start and end", f"{submitted} jobs, each ran once")
