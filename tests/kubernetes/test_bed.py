"""The test bed itself: applications from their submission to their end, over a rerun and over deaths of its parts."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from kubernetes.api import Api, ApiError, Object
from kubernetes.bed import Bed
from kubernetes.operator_standin import CONTAINER

CORE = "/api/v1/namespaces/default"
APPLICATIONS = "/apis/sparkoperator.k8s.io/v1beta2/namespaces/default/sparkapplications"
LATE = 60


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    with Bed() as bed:
        yield bed


def submit(api: Api, name: str, program: str, **spec: object) -> None:
    api.call("POST", f"{CORE}/configmaps", {"metadata": {"name": name}, "data": {"job.py": program}})
    mount = {"name": "program", "mountPath": "/mnt/program"}
    pod = {
        "containers": [{"name": CONTAINER, "volumeMounts": [mount]}],
        "volumes": [{"name": "program", "configMap": {"name": name}}],
    }
    body = {
        "apiVersion": "sparkoperator.k8s.io/v1beta2",
        "kind": "SparkApplication",
        "metadata": {"name": name},
        "spec": {
            "type": "Python",
            "sparkVersion": "4.0.0",
            "image": "none",
            "mainApplicationFile": "local:///mnt/program/job.py",
            "driver": {"template": {"spec": pod}},
            "executor": {},
            **spec,
        },
    }
    api.call("POST", APPLICATIONS, body)


def until(api: Api, name: str, state: str) -> Object:
    deadline = time.monotonic() + LATE
    while True:
        try:
            status: Object = api.call("GET", f"{APPLICATIONS}/{name}").get("status", {})
        except (OSError, ApiError):
            status = {}
        if status.get("applicationState", {}).get("state") == state:
            return status
        assert time.monotonic() < deadline, status
        time.sleep(0.05)


def spark_events(api: Api, name: str) -> list[str]:
    events = api.call("GET", f"{CORE}/events?fieldSelector=involvedObject.name={name}")["items"]
    return sorted(event["reason"] for event in events if event["reason"].startswith("Spark"))


def test_ends_as_its_program_does(bed: Bed) -> None:
    submit(bed.api, "good", "echo hello")
    assert until(bed.api, "good", "COMPLETED")["executionAttempts"] == 1
    submit(bed.api, "bad", "exit 3")
    assert "ExitCode: 3" in until(bed.api, "bad", "FAILED")["applicationState"]["errorMessage"]
    submit(bed.api, "refused", "exit 0", driver={"podName": "Not a name"})
    assert "spark-submit" in until(bed.api, "refused", "FAILED")["applicationState"]["errorMessage"]


def test_is_run_again_as_its_policy_says(bed: Bed) -> None:
    policy = {"type": "OnFailure", "onFailureRetries": 2, "onFailureRetryInterval": 1}
    submit(bed.api, "again", "exit 5", restartPolicy=policy)
    assert until(bed.api, "again", "FAILED")["executionAttempts"] == 3
    expected = sorted(
        ["SparkApplicationSubmitted", "SparkDriverRunning", "SparkDriverFailed"] * 3
        + ["SparkApplicationPendingRerun"] * 2
        + ["SparkApplicationFailed"]
    )
    # The last one is written after the state.
    deadline = time.monotonic() + LATE
    while (reasons := spark_events(bed.api, "again")) != expected:
        assert time.monotonic() < deadline, reasons
        time.sleep(0.05)


def test_goes_with_its_pods(bed: Bed) -> None:
    submit(bed.api, "deleted", "sleep 600")
    until(bed.api, "deleted", "RUNNING")
    bed.api.call("DELETE", f"{APPLICATIONS}/deleted")
    deadline = time.monotonic() + LATE
    while any(pod["metadata"]["name"] == "deleted-driver" for pod in bed.api.call("GET", f"{CORE}/pods")["items"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("component", ["kube-apiserver", "etcd"])
def test_goes_on_when_a_part_of_the_control_plane_was_killed(bed: Bed, component: str) -> None:
    submit(bed.api, component, "sleep 2\nexit 4")
    until(bed.api, component, "RUNNING")
    bed.kill(component)
    bed.run(component)
    assert "ExitCode: 4" in until(bed.api, component, "FAILED")["applicationState"]["errorMessage"]
