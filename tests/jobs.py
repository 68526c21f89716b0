"""What the tests of jobs share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
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


def processes(text: str) -> list[int]:
    """Whose command line holds the text."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue
        if text.encode() in line and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found
