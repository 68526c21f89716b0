"""The token service agrees with a simple model of it; the long run is in tests/soak."""

from __future__ import annotations

from pathlib import Path

import pytest
import token_machine
from server_clock import ServerClock


@pytest.mark.slow
def test_the_server_does_what_the_model_says(clock: ServerClock, tmp_path: Path) -> None:
    world = token_machine.run(tmp_path / "platform", clock, examples=12, steps=40, derandomize=True)
    assert world.steps > 300
