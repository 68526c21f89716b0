"""Jobs on the real Spark: that they run, and that their failures are explained.

A job takes ten seconds on an idle machine, so there are few; whatever needs no Spark is in test_jobs.py.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from jobs import manifest

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform

# A machine under load starts Spark in a minute.
PATIENCE = 280.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        importlib.util.find_spec("pyspark") is None, reason="Spark is not installed: make .venv/.spark installs it"
    ),
]


@pytest.fixture(scope="module")
def spark_platform() -> Iterator[LocalPlatform]:
    with LocalPlatform() as platform:
        yield platform


@pytest.fixture(scope="module")
def mlp(spark_platform: LocalPlatform) -> Iterator[MLPlatform]:
    with MLPlatform(spark_platform.admin_token, url=spark_platform.url, timeout=PATIENCE + 20) as mlp:
        yield mlp


@pytest.fixture(scope="module")
def cluster(mlp: MLPlatform) -> str:
    return mlp.get_clusters()[0].id


def test_pi(mlp: MLPlatform, cluster: str) -> None:
    spec = manifest("pi-1", executor={"instances": 2, "cores": 1, "memory": "512m"})
    assert mlp.spark_submit_job(cluster, spec, ROOT / "examples" / "calculate-pi.py").status == "SUBMITTED"
    assert mlp.spark_job_info(cluster, "pi-1").status in ("SUBMITTED", "RUNNING")
    assert "Pi is roughly 3.1" in str(mlp.spark_job_logs(cluster, "pi-1", wait=PATIENCE))
    assert mlp.spark_job_info(cluster, "pi-1").pod_state_reason == "Completed"


USES_EVERYTHING = """
import os
import sys
from pathlib import Path

from pyspark import SparkFiles
from pyspark.sql import SparkSession

import helper

spark = SparkSession.builder.getOrCreate()
conf = spark.sparkContext.getConf()
rows = spark.read.csv("s3a://spark-local/in.csv", header=True).collect()
spark.createDataFrame(rows).write.parquet("s3a://spark-local/out.parquet")
print("seen:", {
    "arguments": sys.argv[1:],
    "driver": os.environ["DRIVER"],
    "executor": spark.sparkContext.parallelize([0], 1).map(lambda _: os.environ["EXECUTOR"]).first(),
    "conf": conf.get("spark.sql.shuffle.partitions"),
    "hadoop": spark._jsc.hadoopConfiguration().get("some.key"),
    "master": spark.sparkContext.master,
    "file": Path(SparkFiles.get("notes.txt")).read_text(),
    "module": helper.NAME,
    "read": [row.asDict() for row in rows],
    "written": spark.read.parquet("s3a://spark-local/out.parquet").count(),
})
"""


def test_what_a_manifest_says_is_what_the_job_sees(
    mlp: MLPlatform, cluster: str, spark_platform: LocalPlatform, tmp_path: Path
) -> None:
    bucket = Path(spark_platform.data_dir, "buckets", "spark-local")
    (bucket / "in.csv").write_text("a,b\n1,x\n")
    (bucket / "notes.txt").write_text("noted")
    (bucket / "helper.py").write_text("NAME = 'helped'\n")
    program = tmp_path / "everything.py"
    program.write_text(USES_EVERYTHING)
    spec = manifest(
        "everything",
        arguments=["one", "$(two); *"],
        sparkConf={"spark.sql.shuffle.partitions": "3"},
        hadoopConf={"some.key": "some value"},
        deps={"files": ["s3a://spark-local/notes.txt"], "pyFiles": ["s3a://spark-local/helper.py"]},
        driver={"memory": "512m", "env": [{"name": "DRIVER", "value": "of the driver"}]},
        executor={"memory": "512m", "instances": 1, "cores": 1, "env": [{"name": "EXECUTOR", "value": "of all"}]},
    )
    mlp.spark_submit_job(cluster, spec, program)
    log = str(mlp.spark_job_logs(cluster, "everything", wait=PATIENCE))
    seen = next(line for line in log.splitlines() if line.startswith("seen: "))
    expected = {
        "arguments": ["one", "$(two); *"],
        "driver": "of the driver",
        "executor": "of all",
        "conf": "3",
        "hadoop": "some value",
        "master": "local[1]",
        "file": "noted",
        "module": "helped",
        "read": [{"a": "1", "b": "x"}],
        "written": 1,
    }
    assert seen == f"seen: {expected}"


SESSION = "from pyspark.sql import SparkSession\nspark = SparkSession.builder.getOrCreate()\n"

# What is wrong with the program, and what must be said of it: a word for programs, and something of the sentence.
FAILURES: dict[str, tuple[str, str, str]] = {
    "syntax": ("def f(:\n    pass\n", "syntax-error", "not valid Python"),
    "module": ("import pandas_of_the_future\n", "missing-module", "'pandas_of_the_future'"),
    "import": ("from json import dumpz\n", "import-error", "dumpz"),
    "error": ("def f(x):\n    return 1 / x\n\nf(0)\n", "program-error", "ZeroDivisionError"),
    "env": ("import os\nos.environ['DB_PASSWORD']\n", "missing-key", "'DB_PASSWORD'"),
    "killed": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", "killed", "killed from outside"),
    "exit": ("import sys\nprint('giving up')\nsys.exit(7)\n", "exit-code", "exit code 7"),
    "time": ("raise TimeoutError('no answer from the database')\n", "timed-out", "no answer from the database"),
    "local-file": ("open('/data/none.csv')\n", "missing-file", "'/data/none.csv'"),
    "path": (SESSION + "spark.read.csv('s3a://spark-local/none.csv')\n", "missing-file", "none.csv"),
    "bucket": (SESSION + "spark.read.csv('s3a://other/data.csv').show()\n", "wrong-bucket", "'spark-local'"),
    "memory": (
        SESSION + "gateway = spark.sparkContext._gateway\ngateway.new_array(gateway.jvm.byte, 2_000_000_000)\n",
        "out-of-memory",
        "ran out of memory",
    ),
    "column": (SESSION + "spark.range(1).select('nome').show()\n", "missing-column", "nome"),
    "table": (SESSION + "spark.table('nowhere')\n", "missing-table", "nowhere"),
}


def test_failures_are_explained(mlp: MLPlatform, cluster: str, tmp_path: Path) -> None:
    """All at once: they wait for each other as the cluster's capacity says."""
    for name, (program, _, _) in FAILURES.items():
        (tmp_path / f"{name}.py").write_text(program)
        mlp.spark_submit_job(cluster, manifest(name), tmp_path / f"{name}.py")
    mlp.spark_submit_job(
        cluster,
        manifest("class", type="Scala", mainClass="no.such.Main", mainApplicationFile="local:///opt/spark/jars"),
    )
    mlp.spark_submit_job(cluster, manifest("size", executor={"instances": 100}), tmp_path / "exit.py")
    wrong = []
    told_by = {**{name: (cause, text) for name, (_, cause, text) in FAILURES.items()}}
    told_by["class"] = ("missing-class", "'no.such.Main'")
    for name, (cause, text) in told_by.items():
        log = mlp.spark_job_logs(cluster, name, wait=PATIENCE)
        told = mlp.spark_job_explain(cluster, name)
        if told.status != "FAILED" or told.cause != cause or text not in told.sentence or not told.evidence:
            wrong.append(f"{name}: {told}\n{str(log)[-1500:]}")
    assert not wrong, "\n\n".join(wrong)
    told = mlp.spark_job_explain(cluster, "size")
    assert (told.status, told.cause) == ("SUBMITTED", "too-large")


def test_the_guide(spark_platform: LocalPlatform, tmp_path: Path) -> None:
    """Its blocks, as one script, in an environment that says what the guide says."""
    text = (ROOT / "docs" / "spark.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^(<!-- file: (\S+) -->\n)?```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    script = []
    for _, file, block in blocks:
        if file:
            (tmp_path / file).write_text(block)
        else:
            script.append(block)
    environment = {**os.environ, "MLP_URL": spark_platform.url, "MLP_REFRESH_TOKEN": str(spark_platform.admin_token)}
    with MLPlatform(spark_platform.admin_token, url=spark_platform.url) as mlp:
        cluster = mlp.get_clusters()[0].id
        for job in mlp.spark_jobs_list(cluster):
            mlp.spark_delete_job(cluster, job.job_name)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(script)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Pi is roughly 3.1" in done.stdout
    assert "The job 'pi-1' ended well." in done.stdout
