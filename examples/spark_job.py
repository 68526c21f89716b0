"""A Spark job, from the access token to the result: the end of `make demo`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import ConflictException
from mlplatform_client.local import LocalPlatform

PROGRAM = Path(__file__).with_name("calculate-pi.py")


def main() -> None:
    """Submit it, wait for its log, show the line that matters."""
    if importlib.util.find_spec("pyspark") is None:
        print(
            "\nLeft out: a job on Spark. pyspark is not installed here and could not be fetched; with the network, run"
        )
        print(f"    {sys.executable} -m pip install -r requirements-spark.txt")
        return
    print("\nAnd a job on Spark, which takes a moment to start.")
    with LocalPlatform() as platform, MLPlatform(platform.admin_token, url=platform.url) as mlp:
        cluster = mlp.get_clusters()[0]
        manifest = mlp.get_default_manifest(cluster.id, "pi-1")
        manifest.set_executor_settings({"instances": 2, "cores": 1})
        try:
            print(f"   {mlp.spark_submit_job(cluster.id, manifest, PROGRAM)}")
        except ConflictException as problem:
            print(f"   Left out: {problem.field}")
            return
        log = mlp.spark_job_logs(cluster.id, "pi-1", wait=280, timeout=300)
        said = [line for line in str(log).splitlines() if line.startswith("Pi is roughly")]
        print(f"   {said[0] if said else mlp.spark_job_explain(cluster.id, 'pi-1')}")


if __name__ == "__main__":
    main()
