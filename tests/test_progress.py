"""The line of a wait: in a terminal, in a pipe, in a notebook, and where nobody sees it."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from jobs import manifest, new_cluster, until
from test_profiles import Terminal

from mlplatform_client import MLPlatform
from mlplatform_client._progress import Progress, printable
from mlplatform_client.core.exceptions import TimeoutException

CODE = """
from mlplatform_client._progress import Progress
with Progress({shown}) as progress:
    progress.update("one")
    progress.update("one")
    progress.update("two\\n lines")
    progress.update("x" * 1000)
print("end")
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLP_PROGRESS", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_in_a_terminal_it_is_redrawn() -> None:
    terminal = Terminal(CODE.format(shown=""))
    assert terminal.end() == 0
    redrawn = terminal.shown.split("\r\x1b[K")
    assert redrawn[:3] == ["", "one", "two lines"]
    last, end = redrawn[3].splitlines()
    assert last.endswith("x…")
    assert len(last) < 200
    assert end == "end"
    assert len(redrawn) == 4


@pytest.mark.parametrize("variable", ["0", "no"])
def test_nobody_asked_for_it(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for shown, value in [("False", ""), ("", variable)]:
        monkeypatch.setenv("MLP_PROGRESS", value)
        terminal = Terminal(CODE.format(shown=shown))
        assert terminal.end() == 0
        assert terminal.shown == "end\r\n"


def test_in_a_pipe_each_change_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        for text in ("one", "one", "two"):
            progress.update(text)
    assert capsys.readouterr().err == "one\ntwo\n"


def test_a_stream_that_is_gone_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    closed = io.StringIO()
    closed.close()
    pipe = os.fdopen(writing, "w")
    for stream in (pipe, closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        with Progress() as progress:
            progress.update("one")
            progress.update("two")
    with pytest.raises(BrokenPipeError):
        pipe.close()


def test_control_characters_do_not_move_the_cursor() -> None:
    assert printable("a\x1b[2Jb\r\nc") == "a [2Jb  c"


def test_a_wait_says_what_the_job_does(admin: MLPlatform, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cluster = new_cluster(admin, "progress")
    program = tmp_path / "job.py"
    program.write_text("exit 0\n")
    admin.spark_submit_job(cluster, manifest("progress"), program)
    seen: list[str] = []
    admin.wait_for_spark_job(cluster, "progress", on_update=lambda info: seen.append(str(info.status)))
    shown = capsys.readouterr().err.splitlines()
    assert shown[-1] == "progress: COMPLETED"
    assert all(line.startswith(("progress: ", "progress:")) for line in shown)
    assert seen[-1] == "COMPLETED"
    admin.wait_for_spark_job(cluster, "progress", progress=False)
    assert capsys.readouterr().err == ""
    # One that waits for room says so, until its time is over.
    large = {"cores": 1000, "coreRequest": "1000", "memory": "512m"}
    admin.spark_submit_job(cluster, manifest("too-large", driver=large), program)
    until(lambda: "FailedScheduling" in {str(event.reason) for event in admin.spark_events(cluster)})
    with pytest.raises(TimeoutException):
        admin.wait_for_spark_job(cluster, "too-large", timeout=0.5)
    assert "too-large: SUBMITTED: The job 'too-large' asks for more than the cluster has" in capsys.readouterr().err
    for name in ("progress", "too-large"):
        admin.spark_delete_job(cluster, name)
