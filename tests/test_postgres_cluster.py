"""The PostgreSQL that tests start: it is theirs alone, and nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import postgres
import pytest

SCRIPT = [sys.executable, postgres.__file__]


def is_gone(folder: Path) -> bool:
    """Neither its files nor a process that has them are left."""
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
    return not folder.exists() and not any(str(folder).encode() in command for command in commands)


def test_databases_of_a_cluster_are_apart_and_all_of_it_is_removed() -> None:
    with postgres.Cluster(settings=("work_mem=5MB",)) as cluster:
        first, second = cluster.create_database(), cluster.create_database()
        assert first != second
        assert first.startswith("postgres://mlplatform:")
        assert cluster.sql("SHOW work_mem") == "5MB"
        # Acknowledged means flushed, as it does for users.
        assert cluster.sql("SHOW fsync") == "on"
        cluster.sql("CREATE TABLE kept AS SELECT 1 AS one")
        cluster.end(signal.SIGQUIT)
        cluster.start()
        assert cluster.sql("SELECT one FROM kept") == "1"
        assert os.geteuid() != 0 or cluster.data.owner() == "nobody"
        folder = cluster.folder
    assert is_gone(folder)


def test_a_command_finds_it_in_its_environment() -> None:
    tells = ["sh", "-c", f"echo ${postgres.VARIABLE}; exit 7"]
    done = subprocess.run([*SCRIPT, *tells], stdout=subprocess.PIPE, encoding="utf-8", check=False, timeout=120)
    assert done.returncode == 7
    assert done.stdout.startswith("postgres://mlplatform:")


@pytest.mark.parametrize("how", ["end of input", "SIGTERM"])
def test_it_ends_with_whoever_started_it(how: str) -> None:
    with subprocess.Popen(SCRIPT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = process.stdout.readline().strip().rsplit(":", 1)[1].split("/")[0]
        commands = {
            path: path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)
        }
        (of_postgres,) = [text for text in commands.values() if f"port={port}".encode() in text]
        folder = Path(of_postgres.split(b"\0")[2].decode()).parent
        assert folder.exists()
        if how == "SIGTERM":
            process.terminate()
        else:
            process.stdin.close()
        process.wait(60)
    deadline = time.monotonic() + 10
    while not is_gone(folder):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_without_its_programs_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "FOLDERS", ())
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(postgres.CannotStart, match="apt-get install postgresql"):
        postgres.programs()
