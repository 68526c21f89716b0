"""The server as a process: what it leaves behind when it crashes, and whom it believes on its own machine."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from exhaustion import Server

from mlplatform_client import MLPlatform
from mlplatform_client.local import _find_program

linux = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc to look into")
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
NOBODY = "nobody"
# Exchanges what is no token, and says for whom.
FORGE = """
exec 3<>/dev/tcp/127.0.0.1/$0
printf 'POST /v1_0/sessions HTTP/1.1\\r\\nHost: x\\r\\nContent-Type: application/json\\r\\n' >&3
printf 'X-Forwarded-For: %s\\r\\nContent-Length: 24\\r\\n\\r\\n{"refresh_token":"none"} ' "$1" >&3
head -n 1 <&3
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where another user may come, too: pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="mlplatform-process-") as path:
        os.chmod(path, 0o755)  # noqa: S103 - that is what it is for
        yield Path(path)


def limit_of_core(pid: int | str) -> list[str]:
    limits = Path(f"/proc/{pid}/limits").read_text()
    found = re.search(r"^Max core file size +(\S+) +(\S+)", limits, re.MULTILINE)
    assert found
    return list(found.groups())


@linux
def test_a_crash_writes_no_memory_to_the_disk(folder: Path) -> None:
    with Server(_find_program(), folder) as server:
        assert limit_of_core(server.process.pid) == ["0", "0"]


@linux
@root
def test_an_ordinary_user_starts_jobs_although_nobody_reads_its_memory(folder: Path) -> None:
    user = pwd.getpwnam(NOBODY)
    os.chown(folder, user.pw_uid, user.pw_gid)
    # That its first job runs to its end, entering says.
    with Server(_find_program(), folder, user=NOBODY) as server:
        process = Path(f"/proc/{server.process.pid}")
        assert f"Uid:\t{user.pw_uid}" in (process / "status").read_text()
        # Linux gives what may not be dumped to root.
        assert (process / "environ").stat().st_uid == 0


@linux
@root
def test_a_job_is_no_proxy(folder: Path) -> None:
    arguments = ("--trusted-proxy", "127.0.0.0/8,::1", "--job-user", NOBODY)

    def forge(address: str, user: str | None) -> None:
        command = ["/bin/bash", "-c", FORGE, str(server.address[1]), address]
        told = subprocess.run(command, user=user, cwd="/", capture_output=True, text=True, check=True)
        assert told.stdout.startswith("HTTP/1.1 403 ")

    with Server(_find_program(), folder, arguments) as server:
        forge("198.51.100.7", None)
        forge("198.51.100.8", NOBODY)
        with MLPlatform((folder / "data" / "admin-token").read_text().strip(), url=server.url) as admin:
            rows = [row for row in admin.get_audit() if row.action == "create_session"]
        assert sorted(row.address for row in rows) == ["127.0.0.1", "198.51.100.7"]
