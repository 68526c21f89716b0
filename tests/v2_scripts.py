"""Scripts as the documents of the on-premises generation have them, in our own words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mlplatform_client.local import LocalPlatform

SIGN_IN = """
import argparse
import os

from mlplatform_client.v2 import BasicAuth, CIAMAuth, CloudMLPlatform, SparkCluster
from mlplatform_client.v2.clients.spark import SparkClient
from mlplatform_client.v2.spark.job import SparkJob
from mlplatform_client.v2.utils import wait_job_running, wait_job_succeeded

cluster = SparkCluster(SparkClient(
    host=os.environ.get("ML_PLATFORM_HOST"),
    auth=BasicAuth(username=os.environ.get("KEYSTONE_USERNAME"), password=os.environ.get("KEYSTONE_PASSWORD")),
    skip_tls_verify=False,
))
"""

PI = """
manifest = cluster.jobs.get_default_manifest("scripted-pi")
manifest.set_executor_settings({"instances": 1, "cores": 1, "memory": "512m"})
manifest.set_driver_settings({"cores": 1, "memory": "512m"})
job: SparkJob = cluster.jobs.submit_pyjob(manifest, pyfile="jobs/pi.py")
try:
    wait_job_running(job, delay=8)
    wait_job_succeeded(job, delay=8)
except Exception as error:
    print(error)
print(job.logs().logs)
print(cluster.jobs.list())
"""

COLLECT = """
parser = argparse.ArgumentParser()
parser.add_argument("-d", action="store_true", help="delete the jobs")
options = parser.parse_args()
jobs = cluster.jobs.list()
if not jobs:
    print("No jobs")
with open("job_logs.txt", "a") as file:
    for info in jobs:
        job = cluster.jobs.get(info.job_name)
        file.write(job.logs().logs)
        if options.d:
            job.delete()
"""

CLEAN = """
job = cluster.jobs.get_default_manifest("scripted-csv")
job.set_executor_settings({"instances": 1, "cores": 1, "memory": "512m"})
job.set_spark_conf({"spark.sql.session.timeZone": "UTC"})
job.add_driver_env([{"name": "RAW", "value": "s3a://spark-local/v2-raw.csv"}])
job = cluster.jobs.submit_pyjob(job, pyfile="jobs/clean.py")
wait_job_running(job, delay=10)
wait_job_succeeded(job, delay=10)
print(job.logs())
job.delete()
"""


def script(folder: Path, platform: LocalPlatform, user: tuple[str, str], text: str, *arguments: str) -> str:
    """What a script prints that has only host, user and password, from the environment."""
    (folder / "script.py").write_text(SIGN_IN + text)
    host, name, password = f"{platform.url}/local", *user
    environment = {**os.environ, "ML_PLATFORM_HOST": host, "KEYSTONE_USERNAME": name, "KEYSTONE_PASSWORD": password}
    done = subprocess.run(
        [sys.executable, "script.py", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout
