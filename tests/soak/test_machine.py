"""The long run of the stateful machine."""

from __future__ import annotations

from pathlib import Path

import token_machine
from figures import Figure
from server_clock import ServerClock

STEPS = 5_000


def test_the_server_does_what_the_model_says(clock: ServerClock, tmp_path: Path, figure: Figure) -> None:
    folder = tmp_path / "platform"
    world = token_machine.run(folder, clock, examples=220, steps=40, derandomize=False)
    assert world.steps >= STEPS
    figure(
        "Register, redeem, rotate, delete, withdraw, expire, restart, list and call, in any order, do what a simple "
        "model says",
        f"{world.steps} steps in {world.examples} examples, {world.restarts} restarts, half of them by SIGKILL: "
        "no difference",
    )
