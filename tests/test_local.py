"""LocalPlatform: starts, stops, keeps its data, ends with its parent."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlplatform_client import MLPlatform, TokenStr
from mlplatform_client.core.exceptions import ConfigurationException, MLPlatformException
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType


def _ends(pid: int, within: float) -> bool:
    """Whether the process is gone within that many seconds."""
    give_up = time.monotonic() + within
    while time.monotonic() < give_up:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
    return False


def test_tokens_outlive_a_restart(tmp_path: Path) -> None:
    with LocalPlatform(tmp_path) as platform:
        assert type(platform.admin_token) is TokenStr
        assert platform.admin_token not in repr(platform)
        admin = MLPlatform(platform.admin_token, url=platform.url)
        token = admin.create_refresh_token(admin.create_register_token("kept", "1h", token_type=MLPTokenType.USER))
        pid = platform.pid
    assert _ends(pid, 60)
    with LocalPlatform(str(tmp_path)) as platform:
        assert MLPlatform(token, url=platform.url).who_am_i().name == "kept"
        assert MLPlatform(platform.admin_token, url=platform.url).who_am_i().name == "admin"


def test_a_lost_admin_token_is_told_with_its_remedy(tmp_path: Path) -> None:
    with LocalPlatform(tmp_path):
        (tmp_path / "admin-token").unlink()
    with pytest.raises(ConfigurationException, match="cannot be read") as caught:
        LocalPlatform(tmp_path)
    command = str(caught.value.hint).partition(": ")[2]
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    with LocalPlatform(tmp_path) as platform:
        assert MLPlatform(platform.admin_token, url=platform.url).who_am_i().name == "admin"


@pytest.mark.sqlite("how the program is found; the tests on PostgreSQL give another")
def test_a_program_that_cannot_be_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "scripts" / "mlplatform-server"
    program.parent.mkdir()
    program.write_bytes(b"\x7fELF of another machine")
    program.chmod(0o755)
    folders = tmp_path / "folders"
    folders.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folders))
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(program.parent))
    with pytest.raises(OSError, match="Exec format error"):
        LocalPlatform()
    assert not list(folders.iterdir())


def test_a_temporary_platform_leaves_nothing() -> None:
    with LocalPlatform() as platform:
        folder = Path(platform.data_dir)
        assert (folder / "admin-token").stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
    platform.stop()
    assert not folder.exists()


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_the_server_ends_with_its_parent(end: str) -> None:
    script = (
        "from mlplatform_client.local import *\nplatform = LocalPlatform()\nprint(platform.pid, flush=True)\ninput()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        if end == "kill":
            parent.kill()
        else:
            parent.communicate("\n")
    assert _ends(pid, 60)


def test_a_second_platform_on_one_folder_is_refused(tmp_path: Path) -> None:
    with LocalPlatform(tmp_path) as platform:
        admin = MLPlatform(platform.admin_token, url=platform.url)
        before = admin.create_register_token("before", "1h", token_type=MLPTokenType.USER)
        with pytest.raises(MLPlatformException, match="did not start") as caught:
            LocalPlatform(tmp_path)
        assert f"'{tmp_path}' is in use by process {platform.pid}" in str(caught.value)
        # The first goes on, with all it had.
        assert MLPlatform(admin.create_refresh_token(before), url=platform.url).who_am_i().name == "before"
        assert admin.get_audit()[0].action == "create_refresh_token"
    with LocalPlatform(tmp_path) as platform:
        names = [token.name for token in MLPlatform(platform.admin_token, url=platform.url).get_project_tokens_info()]
    assert names == ["admin", "before"]


@pytest.mark.sqlite("how the program is found; the tests on PostgreSQL give another")
def test_a_missing_program_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(ConfigurationException, match="not installed") as caught:
        LocalPlatform()
    assert "pip install" in str(caught.value.hint)


def test_sigterm_lets_the_server_leave_cleanly(tmp_path: Path) -> None:
    platform = LocalPlatform(tmp_path)
    os.kill(platform.pid, signal.SIGTERM)
    assert platform._process.wait(60) == 0
    platform.stop()


def test_a_temporary_folder_goes_whatever_a_job_has_left_in_it() -> None:
    with LocalPlatform() as platform:
        deep = Path(platform.data_dir) / "jobs"
        deep.mkdir(exist_ok=True)
        # `mkdir -p` 500 at a time: a path of the system is not longer than 4096 bytes.
        path = "a/" * 500
        script = f"i=0; while [ $i -lt 8 ]; do mkdir -p {path}; cd -P {path}; i=$((i+1)); done"
        subprocess.run(["/bin/sh", "-c", script], cwd=deep, check=True)
    assert not Path(platform.data_dir).exists()
    with LocalPlatform(platform.data_dir) as again:
        admin = MLPlatform(again.admin_token, url=again.url)
        admin.create_refresh_token(admin.create_register_token("anna", "1h", token_type=MLPTokenType.USER))
    with LocalPlatform(platform.data_dir):
        written = Path(platform.data_dir) / "server.log"
        log, mode = written.read_text(), written.stat().st_mode & 0o777
    shutil.rmtree(platform.data_dir)
    assert mode == 0o600
    assert "--jobs-as-myself: whoever holds one of 1 access tokens" in log
