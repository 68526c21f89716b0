"""A real server whose cluster is on Kubernetes: jobs by the client's methods, beside jobs of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import stand_in
from jobs import FINAL, manifest, until

from kubernetes.bed import Bed
from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import BadRequestException
from mlplatform_client.local import LocalPlatform

SERVER = str(Path(sys.executable).with_name("mlplatform-server"))


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    with Bed() as bed:
        yield bed


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLP_PROGRESS", "0")
        patch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(tmp_path_factory.mktemp("stand-in"))))
        with LocalPlatform(tmp_path_factory.mktemp("platform")) as platform:
            yield platform


@pytest.fixture(scope="module")
def admin(platform: LocalPlatform) -> Iterator[MLPlatform]:
    with MLPlatform(platform.admin_token, url=platform.url) as admin:
        yield admin


def command(platform: LocalPlatform, *arguments: str) -> subprocess.CompletedProcess[str]:
    where = ["--data-dir", str(platform.data_dir)]
    return subprocess.run(
        [SERVER, "cluster", *arguments, *where], capture_output=True, encoding="utf-8", check=False, timeout=60
    )


@pytest.fixture(scope="module")
def cluster(bed: Bed, platform: LocalPlatform) -> str:
    kubeconfig = ["--kubeconfig", str(bed.kubeconfig)]
    added = command(platform, "add", "k8s", "--kubernetes", *kubeconfig, "--image", "4.3.0=none")
    assert added.returncode == 0, added.stderr
    return added.stdout.strip()


def script(folder: Path, text: str) -> str:
    program = folder / "job.py"
    program.write_text(text)
    return str(program)


def ended(admin: MLPlatform, cluster: str, name: str) -> str:
    until(lambda: str(admin.spark_job_info(cluster, name).status) in FINAL)
    return str(admin.spark_job_info(cluster, name).status)


def left(bed: Bed) -> list[str]:
    found = []
    for path in ("/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/secrets"):
        found += [item["metadata"]["name"] for item in bed.api.call("GET", path)["items"]]
    path = "/apis/sparkoperator.k8s.io/v1beta2/namespaces/default/sparkapplications"
    found += [item["metadata"]["name"] for item in bed.api.call("GET", path)["items"]]
    return found


def test_check_says_what_works_and_what_is_missing(bed: Bed, platform: LocalPlatform, cluster: str) -> None:
    done = command(platform, "check", "k8s")
    lines = {line[:18].strip(): line[18:].split() for line in done.stdout.splitlines()}
    for subject in ("API server", "SparkApplications", "pods", "pods/log", "events", "configmaps", "secrets"):
        assert lines[subject][0] == "ok", done.stdout
    # Nobody installs the operator in the test bed.
    assert (lines["Spark operator"][0], done.returncode) == ("missing", 1)
    # Somebody with few rights.
    account = {"metadata": {"name": "weak"}}
    bed.api.call("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    token = bed.api.call("POST", "/api/v1/namespaces/default/serviceaccounts/weak/token", {"spec": {}})
    weak = bed.folder / "weak"
    weak.write_text(json.dumps(bed.config("weak", token["status"]["token"])))
    assert command(platform, "add", "weak", "--kubernetes", "--kubeconfig", str(weak)).returncode == 0
    done = command(platform, "check", "weak")
    assert "secrets            missing  not allowed: list, create, patch, deletecollection" in done.stdout
    assert command(platform, "check", "local").stdout == "the cluster 'local' is this machine\n"
    assert "no cluster is named 'none'" in command(platform, "check", "none").stderr
    missing = command(platform, "add", "x", "--kubernetes", "--kubeconfig", str(bed.folder / "none"))
    assert missing.returncode == 2
    assert "cannot be read" in missing.stderr


def test_a_job_runs_there_and_another_here(bed: Bed, admin: MLPlatform, cluster: str, tmp_path: Path) -> None:
    program = script(tmp_path, "echo there\nsleep 1\nexit 0")
    admin.spark_submit_job(cluster, manifest("good"), program)
    local = next(info.id for info in admin.get_clusters() if info.name == "local")
    admin.spark_submit_job(local, manifest("good"), script(tmp_path, "echo here"))
    assert ended(admin, cluster, "good") == ended(admin, local, "good") == "COMPLETED"
    assert str(admin.spark_job_logs(cluster, "good")) == "there\n"
    assert "here\n" in str(admin.spark_job_logs(local, "good"))
    policy = {"type": "OnFailure", "onFailureRetries": 1, "onFailureRetryInterval": 1}
    admin.spark_submit_job(cluster, manifest("bad", restartPolicy=policy), script(tmp_path, "echo try\nexit 3"))
    assert ended(admin, cluster, "bad") == "FAILED"
    assert str(admin.spark_job_logs(cluster, "bad")) == "try\ntry\n"
    for name in ("good", "bad"):
        admin.spark_delete_job(cluster, name)
    until(lambda: not left(bed))


def test_what_a_cluster_does_not_allow_is_refused(admin: MLPlatform, cluster: str, tmp_path: Path) -> None:
    volumes = [{"name": "v", "hostPath": {"path": "/"}}]
    with pytest.raises(BadRequestException, match=r"spec\.volumes: jobs on Kubernetes may not set it"):
        admin.spark_submit_job(cluster, manifest("bad", volumes=volumes), script(tmp_path, "exit 0"))


def test_a_cluster_that_is_gone_for_a_while_disturbs_nobody(
    bed: Bed, admin: MLPlatform, cluster: str, tmp_path: Path
) -> None:
    admin.spark_submit_job(cluster, manifest("waits"), script(tmp_path, "echo begin\nsleep 3\necho end\nexit 4"))
    until(lambda: admin.spark_job_info(cluster, "waits").status == "RUNNING")
    bed.kill("kube-apiserver")
    local = next(info.id for info in admin.get_clusters() if info.name == "local")
    admin.spark_submit_job(local, manifest("meanwhile"), script(tmp_path, "exit 0"))
    assert ended(admin, local, "meanwhile") == "COMPLETED"
    bed.run("kube-apiserver")
    assert ended(admin, cluster, "waits") == "FAILED"
    assert str(admin.spark_job_logs(cluster, "waits")) == "begin\nend\n"
    admin.spark_delete_job(cluster, "waits")
    until(lambda: not left(bed))
