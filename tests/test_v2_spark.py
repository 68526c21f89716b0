"""Scripts of the on-premises generation on the real Spark."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from v2_scripts import CLEAN, PI, script

from mlplatform_client.local import LocalPlatform

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        importlib.util.find_spec("pyspark") is None, reason="Spark is not installed: make .venv/.spark installs it"
    ),
]

CLEANING = """
import os
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.getOrCreate()
raw = spark.read.csv(os.environ["RAW"], header=True)
clean = raw.select(
    F.col("id").cast("int").alias("id"),
    F.col("amount").cast("decimal(10,2)").alias("amount"),
    F.to_date("day", "yyyy-MM-dd").alias("day"),
)
clean.write.mode("overwrite").saveAsTable("v2_clean", path="s3a://spark-local/v2-clean")
for row in spark.table("v2_clean").collect():
    print("row:", *row)
"""


@pytest.fixture(scope="module")
def spark_platform() -> Iterator[LocalPlatform]:
    with LocalPlatform() as platform:
        yield platform


def test_pi(spark_platform: LocalPlatform, tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "pi.py").write_bytes((ROOT / "examples" / "calculate-pi.py").read_bytes())
    printed = script(tmp_path, spark_platform, ("admin", spark_platform.admin_token), PI)
    assert "Pi is roughly 3.1" in printed
    assert "job_name: scripted-pi, status: K8sSparkJobStatus.COMPLETED" in printed


def test_from_a_csv_to_a_cleaned_table(spark_platform: LocalPlatform, tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "clean.py").write_text(CLEANING)
    raw = Path(spark_platform.data_dir, "buckets", "spark-local", "v2-raw.csv")
    raw.write_text('id,amount,day\n1,10.50,2024-01-31\n2,INVALID,2024-13-45\n"",7,2024-02-30\n')
    printed = script(tmp_path, spark_platform, ("admin", spark_platform.admin_token), CLEAN)
    assert sorted(re.findall(r"^row: (.*)$", printed, re.MULTILINE)) == [
        "1 10.50 2024-01-31",
        "2 None None",
        "None 7.00 None",
    ]
