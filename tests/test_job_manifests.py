"""Manifests as people write them, on a platform: what a job gets, what is told, what is refused. The jobs are shell
scripts."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Newcomer
from jobs import manifest, new_cluster, until

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import BadRequestException
from mlplatform_client.local import LocalPlatform

_numbers = itertools.count(1)
POD = {"memory": "512m"}
OBJECT = "apiVersion: v1\nkind: {kind}\nmetadata:\n  name: {name}\n{values}:\n  {key}: {value}\n"


@pytest.fixture
def user(newcomer: Newcomer, platform: LocalPlatform) -> MLPlatform:
    return MLPlatform(newcomer()[1], url=platform.url)


@pytest.fixture
def cluster(admin: MLPlatform, tmp_path: Path) -> str:
    """With a secret and a config map."""
    cluster = new_cluster(admin, f"manifests-{next(_numbers)}")
    for kind, values, name, key in [("Secret", "stringData", "s", "key.json"), ("ConfigMap", "data", "c", "app.conf")]:
        yaml = tmp_path / f"{name}.yaml"
        yaml.write_text(OBJECT.format(kind=kind, values=values, name=name, key=key, value=f"of-{name}"))
        (admin.create_secret_from_yaml if kind == "Secret" else admin.create_configmap_from_yaml)(cluster, yaml)
    return cluster


@pytest.fixture
def submit(user: MLPlatform, cluster: str, tmp_path: Path) -> Callable[..., str]:
    """Submits a script with a manifest, and gives its log."""

    def submit(script: str, file: str = "job.py", **spec: Any) -> str:
        program = tmp_path / file
        program.write_text(script)
        user.spark_submit_job(cluster, manifest("job", **spec), program)
        until(lambda: user.spark_job_info(cluster, "job").status in ("COMPLETED", "FAILED"))
        return str(user.spark_job_logs(cluster, "job"))

    return submit


@pytest.fixture
def told(user: MLPlatform, cluster: str) -> Callable[[], list[str]]:
    """What was said to count for nothing."""
    return lambda: [event.message for event in user.spark_events(cluster) if event.reason == "SettingIgnored"]


def test_variables_and_arguments_are_expanded(submit: Callable[..., str], told: Callable[[], list[str]]) -> None:
    template = {"spec": {"containers": [{"env": [{"name": "FROM_TEMPLATE", "value": "t"}]}]}}
    env = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)2 $$(A) $(NONE) $(LATER)"},
        {"name": "LATER", "value": "x"},
        {"name": "EMPTY"},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    log = submit(
        'echo "[$B] [$FROM_TEMPLATE] [${EMPTY-unset}] [$POD]"; for each; do echo "($each)"; done',
        driver={**POD, "env": env, "template": template},
        arguments=["$(A)$(B)", "", "$$(A)", "$(NONE)", "$(FROM_TEMPLATE)"],
    )
    second = "12 $(A) $(NONE) $(LATER)"
    assert log == f"[{second}] [t] [] [job-driver]\n(1{second})\n()\n($(A))\n($(NONE))\n(t)\n"
    assert told() == []


def test_mounts_are_files_below_a_folder_that_the_job_is_told(
    submit: Callable[..., str], told: Callable[[], list[str]], platform: LocalPlatform
) -> None:
    driver = {
        **POD,
        "configMaps": [{"name": "c", "path": "/etc/app"}],
        "secrets": [{"name": "s", "path": "/etc/gcp", "secretType": "GCPServiceAccount"}],
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/scratch"},
            {"name": "one", "mountPath": "/opt/one.conf", "subPath": "app.conf"},
            {"name": "host", "mountPath": "/tmp"},
        ],
    }
    volumes = [
        {"name": "scratch", "emptyDir": {}},
        {"name": "one", "configMap": {"name": "c"}},
        {"name": "host", "hostPath": {"path": "/tmp", "type": "Directory"}},
    ]
    script = """
cat "$MLP_MOUNTS/etc/app/app.conf"; echo
cat "$GOOGLE_APPLICATION_CREDENTIALS"; echo
cat "$MLP_MOUNTS/opt/one.conf"; echo
mkdir -p "$MLP_MOUNTS/scratch/a/b" && echo written
cat "$SPARK_CONF_DIR/app.conf"; echo
stat -c %a "$MLP_MOUNTS" "$MLP_MOUNTS/etc/gcp/key.json"
"""
    log = submit(script, driver=driver, volumes=volumes, sparkConfigMap="c")
    assert log == "of-c\nof-s\nof-c\nwritten\nof-c\n700\n600\n"
    assert [message.split(":")[0] for message in told()] == [
        "spec.sparkConfigMap",
        "spec.driver.configMaps[0]",
        "spec.driver.secrets[0]",
        "spec.driver.volumeMounts[0]",
        "spec.driver.volumeMounts[1]",
    ]
    assert "it is '$MLP_MOUNTS/etc/app'" in told()[1]
    jobs = Path(platform.data_dir, "jobs")
    until(lambda: not [path for path in jobs.glob("*/mounts") if path.exists()])


def test_each_run_has_its_mounts_anew(submit: Callable[..., str], tmp_path: Path, platform: LocalPlatform) -> None:
    """The first run leaves a link to a folder outside, where a platform that followed it would write."""
    outside = tmp_path / "outside"
    outside.mkdir()
    script = f"""
cd "$MLP_MOUNTS"
if [ -e {tmp_path}/once ]; then cat m/app.conf; ls -A d; exit 0; fi
touch {tmp_path}/once d/left; rm -rf m; ln -s {outside} m; exit 1
"""
    driver = {
        **POD,
        "configMaps": [{"name": "c", "path": "/m"}],
        "volumeMounts": [{"name": "d", "mountPath": "/d"}],
    }
    restart = {"type": "OnFailure", "onFailureRetries": 1, "onFailureRetryInterval": 1}
    assert submit(script, driver=driver, volumes=[{"name": "d"}], restartPolicy=restart) == "of-c"
    assert os.listdir(outside) == []


def test_what_counts_for_nothing_is_told(submit: Callable[..., str], told: Callable[[], list[str]]) -> None:
    log = submit(
        "echo done",
        nodeSelector={"disk": "ssd"},
        monitoring={"exposeDriverMetrics": True, "exposeExecutorMetrics": False},
        sparkConf={"spark.kubernetes.driver.pod.name": "mine", "spark.submit.deployMode": "cluster"},
        driver={**POD, "sidecars": [{"name": "s"}], "initContainers": [{"name": "i"}], "hostNetwork": False},
        executor={**POD, "tolerations": [{"operator": "Exists"}], "instances": 1, "cores": 2, "coreLimit": "1"},
    )
    assert log == "done\n"
    fields = [re.sub(r":.*", "", message) for message in told()]
    assert sorted(fields) == [
        "spec.driver.initContainers", "spec.driver.sidecars", "spec.executor.cores", "spec.executor.tolerations",
        "spec.monitoring", "spec.nodeSelector", "spec.sparkConf",
    ]  # fmt: skip


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("no map", {"driver": {**POD, "configMaps": [{"name": "none", "path": "/m"}]}}, "the ConfigMap 'none' does not"),
    ("no key", {"driver": {**POD, "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "z"}}}]}},
     "the ConfigMap 'c' has no key 'z'"),
    ("claim", {"driver": {**POD, "volumeMounts": [{"name": "v", "mountPath": "/m"}]},
               "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}, "put the files into the"),
    ("host", {"driver": {**POD, "volumeMounts": [{"name": "v", "mountPath": "/m"}]},
              "volumes": [{"name": "v", "hostPath": {"path": "/etc"}}]}, "mount it at '/etc'"),
    ("suspend", {"suspend": True}, r"spec\.suspend: a suspended job is not run"),
    ("quote", {"driver": {**POD, "javaOptions": "-Dx='a"}}, r"spec\.driver\.javaOptions: a quote is not closed"),
    ("argument", {"arguments": ["ok", "x" * 131_072]}, r"spec\.arguments\[1\]: it has more than 131071 bytes"),
    ("variable", {"driver": {**POD, "env": [{"name": "BIG", "value": "x" * 131_072}]}}, "the variable 'BIG' has more"),
    ("grown", {"driver": {**POD, "env": [{"name": "A", "value": "x" * 70_000}]}, "arguments": ["$(A)$(A)"]},
     r"spec\.arguments\[0\]"),
    ("all", {"driver": {**POD, "env": [{"name": "A", "value": "x" * 100_000}]}, "arguments": ["$(A)"] * 16},
     "can be given to a process"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "text"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_would_be_wrong_to_run_without_is_refused(
    submit: Callable[..., str], spec: dict[str, Any], text: str
) -> None:
    with pytest.raises(BadRequestException, match=text):
        submit("exit 0", **spec)


def test_the_largest_that_linux_takes_is_taken(submit: Callable[..., str]) -> None:
    env = [{"name": "BIG", "value": "x" * (131_072 - len("BIG") - 2)}]
    # A manifest is no longer than 256 KiB: the argument is made of the variable.
    log = submit("echo ${#BIG} ${#1}", driver={**POD, "env": env}, arguments=["$(BIG)yyyy"])
    assert log == "131067 131071\n"


@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        ("eda.ipynb", "jupyter nbconvert --to script eda.ipynb"),
        ("job.txt", "rename it to job.py"),
        ("job", "rename it to job.py"),
        ("JOB.PY", "rename it to JOB.py"),
    ],
)
def test_a_program_that_spark_would_take_for_a_jar(submit: Callable[..., str], file: str, remedy: str) -> None:
    with pytest.raises(BadRequestException, match=remedy):
        submit("exit 0", file)
