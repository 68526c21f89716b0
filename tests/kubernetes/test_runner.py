"""The runner on Kubernetes, on the test bed, or on the cluster that KUBECONFIG names."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubernetes.bed import Bed

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[str]:
    given = os.environ.get("KUBECONFIG")
    if given:
        yield given
        return
    with Bed() as bed:
        yield str(bed.kubeconfig)


@pytest.mark.parametrize("suite", ["conformance", "kubernetes"])
def test_suite(kubeconfig: str, suite: str) -> None:
    cargo = shutil.which("cargo")
    assert cargo
    command = [cargo, "test", "--locked", "-p", "mlplatform-spark-kubernetes", "--test", suite]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "KUBECONFIG": kubeconfig}, check=True)
