"""The progress line of waits and transfers: in a terminal, in a pipe, and without a usable stream."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from jobs import manifest, new_cluster, until
from test_profiles import Terminal

from mlplatform_client import MLPlatform, _progress
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


def test_a_terminal_redraws_the_line() -> None:
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
def test_it_can_be_turned_off(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for shown, value in [("False", ""), ("", variable)]:
        monkeypatch.setenv("MLP_PROGRESS", value)
        terminal = Terminal(CODE.format(shown=shown))
        assert terminal.end() == 0
        assert terminal.shown == "end\r\n"


def test_a_pipe_gets_a_line_for_each_change(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        for text in ("one", "one", "two"):
            progress.update(text)
    assert capsys.readouterr().err == "one\ntwo\n"


def test_a_broken_stream_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_wait_shows_the_state_of_the_job(
    admin: MLPlatform, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
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


def test_a_large_upload_and_a_saved_log_show_their_progress(
    admin: MLPlatform, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cluster = new_cluster(admin, "transfers")
    # Comments: the job ends at once, the program is large.
    program = tmp_path / "large.py"
    program.write_text("echo done\n" + f"# {'x' * 97}\n" * 60_000)
    admin.spark_submit_job(cluster, manifest("transfers"), program)
    uploading = capsys.readouterr().err.splitlines()
    assert uploading[-1] == "large.py: uploading 100 %"
    # The first report and the last one: a line that stays is not repeated within ten seconds.
    assert len(uploading) == 2
    admin.wait_for_spark_job(cluster, "transfers", progress=False)
    size = admin.save_spark_job_logs(cluster, "transfers", tmp_path / "a.log")
    assert capsys.readouterr().err.splitlines()[-1] == f"a.log: {_progress._size(size)} saved"
    job = admin.spark_job(cluster, "transfers")
    assert job.save_logs(tmp_path / "b.log", progress=False) == size
    small = tmp_path / "small.py"
    small.write_text("exit 0\n")
    admin.spark_submit_job(cluster, manifest("small"), small)
    program.write_bytes(program.read_bytes()[:-1])
    admin.spark_submit_job(cluster, manifest("quiet"), program, progress=False)
    assert capsys.readouterr().err == ""
    for name in ("transfers", "small", "quiet"):
        admin.spark_delete_job(cluster, name)


def test_sizes_are_for_people() -> None:
    sizes = [0, 1023, 1024, 5_000_000, 3 << 30]
    assert [_progress._size(size) for size in sizes] == ["0 bytes", "1023 bytes", "1.0 KiB", "4.8 MiB", "3.0 GiB"]
