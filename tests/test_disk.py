"""A disk that is full or cannot be written: clear errors, nothing lost, well again when there is room."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import ServiceUnavailableException
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

pytestmark = pytest.mark.slow
MOUNT, UMOUNT = (shutil.which(program) or program for program in ("mount", "umount"))
SERVER = str(Path(sysconfig.get_path("scripts")) / "mlplatform-server")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of 8 MiB."""
    mount = [MOUNT, "-t", "tmpfs", "-o", "size=8m,mode=700", "none", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk is mounted for this, which takes root")
    yield tmp_path
    subprocess.run([UMOUNT, "--lazy", str(tmp_path)], check=True)


def _fill(disk: Path) -> Path:
    """Leave not one byte."""
    filler = disk / "filler"
    size = 1 << 20
    with open(filler, "ab", buffering=0) as file:
        while size:
            try:
                if file.write(b"x" * size) < size:
                    size //= 2
            except OSError as error:
                assert error.errno == errno.ENOSPC
                size //= 2
    return filler


def test_a_full_disk_is_told_and_nothing_acknowledged_is_lost(disk: Path) -> None:
    folder = disk / "data"
    with LocalPlatform(folder) as platform, MLPlatform(platform.admin_token, url=platform.url) as admin:
        kept = {"before"}
        admin.create_register_token("before", "1h", token_type=MLPTokenType.USER)
        filler = _fill(disk)
        for number in range(2000):
            name = f"full-{number}"
            try:
                admin.create_register_token(name, "1h", token_type=MLPTokenType.USER)
            except ServiceUnavailableException as error:
                assert "disk is full" in str(error)
                assert "nothing was changed" in str(error)
                break
            kept.add(name)
        else:
            pytest.fail("a full disk takes everything")
        # What needs no room goes on.
        assert admin.who_am_i().name == "admin"
        assert {info.client_name for info in admin.get_register_tokens_info()} == kept
        filler.unlink()
        kept.add("after")
        admin.create_register_token("after", "1h", token_type=MLPTokenType.USER)
        assert {info.client_name for info in admin.get_register_tokens_info()} == kept
    verify = subprocess.run(
        [SERVER, "audit", "verify", "--data-dir", str(folder)], capture_output=True, text=True, check=False
    )
    assert verify.returncode == 0, verify.stdout
    with LocalPlatform(folder) as platform, MLPlatform(platform.admin_token, url=platform.url) as admin:
        assert {info.client_name for info in admin.get_register_tokens_info()} == kept


def test_a_start_on_a_full_disk_says_so_and_the_next_one_succeeds(disk: Path) -> None:
    filler = _fill(disk)
    command = [SERVER, "serve", "--listen", "127.0.0.1:0", "--no-jobs", "--data-dir", str(disk)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert str(disk) in done.stderr
    filler.unlink()
    with LocalPlatform(disk) as platform:
        assert MLPlatform(platform.admin_token, url=platform.url).who_am_i().name == "admin"


def test_a_read_only_folder_is_named(disk: Path) -> None:
    with LocalPlatform(disk) as platform:
        token = platform.admin_token
    subprocess.run([MOUNT, "-o", "remount,ro", str(disk)], check=True)
    done = subprocess.run(
        [SERVER, "serve", "--listen", "127.0.0.1:0", "--no-jobs", "--data-dir", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"cannot write to the data directory '{disk}'" in done.stderr
    assert "--data-dir" in done.stderr
    with pytest.raises(OSError, match="Read-only"):
        LocalPlatform(disk / "new")
    subprocess.run([MOUNT, "-o", "remount,rw", str(disk)], check=True)
    with LocalPlatform(disk) as platform:
        assert MLPlatform(token, url=platform.url).who_am_i().name == "admin"
