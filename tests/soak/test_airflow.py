"""The operator of examples/airflow on a real Airflow, its tasks against a real platform."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, TOKEN, stand_in
from jobs import until

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

DAG = """
import sys
from airflow.sdk import DAG
from spark_job_operator import SparkJobOperator

with DAG("jobs", schedule=None) as dag:
    SparkJobOperator(task_id="job", {arguments})

if __name__ == "__main__":
    run = dag.test()
    print("STATE", run.state)
"""


@pytest.fixture(scope="module")
def airflow() -> Path:
    """The Python of an environment with Airflow; made once, and kept for the next time."""
    folder = ROOT / ".cache" / "airflow"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    requirements = str(ROOT / "requirements-airflow.txt")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
    return python


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(tmp_path_factory.mktemp("stand-in"))))
        platform = LocalPlatform()
    with platform:
        yield platform


class Dag:
    """A DAG of one task, whose program is a shell script."""

    def __init__(self, airflow: Path, folder: Path, url: str, token: str, environment: dict[str, str]) -> None:
        self._airflow, self._folder = airflow, folder
        self._environment = {
            **environment,
            "AIRFLOW_CONN_MLPLATFORM_DEFAULT": json.dumps({"conn_type": "http", "host": url, "password": token}),
        }

    def start(self, program: str, more: str = "") -> subprocess.Popen[str]:
        (self._folder / "program.py").write_text(program)
        dag = self._folder / "dag.py"
        dag.write_text(DAG.format(arguments=f"program={str(self._folder / 'program.py')!r}, {more}"))
        return subprocess.Popen(
            [self._airflow, dag],
            env=self._environment,
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, program: str, more: str = "") -> str:
        said, _ = self.start(program, more).communicate(timeout=600)
        assert not TOKEN.search(said)
        return said


@pytest.fixture
def dag(airflow: Path, own: LocalPlatform, tmp_path: Path) -> Dag:
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "python"), str(ROOT / "examples" / "airflow")]),
    }
    subprocess.run([airflow, "-m", "airflow", "db", "migrate"], env=environment, check=True, capture_output=True)
    with MLPlatform(own.admin_token, url=own.url) as admin:
        name = f"airflow {tmp_path.name}"
        token = admin.create_refresh_token(admin.create_register_token(name, "10m", token_type=MLPTokenType.USER))
    return Dag(airflow, tmp_path, own.url, str(token), environment)


@pytest.fixture
def mlp(own: LocalPlatform) -> Iterator[MLPlatform]:
    with MLPlatform(own.admin_token, url=own.url) as mlp:
        yield mlp


def test_a_job_that_ends_well(dag: Dag) -> None:
    said = dag.run('echo "hello $1"\n', 'arguments=["{{ task.task_id }} of {{ dag.dag_id }}"]')
    assert "STATE success" in said, said
    assert "hello job of jobs" in said


def test_a_job_that_fails_fails_the_task_and_says_why(dag: Dag) -> None:
    said = dag.run("echo so it went; exit 3\n")
    assert "STATE failed" in said, said
    assert "SparkJobFailed" in said
    assert "so it went" in said


def test_a_job_that_takes_too_long_is_deleted(dag: Dag, mlp: MLPlatform) -> None:
    cluster = mlp.get_clusters()[0].id
    before = {job.job_name for job in mlp.spark_jobs_list(cluster)}
    said = dag.run("sleep 600\n", "seconds=5")
    assert "STATE failed" in said, said
    assert {job.job_name for job in mlp.spark_jobs_list(cluster)} == before


def test_a_task_that_is_killed_deletes_its_job(dag: Dag, mlp: MLPlatform) -> None:
    cluster = mlp.get_clusters()[0].id
    before = {job.job_name for job in mlp.spark_jobs_list(cluster)}
    process = dag.start("sleep 600\n")
    until(lambda: any(job.status == "RUNNING" and job.job_name not in before for job in mlp.spark_jobs_list(cluster)))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert {job.job_name for job in mlp.spark_jobs_list(cluster)} == before


def test_a_cluster_that_is_not_there(dag: Dag) -> None:
    said = dag.run("true\n", 'cluster="nowhere"')
    assert "STATE failed" in said, said
    assert "names 0 of the clusters local: name one" in said
