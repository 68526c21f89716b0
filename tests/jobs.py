"""What the tests of jobs share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from mlplatform_client import MLPlatform

FINAL = ("COMPLETED", "FAILED")


def manifest(name: str, **spec: Any) -> dict[str, Any]:
    """A small Python job."""
    pod = {"memory": "512m"}
    return {
        "apiVersion": "sparkoperator.k8s.io/v1beta2",
        "kind": "SparkApplication",
        "metadata": {"name": name},
        "spec": {"type": "Python", "sparkVersion": "4.3.0", "driver": pod, "executor": pod, **spec},
    }


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for what must come to pass."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come to pass"
        time.sleep(0.05)


def new_cluster(admin: MLPlatform, name: str) -> str:
    """A cluster that runs; its id."""
    made = admin.create_cluster({"name": name})
    until(lambda: admin.get_cluster_info(made.id).status == "RUNNING")
    return made.id
