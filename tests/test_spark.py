"""Jobs on the real Spark: that they run, and that their failures are explained.

A job takes ten seconds on an idle machine, so there are few; whatever needs no Spark is in test_jobs.py.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from guides import ON_SPARK, python_of
from jobs import manifest, until

from mlplatform_client import K8sSparkJobRestartPolicyType, MLPlatform
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
    "properties": [spark._jvm.System.getProperty(name) for name in ("of.default", "of.conf", "of.driver")],
    "class path": spark._jvm.System.getProperty("java.class.path").split(":")[0],
    "mounted": Path(os.environ["MLP_MOUNTS"] + "/etc/app/key").read_text(),
})
"""


def spark_home() -> Path:
    package = importlib.util.find_spec("pyspark")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent


def test_what_a_manifest_says_is_what_the_job_sees(
    mlp: MLPlatform, cluster: str, spark_platform: LocalPlatform, tmp_path: Path
) -> None:
    bucket = Path(spark_platform.data_dir, "buckets", "spark-local")
    (bucket / "in.csv").write_text("a,b\n1,x\n")
    (bucket / "notes.txt").write_text("noted")
    (bucket / "helper.py").write_text("NAME = 'helped'\n")
    (tmp_path / "map.yaml").write_text(
        OBJECT.format(kind="ConfigMap", values="data", name="app-map", key="key", value="of the map")
    )
    mlp.create_configmap_from_yaml(cluster, tmp_path / "map.yaml")
    program = tmp_path / "everything.py"
    program.write_text(USES_EVERYTHING)
    spec = manifest(
        "everything",
        arguments=["one", "$(two); *"],
        sparkConf={
            "spark.sql.shuffle.partitions": "3",
            "spark.driver.defaultJavaOptions": "-Dof.default='a b'",
            "spark.driver.extraJavaOptions": "-Dof.conf=c",
            "spark.driver.extraClassPath": "/opt/spark/extra",
        },
        hadoopConf={"some.key": "some value"},
        deps={"files": ["s3a://spark-local/notes.txt"], "pyFiles": ["s3a://spark-local/helper.py"]},
        driver={
            "memory": "512m",
            "env": [{"name": "DRIVER", "value": "of the driver"}],
            "javaOptions": "-Dof.driver=\"two words\" -XX:OnOutOfMemoryError='kill -9 %p'",
            "configMaps": [{"name": "app-map", "path": "/etc/app"}],
        },
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
        "properties": ["a b", "c", "two words"],
        "class path": str(spark_home() / "extra"),
        "mounted": "of the map",
    }
    assert seen == f"seen: {expected}"


SHOWS_ITSELF = """
import json
import os
import sys
import time
from pathlib import Path

from pyspark import SparkFiles
from pyspark.sql import SparkSession

import one, two

once = Path(os.environ["GATE"]).with_name("failed once")
if not once.exists():
    once.touch()
    sys.exit(3)
spark = SparkSession.builder.getOrCreate()
conf = spark.sparkContext.getConf()
loader = spark._jvm.Thread.currentThread().getContextClassLoader()
on_an_executor = spark.sparkContext.parallelize([0], 1).map(lambda _: [os.environ[x] for x in ("E", "E_KEY")]).first()
print("seen:", json.dumps({
    "conf": conf.get("spark.sql.shuffle.partitions"),
    "sizes": [conf.get(f"spark.{x}") for x in ("driver.memory", "executor.memory", "executor.instances")],
    "jars": [loader.getResource(name) is not None for name in ("first.txt", "second.txt", "packed.txt")],
    "files": [Path(SparkFiles.get(name)).read_text() for name in ("a.txt", "b.txt")],
    "modules": [one.NAME, two.NAME],
    "driver": [os.environ["D"], os.environ["D_KEY"]],
    "executor": on_an_executor,
}), flush=True)
while not Path(os.environ["GATE"]).exists():
    time.sleep(0.1)
"""
OBJECT = """apiVersion: v1
kind: {kind}
metadata:
  name: {name}
{values}:
  {key}: {value}
"""


def jar(path: Path, entry: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, "")


def repository(folder: Path) -> str:
    """Maven's, with one package in it."""
    place = folder / "example" / "packed" / "1.0"
    place.mkdir(parents=True)
    jar(place / "packed-1.0.jar", "packed.txt")
    (place / "packed-1.0.pom").write_text(
        "<project><modelVersion>4.0.0</modelVersion><groupId>example</groupId><artifactId>packed</artifactId>"
        "<version>1.0</version></project>"
    )
    return folder.as_uri()


def test_every_method_of_a_manifest_on_a_job_that_runs(
    mlp: MLPlatform, cluster: str, spark_platform: LocalPlatform, tmp_path: Path
) -> None:
    bucket = Path(spark_platform.data_dir, "buckets", "spark-local")
    jar(bucket / "first.jar", "first.txt")
    jar(bucket / "second.jar", "second.txt")
    for name in ("a", "b"):
        (bucket / f"{name}.txt").write_text(name)
    for name in ("one", "two"):
        (bucket / f"{name}.py").write_text(f"NAME = '{name}'\n")
    for kind, values, name, key in [("Secret", "stringData", "s", "D_KEY"), ("ConfigMap", "data", "c", "E_KEY")]:
        yaml = tmp_path / f"{name}.yaml"
        yaml.write_text(OBJECT.format(kind=kind, values=values, name=name, key=key, value=f"of {name}"))
        (mlp.create_secret_from_yaml if kind == "Secret" else mlp.create_configmap_from_yaml)(cluster, yaml)
    gate, address = tmp_path / "gate", "s3a://spark-local"

    spec = mlp.get_default_manifest(cluster, "methods")
    spec.job_name = "all-methods"
    spec.main_class = "is.removed"
    spec.main_class = None
    spec.spec_type = "Python"
    spec.main_app_file = f"{address}/shows-itself.py"
    (bucket / "shows-itself.py").write_text(SHOWS_ITSELF)
    spec.set_executor_settings({"instances": 2, "cores": 1, "coreRequest": "500m", "coreLimit": "1", "memory": "600m"})
    spec.set_driver_settings({"memory": "700m", "env": [{"name": "D", "value": "replaced"}]})
    spec.set_spark_conf({"spark.sql.shuffle.partitions": 3})
    spec.set_jars([f"{address}/first.jar"])
    spec.add_jars([f"{address}/second.jar"])
    spec.set_files([f"{address}/a.txt"])
    spec.add_files([f"{address}/b.txt"])
    spec.set_pyfiles([f"{address}/one.py"])
    spec.add_pyfiles([f"{address}/two.py"])
    spec.add_packages(["example:packed:1.0"])
    spec.set_spark_conf({"spark.jars.repositories": repository(tmp_path / "maven")})
    spec.add_driver_env([{"name": "D", "value": "of the driver"}, {"name": "GATE", "value": str(gate)}])
    spec.add_executor_env([{"name": "E", "value": "of the executors"}])
    spec.add_driver_env_from([{"secretRef": {"name": "s"}}])
    spec.add_executor_env_from([{"configMapRef": {"name": "c"}}])
    spec.set_restart_policy(K8sSparkJobRestartPolicyType.ON_FAILURE, on_failure_retries=1, on_failure_retry_interval=1)
    spec.validate()
    spec.save_yaml(tmp_path / "methods.yaml")
    loaded = mlp.get_manifest_from_yaml_file(tmp_path / "methods.yaml")
    assert loaded.to_yaml() == spec.to_yaml() == (tmp_path / "methods.yaml").read_text()

    mlp.spark_submit_job(cluster, loaded)
    until(lambda: "seen: " in mlp.spark_job_logs(cluster, "all-methods", wait=0).logs, PATIENCE)
    job = mlp.spark_job_info(cluster, "all-methods")
    assert (job.status, job.pod_state) == ("RUNNING", "V1ContainerStateRunning")
    told = mlp.describe_spark_job(cluster, "all-methods")
    assert told.status["executionAttempts"] == 2
    assert told.spec == spec.to_dict()["spec"]
    log = mlp.spark_job_logs(cluster, "all-methods", wait=0).logs
    assert json.loads(log.split("seen: ")[1].splitlines()[0]) == {
        "conf": "3",
        "sizes": ["700m", "600m", "2"],
        "jars": [True, True, True],
        "files": ["a", "b"],
        "modules": ["one", "two"],
        "driver": ["of the driver", "of s"],
        "executor": ["of the executors", "of c"],
    }
    gate.touch()
    until(lambda: mlp.spark_job_info(cluster, "all-methods").status == "COMPLETED")


def test_a_java_program(mlp: MLPlatform, cluster: str) -> None:
    archive = next(spark_home().glob("jars/hadoop-client-api-*.jar")).name
    spec = mlp.get_default_manifest(cluster, "java-1")
    spec.spec_type = "Java"
    spec.main_class = "org.apache.hadoop.util.VersionInfo"
    spec.main_app_file = f"local:///opt/spark/jars/{archive}"
    mlp.spark_submit_job(cluster, spec)
    assert re.search(r"^Hadoop 3\.\d", mlp.spark_job_logs(cluster, "java-1", wait=PATIENCE).logs, re.MULTILINE)


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
    "relative": (SESSION + "spark.read.csv('data/in.csv')\n", "missing-file", "reads 'data/in.csv'"),
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


SAID = {
    "spark.md": ["Pi is roughly 3.1", "The job 'pi-1' ended well."],
    "spark-connect.md": ["[Row(sum=499500)]", "spark.connect.grpc.binding.port "],
    "waiting.md": ["COMPLETED", "line 2", "the job 'count-2' failed: ", "no more lines"],
    "v2.md": [
        "Pi is roughly 3.1",
        "job_name: pi-v2, status: K8sSparkJobStatus.COMPLETED, created_at: ",
        "│ NAME ",
        "<SparkClient host=",
    ],
}


@pytest.mark.parametrize("guide", ON_SPARK)
def test_a_guide(spark_platform: LocalPlatform, tmp_path: Path, guide: str) -> None:
    """Its blocks, as one script, in an environment that says what the guide says."""
    text = (ROOT / "docs" / guide).read_text(encoding="utf-8")
    files, script = python_of(text)
    for file, block in files.items():
        (tmp_path / file).write_text(block)
    environment = {**os.environ, "MLP_URL": spark_platform.url, "MLP_REFRESH_TOKEN": str(spark_platform.admin_token)}
    environment["MLP_SPARK_REMOTE"] = spark_platform.spark_remote or ""
    user = {"KEYSTONE_USERNAME": "admin", "KEYSTONE_PASSWORD": str(spark_platform.admin_token)}
    environment |= {"ML_PLATFORM_HOST": f"{spark_platform.url}/local", **user}
    with MLPlatform(spark_platform.admin_token, url=spark_platform.url) as mlp:
        cluster = mlp.get_clusters()[0].id
        for job in mlp.spark_jobs_list(cluster):
            mlp.spark_delete_job(cluster, job.job_name)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for said in SAID[guide]:
        assert said in done.stdout


OWN_SECRET = """\
apiVersion: v1
kind: Secret
metadata:
  name: s3-secret
stringData:
  S3_ACCESS_KEY: anna
  S3_SECRET_KEY: hunter2
"""

CLEANING = """
import os
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

assert (os.environ["S3_ACCESS_KEY"], os.environ["S3_SECRET_KEY"]) == ("anna", "hunter2")
spark = SparkSession.builder.getOrCreate()
raw = spark.read.csv("s3a://spark-local/raw.csv", header=True)
clean = raw.select(
    F.col("id").cast("int"),
    F.col("amount").cast("decimal(10,2)").alias("amount"),
    F.to_date("day", "yyyy-MM-dd").alias("day"),
)
clean.write.mode("overwrite").parquet("s3a://spark-local/clean")
for row in spark.read.parquet("s3a://spark-local/clean").collect():
    print("row:", row.id, row.amount, row.day)
"""


def test_a_script_that_replaces_the_bucket_s_secret_and_cleans_a_file(
    spark_platform: LocalPlatform, mlp: MLPlatform, cluster: str, tmp_path: Path
) -> None:
    """As the published pages do it: delete `s3-secret`, make it, use it; what cannot be read becomes NULL."""
    (tmp_path / "secret.yaml").write_text(OWN_SECRET)
    (tmp_path / "clean.py").write_text(CLEANING)
    raw = Path(spark_platform.data_dir, "buckets", "spark-local", "raw.csv")
    raw.write_text('id,amount,day\n1,10.50,2024-01-31\n2,INVALID,2024-13-45\n"",7,2024-02-30\n')
    mlp.delete_secret(cluster, "s3-secret")
    mlp.create_secret_from_yaml(cluster, tmp_path / "secret.yaml")
    conf = {"spark.hadoop.fs.s3a.endpoint": "https://example.com", "spark.hadoop.fs.s3a.secret.key": "hunter2"}
    spec = manifest("clean", sparkConf=conf, driver={"envFrom": [{"secretRef": {"name": "s3-secret"}}]})
    mlp.spark_submit_job(cluster, spec, tmp_path / "clean.py")
    log = str(mlp.spark_job_logs(cluster, "clean", wait=PATIENCE))
    assert re.findall(r"^row: (.*)$", log, re.MULTILINE) == ["1 10.50 2024-01-31", "2 None None", "None 7.00 None"], log
    told = [event.message for event in mlp.spark_events(cluster) if event.reason == "SettingIgnored"]
    events = "\n".join(told)
    assert "spark.hadoop.fs.s3a.endpoint, spark.hadoop.fs.s3a.secret.key" in events
    assert "hunter2" not in events
