"""The methods about jobs, by position and by keyword; their classes and what they print. The jobs are shell scripts:
the real Spark is in test_spark.py."""

from __future__ import annotations

import copy
import itertools
import pickle
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Newcomer
from jobs import manifest, new_cluster, until

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import (
    BadRequestException,
    ConflictException,
    NotFoundException,
)
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.spark_proxy import (
    K8sSparkApplication,
    K8sSparkEvent,
    K8sSparkEventsList,
    K8sSparkJobExplanation,
    K8sSparkJobInfo,
    K8sSparkJobInfoDetail,
    K8sSparkJobLogs,
    K8sSparkJobsInfoList,
)

_numbers = itertools.count(1)


@pytest.fixture
def user(newcomer: Newcomer, platform: LocalPlatform) -> MLPlatform:
    """Everything here is for a User."""
    return MLPlatform(newcomer()[1], url=platform.url)


@pytest.fixture
def cluster(admin: MLPlatform) -> str:
    """A cluster of its own, so that a test's list and events are its own, too."""
    return new_cluster(admin, f"jobs-{next(_numbers)}")


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "job.py"
        path.write_text(text)
        return path

    return write


def test_the_documented_forms(user: MLPlatform, cluster: str, script: Callable[[str], Path]) -> None:
    program = script("echo Pi is roughly 3.14")
    job = user.spark_submit_job(cluster, manifest("pi-spark-job-1"), str(program))
    line = (
        r"job_name: pi-spark-job-1, status: SUBMITTED, created_at: \S+\+00:00 ui_url: http://\S+/pi-spark-job-1/jobs/"
    )
    assert re.fullmatch(line, str(job))
    logs = user.spark_job_logs(cluster, "pi-spark-job-1")
    assert logs.logs == str(logs) == f"{logs}" == "Pi is roughly 3.14\n"
    info = user.spark_job_info(cluster, "pi-spark-job-1")
    assert str(info) == (
        f"job_name: pi-spark-job-1\nstatus: COMPLETED\ncreated_at: {job.created_at}\nui_url: {job.ui_url}\n"
        "pod_status: Succeeded\npod_status_reason: None\npod_state: V1ContainerStateTerminated\n"
        "pod_state_reason: Completed\npod_state_reason_message: None"
    )
    jobs = user.spark_jobs_list(cluster)
    assert (len(jobs), jobs[0].job_name, jobs[-1], str(jobs)) == (1, "pi-spark-job-1", jobs[0], str(jobs[0]))
    assert [job.status for job in jobs] == ["COMPLETED"]
    events = user.spark_events(cluster)
    for event in str(events).splitlines():
        assert re.fullmatch(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d Job=pi-spark-job-1-driver NORMAL Pod .+", event)
    assert [event.reason for event in events][-1] == "SparkDriverCompleted"
    told = user.describe_spark_job(cluster, "pi-spark-job-1")
    keys = re.findall(r"^(\w+):", str(told), flags=re.MULTILINE)
    assert keys == ["apiVersion", "events", "kind", "metadata", "spec", "status"]
    assert told.status["applicationState"]["state"] == "COMPLETED"
    why = user.spark_job_explain(cluster, "pi-spark-job-1")
    assert (why.cause, str(why).splitlines()[0]) == ("completed", "The job 'pi-spark-job-1' ended well.")
    assert user.spark_delete_job(cluster, "pi-spark-job-1") is None  # type: ignore[func-returns-value]
    assert len(user.spark_jobs_list(cluster)) == 0
    assert str(user.spark_job_logs(cluster, "pi-spark-job-1")) == "Pi is roughly 3.14\n"
    with pytest.raises(NotFoundException):
        user.spark_job_info(cluster, "pi-spark-job-1")


def test_by_keyword(user: MLPlatform, cluster: str, script: Callable[[str], Path]) -> None:
    program = script("echo one; echo two; echo $1")
    job = user.spark_submit_job(
        cluster_id=cluster, manifest=manifest("kw", arguments=["three"]), pycode_file_path=program, timeout=60
    )
    assert job.job_name == "kw"
    assert user.spark_job_logs(cluster_id=cluster, job_name="kw", tail=1, wait=30, timeout=60).logs == "three\n"
    assert user.spark_job_logs(cluster, "kw", tail=0).logs == ""
    assert len(user.spark_jobs_list(cluster_id=cluster)) == 1
    assert user.spark_job_info(cluster_id=cluster, job_name="kw").status == "COMPLETED"
    assert user.describe_spark_job(cluster_id=cluster, job_name="kw").kind == "SparkApplication"
    assert len(user.spark_events(cluster_id=cluster)) == 4
    assert user.spark_job_explain(cluster_id=cluster, job_name="kw").status == "COMPLETED"
    with pytest.raises(TypeError, match=r"did you mean 'timeout'\?"):
        user.spark_delete_job(cluster, "kw", timeot=5)  # type: ignore[call-arg]
    with pytest.warns(UserWarning, match="spark_job_info\\(\\) ignores the keyword argument 'verbose'"):
        user.spark_job_info(cluster, "kw", verbose=True)
    user.spark_delete_job(cluster_id=cluster, job_name="kw")


def test_odd_bytes_are_shown(user: MLPlatform, cluster: str, script: Callable[[str], Path], tmp_path: Path) -> None:
    """While the job runs, when it is over, and when it is deleted."""
    gate, shown = tmp_path / "gate", "first\nü \\xff\n"
    program = script(rf"printf 'first\nü \377\n'; while [ ! -e {gate} ]; do sleep 0.05; done; printf '\303'")
    user.spark_submit_job(cluster, manifest("odd"), program)
    until(lambda: user.spark_job_logs(cluster, "odd", wait=0).logs == shown)
    assert user.spark_job_logs(cluster, "odd", tail=1, wait=0).logs == "ü \\xff\n"
    gate.touch()
    for _ in range(2):
        assert user.spark_job_logs(cluster, "odd").logs == f"{shown}\\xc3"
        assert user.spark_job_logs(cluster, "odd", tail=2).logs == "ü \\xff\n\\xc3"
        for job in user.spark_jobs_list(cluster):
            user.spark_delete_job(cluster, job.job_name)


def test_waiting_for_a_log(user: MLPlatform, cluster: str, script: Callable[[str], Path], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    user.spark_submit_job(
        cluster, manifest("slow"), script(f"echo begun; while [ ! -e {gate} ]; do sleep 0.05; done; echo over")
    )
    while user.spark_job_logs(cluster, "slow", wait=0).logs != "begun\n":
        time.sleep(0.05)
    began = time.monotonic()
    assert user.spark_job_logs(cluster, "slow", wait=0.5).logs == "begun\n"
    assert 0.5 <= time.monotonic() - began
    gate.touch()
    assert user.spark_job_logs(cluster, "slow").logs == "begun\nover\n"


def test_an_empty_log_says_why(user: MLPlatform, cluster: str, script: Callable[[str], Path]) -> None:
    user.spark_submit_job(cluster, manifest("huge", executor={"instances": 100}), script("exit 0"))
    until(lambda: user.spark_job_explain(cluster, "huge").cause == "too-large")
    with pytest.warns(UserWarning, match="the log of 'huge' is empty so far. The job 'huge' asks for more than"):
        assert user.spark_job_logs(cluster, "huge", timeout=15).logs == ""
    assert user.spark_job_logs(cluster, "huge", wait=0).logs == ""
    user.spark_submit_job(cluster, manifest("silent"), script("exit 0"))
    assert user.spark_job_logs(cluster, "silent").logs == ""


def test_a_name_twice(user: MLPlatform, cluster: str, script: Callable[[str], Path]) -> None:
    program = script("exit 0")
    user.spark_submit_job(cluster, manifest("twice"), program)
    with pytest.raises(ConflictException) as caught:
        user.spark_submit_job(cluster, manifest("twice"), program)
    assert caught.value.field == "a job named 'twice' exists in this cluster"
    assert "job_name" in str(caught.value.hint)
    assert "spark_delete_job" in str(caught.value.hint)


def test_what_is_refused_before_it_is_sent(user: MLPlatform, cluster: str, tmp_path: Path) -> None:
    large = tmp_path / "large.py"
    large.write_bytes(b"#" * (10 * 1024 * 1024 + 1))
    for path, text in [
        (tmp_path / "none.py", "there is no such file"),
        (Path("none.py"), f"there is no such file; it was looked for in '{Path.cwd()}'"),
        (tmp_path, "directory"),
        (large, "the limit is 10485760"),
    ]:
        with pytest.raises(BadRequestException, match=text):
            user.spark_submit_job(cluster, manifest("x"), path)
    with pytest.raises(TypeError, match="manifest must be a Manifest"):
        user.spark_submit_job(cluster, "pi.yaml", large)  # type: ignore[arg-type]
    with pytest.raises(BadRequestException, match="tail: -1 is negative"):
        user.spark_job_logs(cluster, "x", tail=-1)
    for name in ("", ".."):
        with pytest.raises(BadRequestException, match="is not the name of a job"):
            user.spark_job_info(cluster, name)


def test_a_large_program_travels_whole(user: MLPlatform, cluster: str, script: Callable[[str], Path]) -> None:
    text = "wc -c < $0\n"
    program = script(text + "#" * (10 * 1024 * 1024 - len(text)))
    user.spark_submit_job(cluster, manifest("large"), program)
    assert user.spark_job_logs(cluster, "large").logs.strip() == str(10 * 1024 * 1024)


JOB = K8sSparkJobInfo("pi", "RUNNING", "2024-07-04T15:08:08.536636+00:00", "https://x/pi/jobs/")
VALUES = [
    JOB,
    K8sSparkJobInfoDetail("pi", "RUNNING", "2024-07-04T15:08:08.536636+00:00", "https://x/pi/jobs/", "Running"),
    K8sSparkJobsInfoList([JOB]),
    K8sSparkJobLogs("text"),
    K8sSparkApplication('{"kind": "SparkApplication"}'),
    K8sSparkEventsList([]),
    K8sSparkJobExplanation("pi", "FAILED", "killed", "It was killed.", ("signal 9",), "Do not."),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values(value: Any) -> None:
    other = pickle.loads(pickle.dumps(value))
    assert other == value == copy.deepcopy(value)
    assert hash(other) == hash(value)
    assert other != 1
    assert type(value).__name__ in repr(value)
    assert type(value).__module__ == "mlplatform_client.serializers.spark_proxy"


def test_lists() -> None:
    jobs = K8sSparkJobsInfoList([JOB, JOB])
    assert jobs[0:1] == [JOB]
    assert JOB in jobs
    assert bool(jobs)
    assert not K8sSparkJobsInfoList([])
    with pytest.raises(IndexError):
        jobs[2]
    assert K8sSparkEvent.__doc__
