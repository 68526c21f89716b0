"""The fixtures `clock` and `moved_platform`: a server whose clock a test moves, instead of sleeping."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlplatform_client.local import LocalPlatform

VARIABLE = "MLP_SERVER_CLOCK_OFFSET_FILE"


class ServerClock:
    """The file by which a test build of the server is told how far its clock is ahead. It is read at each request."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ahead = 0.0
        self.set(0.0)

    def set(self, ahead: float) -> None:
        """That many seconds ahead of the system's clock; negative: behind."""
        beside = self.path.with_suffix(".new")
        beside.write_text(f"{ahead}")
        beside.replace(self.path)  # at once: a request never sees half a number
        self.ahead = ahead

    def advance(self, seconds: float) -> None:
        """That many seconds on from where it is."""
        self.set(self.ahead + seconds)


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerClock:
    """The clock of every server that the test starts from now on."""
    clock = ServerClock(tmp_path / "clock")
    monkeypatch.setenv(VARIABLE, str(clock.path))
    return clock


@pytest.fixture
def moved_platform(clock: ServerClock, tmp_path: Path) -> Iterator[LocalPlatform]:
    """A platform of the test's own, on `clock`."""
    with LocalPlatform(tmp_path / "platform") as platform:
        yield platform
