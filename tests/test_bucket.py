"""`s3a://<bucket>/…` is the cluster's bucket for everything that Spark does with a file system."""

from __future__ import annotations

import importlib.util
import re
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT
from jobs import manifest

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform

PATIENCE = 900.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1000),
    pytest.mark.skipif(
        importlib.util.find_spec("pyspark") is None, reason="Spark is not installed: make .venv/.spark installs it"
    ),
]


def test_whatever_spark_does_with_a_file_system_it_does_with_the_bucket(tmp_path: Path) -> None:
    """In a data directory whose own name is as awkward as names of files are."""
    program = (ROOT / "tests" / "bucket_job.py").read_text()
    steps = re.findall(r"^@step\ndef (\w+)", program, re.MULTILINE)
    with LocalPlatform(tmp_path / "dáta dir %20#x") as platform:
        bucket = Path(platform.data_dir, "buckets", "spark-local")
        (bucket / "notes.txt").write_text("noted")
        (bucket / "late.py").write_text("LATE = True\n")
        (bucket / "with space;more.txt").write_text("")
        (bucket / "lib 1").mkdir()
        (bucket / "lib 1" / "come_along.py").write_text("NAME = 'come along'\n")
        with zipfile.ZipFile(bucket / "an archive.zip", "w") as archive:
            archive.writestr("inside.txt", "")
        with MLPlatform(platform.admin_token, url=platform.url, timeout=60) as mlp:
            cluster = mlp.get_clusters()[0].id
            spec = manifest(
                "bucket",
                # Not 200 files of state for a stream of a few rows.
                sparkConf={
                    "spark.archives": "s3a://spark-local/an archive.zip#env",
                    "spark.sql.shuffle.partitions": "2",
                },
                deps={
                    "pyFiles": ["s3a://spark-local/lib 1/come_along.py"],
                    "files": ["s3a://spark-local/with space;more.txt"],
                },
                executor={"instances": 2, "cores": 1, "memory": "1g"},
            )
            mlp.spark_submit_job(cluster, spec, ROOT / "tests" / "bucket_job.py")
            mlp.wait_for_spark_job(cluster, "bucket", timeout=PATIENCE)
            log = str(mlp.spark_job_logs(cluster, "bucket"))
    told = dict(re.findall(r"^(\w+): (.*)$", log, re.MULTILINE))
    assert {step: told.get(step) for step in steps} == dict.fromkeys(steps, "well"), log[-6000:]
