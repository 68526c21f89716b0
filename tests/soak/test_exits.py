"""A thousand interpreters that end with calls in flight, on each Python, by the release wheel, on a busy machine."""

from __future__ import annotations

import collections
import os
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT
from exits import DELAYS, KINDS, SINCE, busy_machine, leave_often, world
from figures import Figure
from interpreters import Interpreter, interpreters

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform

ROUNDS = 8


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("interpreter", [i for i in interpreters() if i.takes_the_wheel], ids=str)
def test_an_interpreter_ends_with_calls_in_flight(
    interpreter: Interpreter, platform: LocalPlatform, admin: MLPlatform, tmp_path: Path, figure: Figure
) -> None:
    wheels = list((ROOT / "dist").glob("mlplatform_client-*.whl"))
    assert len(wheels) == 1, "there is no release wheel: make wheel"
    zipfile.ZipFile(wheels[0]).extractall(tmp_path)
    times = ROUNDS * len(KINDS) * len(DELAYS) * len(SINCE)
    cores = os.cpu_count() or 1
    with busy_machine(2 * cores):
        wrong = leave_often(interpreter.path, world(platform, admin), times, 4 * cores, {"PYTHONPATH": str(tmp_path)})
    assert not wrong, f"{len(wrong)} of {times}: {collections.Counter(wrong).most_common(5)}"
    figure(
        "An interpreter that ends with calls in flight, of every kind, in daemon threads and executors, ends well",
        f"{times} exits of {interpreter} with the release wheel, beside {2 * cores} busy processes on {cores} cores: "
        "no abort, no hang, no noise",
    )
