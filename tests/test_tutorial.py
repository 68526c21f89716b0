"""A tutorial, as a notebook on real Spark: every step in one kernel, none repeated, none waited for by hand."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from mlplatform_client.local import LocalPlatform

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        importlib.util.find_spec("pyspark") is None, reason="Spark is not installed: make .venv/.spark installs it"
    ),
]

SECRET = """apiVersion: v1
kind: Secret
metadata:
  name: database
type: Opaque
stringData:
  DB_PASSWORD: correct horse battery staple
"""
USES_SECRET = """import hashlib
import os
print("digest:", hashlib.sha256(os.environ["DB_PASSWORD"].encode()).hexdigest()[:12])
"""

CELLS = {
    "clusters": """
from mlplatform_client import MLPlatform
mlp = MLPlatform()
cluster = mlp.get_clusters()[0]
print(cluster)""",
    "who": "print(mlp.who_am_i())",
    "manifest": """
manifest = mlp.get_default_manifest(cluster.id, "tutorial-1")
print(manifest)""",
    "edit": """
manifest.set_executor_settings({"instances": 2, "cores": 1, "memory": "512m"})
manifest.set_driver_settings({"memory": "512m"})
manifest.set_spark_conf({"spark.sql.shuffle.partitions": "2"})
manifest.add_driver_env([{"name": "GREETING", "value": "hello"}])
print(manifest)""",
    "submit": 'print(mlp.spark_submit_job(cluster.id, manifest, "calculate-pi.py"))',
    "info": 'print(mlp.spark_job_info(cluster.id, "tutorial-1"))',
    "list": "print(mlp.spark_jobs_list(cluster.id))",
    "logs": 'print(mlp.spark_job_logs(cluster.id, "tutorial-1", wait=280, timeout=300))',
    "events": "print(mlp.spark_events(cluster.id))",
    "describe": 'print(mlp.describe_spark_job(cluster.id, "tutorial-1"))',
    "again": """
manifest.save_yaml("tutorial.yaml")
loaded = mlp.get_manifest_from_yaml_file("tutorial.yaml")
loaded.job_name = "tutorial-2"
print(mlp.spark_submit_job(cluster.id, loaded, "calculate-pi.py").job_name)""",
    "secret": """
mlp.create_secret_from_yaml(cluster.id, "database.yaml")
print(mlp.list_secrets(cluster.id))
uses = mlp.get_default_manifest(cluster.id, "tutorial-3")
uses.add_driver_env_from([{"secretRef": {"name": "database"}}])
mlp.spark_submit_job(cluster.id, uses, "uses-secret.py")
print(mlp.spark_job_logs(cluster.id, "tutorial-3", wait=280, timeout=300))
print(mlp.describe_spark_job(cluster.id, "tutorial-3"))""",
    "too much": """
greedy = mlp.get_default_manifest(cluster.id, "tutorial-4")
greedy.set_executor_settings({"instances": 50, "cores": 4})
mlp.spark_submit_job(cluster.id, greedy, "calculate-pi.py")
import time
while mlp.spark_job_info(cluster.id, "tutorial-4").pod_status_reason is None:
    time.sleep(0.1)
print(mlp.spark_job_explain(cluster.id, "tutorial-4"))""",
    "delete": """
print(mlp.spark_job_logs(cluster.id, "tutorial-2", tail=3, wait=280, timeout=300))
for job in mlp.spark_jobs_list(cluster.id):
    mlp.spark_delete_job(cluster.id, job.job_name)
mlp.delete_secret(cluster.id, "database")
print("left:", len(mlp.spark_jobs_list(cluster.id)))""",
}


def _run(folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """Execute the cells in one kernel; what each printed."""
    cells: list[dict[str, object]] = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
        for n, source in enumerate(CELLS.values())
    ]
    notebook = folder / "tutorial.ipynb"
    notebook.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    kernel = folder / "kernels" / "here"
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "here", "env": environment}))
    done = subprocess.run(
        [
            Path(sys.executable).parent / "jupyter-execute",
            "--inplace",
            "--kernel_name=here",
            "--timeout=600",
            str(notebook),
        ],
        env={**os.environ, "JUPYTER_PATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = (
        "".join("".join(o.get("text", "")) for o in cell["outputs"])
        for cell in json.loads(notebook.read_text())["cells"]
    )
    return dict(zip(CELLS, shown))


def lay_out(folder: Path) -> dict[str, str]:
    """Write the files that the notebook uses; its cells."""
    (folder / "calculate-pi.py").write_bytes((ROOT / "examples" / "calculate-pi.py").read_bytes())
    (folder / "database.yaml").write_text(SECRET)
    (folder / "uses-secret.py").write_text(USES_SECRET)
    return CELLS


def check(shown: dict[str, str]) -> None:
    """What the cells must have shown."""
    assert "status: RUNNING" in shown["clusters"]
    assert shown["who"].startswith("Token admin:")
    assert "instances: 2" in shown["edit"]
    assert shown["submit"].startswith("job_name: tutorial-1, status: SUBMITTED")
    assert shown["info"].startswith("job_name: tutorial-1\n")
    assert "Pi is roughly 3.1" in shown["logs"]
    assert "NORMAL Pod Driver tutorial-1-driver completed" in shown["events"]
    assert "state: COMPLETED" in shown["describe"]
    assert shown["again"] == "tutorial-2\n"
    assert "database" in shown["secret"]
    assert "digest: c4bbcb1fbec9" in shown["secret"]
    assert "correct horse" not in "".join(shown.values())
    assert "asks for more than the cluster has" in shown["too much"]
    assert shown["delete"].endswith("left: 0\n")


def test_the_tutorial(tmp_path: Path) -> None:
    lay_out(tmp_path)
    with LocalPlatform() as platform:
        environment = {"MLP_URL": platform.url, "MLP_REFRESH_TOKEN": str(platform.admin_token)}
        shown = _run(tmp_path, environment)
        for path in Path(platform.data_dir).rglob("*"):
            if path.is_file():
                assert b"correct horse" not in path.read_bytes(), path
    check(shown)
