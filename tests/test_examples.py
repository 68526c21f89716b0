"""The examples for the places where the client is used; that of Airflow is tested by tests/soak/test_airflow.py."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, TOKEN, Newcomer
from jobs import until
from traitlets.config.loader import PyFileConfigLoader

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform

Start = Callable[..., "subprocess.Popen[str]"]
RUN_JOB = ROOT / "examples" / "ci" / "run-job.sh"


@pytest.fixture
def user(platform: LocalPlatform, newcomer: Newcomer) -> Iterator[MLPlatform]:
    with MLPlatform(newcomer()[1], url=platform.url) as user:
        yield user


@pytest.fixture
def ci(newcomer: Newcomer) -> tuple[str, str]:
    """The name and the value of the CI system's token."""
    name, token = newcomer()
    return name, token


@pytest.fixture
def start(platform: LocalPlatform, ci: tuple[str, str], tmp_path: Path) -> Start:
    """The step of a CI job, as a User; its program is a shell script."""
    _, token = ci

    def start(program: str, *arguments: str, **more: str) -> subprocess.Popen[str]:
        (tmp_path / "report.py").write_text(program)
        scripts = sysconfig.get_path("scripts")
        return subprocess.Popen(
            [RUN_JOB, "report.py", *arguments],
            env={
                **os.environ,
                "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
                "MLP_URL": platform.url,
                "MLP_REFRESH_TOKEN": str(token),
                "MLP_CLUSTER": "local",
                **more,
            },
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def _local(user: MLPlatform) -> str:
    return next(cluster.id for cluster in user.get_clusters() if cluster.name == "local")


def _names(user: MLPlatform, status: str | None = None) -> set[str]:
    jobs = user.spark_jobs_list(_local(user))
    return {job.job_name for job in jobs if job.job_name.startswith("ci-") and status in (None, job.status)}


@pytest.mark.parametrize(("ends", "code"), [("exit 0", 0), ("exit 3", 1)])
def test_a_ci_job_ends_as_its_spark_job_does(start: Start, user: MLPlatform, ends: str, code: int) -> None:
    before = _names(user)
    process = start(f'echo "for $1"\n{ends}\n', "2026-11-28")
    out, err = process.communicate(timeout=120)
    assert _names(user) == before
    assert (process.returncode, "for 2026-11-28\n" in out) == (code, True), (out, err)
    assert ("exit code 3" in err) == (code == 1)
    assert not TOKEN.search(out + err)


def test_a_ci_job_that_is_cancelled_leaves_no_spark_job(start: Start, user: MLPlatform) -> None:
    before = _names(user)
    process = start("sleep 600\n")
    until(lambda: bool(_names(user, "RUNNING") - before))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert _names(user) == before


def test_a_ci_job_that_loses_its_token_ends(
    start: Start, user: MLPlatform, admin: MLPlatform, ci: tuple[str, str]
) -> None:
    before = _names(user)
    process = start("sleep 600\n")
    until(lambda: bool(_names(user, "RUNNING") - before))
    admin.delete_token(ci[0])
    out, _ = process.communicate(timeout=120)
    assert process.returncode != 0, out
    # Nobody could delete it with that token any more.
    for name in _names(user) - before:
        user.spark_delete_job(_local(user), name)


def test_a_ci_job_has_an_end(start: Start, user: MLPlatform) -> None:
    before = _names(user)
    process = start("sleep 600\n", MLP_JOB_SECONDS="3")
    _, err = process.communicate(timeout=120)
    assert (process.returncode, "has not ended in 3 seconds" in err) == (5, True), err
    assert _names(user) == before


@pytest.mark.parametrize("seconds", ["", "soon", "0", "-1", "1e9", "a[$(touch here)]"])
def test_a_time_that_cannot_be_meant(start: Start, tmp_path: Path, seconds: str) -> None:
    process = start("exit 0\n", MLP_JOB_SECONDS=seconds)
    _, err = process.communicate(timeout=120)
    if seconds:
        assert (process.returncode, "write whole seconds" in err) == (2, True), err
    else:
        assert process.returncode == 0, err
    assert not (tmp_path / "here").exists()


def test_the_image_of_jupyterhub_installs_the_archive_that_make_wheel_builds() -> None:
    """It is not built here: what its one step does, test_packaging.py does without a container."""
    text = (ROOT / "examples" / "jupyterhub" / "Dockerfile").read_text(encoding="utf-8")
    assert "pip install --no-cache-dir /tmp/mlplatform_client.tar.gz" in text
    assert "dist/mlplatform_client.tar.gz:" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert not re.search(r"TOKEN", text)


def test_the_hub_s_settings_are_read() -> None:
    folder = ROOT / "examples" / "jupyterhub"
    settings = PyFileConfigLoader("jupyterhub_config.py", path=str(folder)).load_config()
    image = (folder / "Dockerfile").read_text(encoding="utf-8")
    assert f"--tag {settings.DockerSpawner.image} " in image
    assert json.dumps(settings.DockerSpawner.environment) == '{"MLP_URL": "https://platform.example.com"}'
