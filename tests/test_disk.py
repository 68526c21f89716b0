"""A disk that is full or cannot be written: clear errors, nothing lost, well again when there is room."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import stand_in
from jobs import FINAL, manifest, until

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import ServiceUnavailableException
from mlplatform_client.local import LocalPlatform, _find_program
from mlplatform_client.serializers.auth import MLPTokenType

pytestmark = pytest.mark.slow
MOUNT, UMOUNT = (shutil.which(program) or program for program in ("mount", "umount"))
SERVER = _find_program()

pytestmark = pytest.mark.sqlite("the disk that is full has the database on it")


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A disk of its own, of 8 MiB unless the test says otherwise."""
    mount = [MOUNT, "-t", "tmpfs", "-o", f"size={getattr(request, 'param', '8m')},mode=700", "none", str(tmp_path)]
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


def test_jobs_on_another_disk_than_the_rest_are_refused(disk: Path) -> None:
    """What they leave behind could not be renamed into the trash."""
    jobs = disk / "data/jobs"
    jobs.mkdir(parents=True)
    jobs.parent.chmod(0o700)
    subprocess.run([MOUNT, "-t", "tmpfs", "-o", "size=1m", "none", str(jobs)], check=True)
    command = [SERVER, "serve", "--listen", "127.0.0.1:0", "--no-jobs", "--data-dir", str(jobs.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    subprocess.run([UMOUNT, str(jobs)], check=True)
    assert done.returncode == 2
    assert f"cannot trust '{jobs}': it is on another file system than the data directory" in done.stderr
    assert f"mount that file system at '{jobs.parent}'" in done.stderr


def test_what_cannot_be_moved_into_the_trash_is_tried_again(
    disk: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next that is thrown away, and by the next start."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(elsewhere)))
    program, gate = elsewhere / "job.py", elsewhere / "gate"
    program.write_text(f"echo begun; while [ ! -e {gate} ]; do sleep 0.05; done\n")
    with LocalPlatform(disk / "data") as platform, MLPlatform(platform.admin_token, url=platform.url) as admin:
        cluster = admin.get_clusters()[0].id
        jobs: dict[str, Path] = {}
        for name in ("one", "two"):
            admin.spark_submit_job(cluster, manifest(name), program)
            until(lambda name=name: "begun" in admin.spark_job_logs(cluster, name, wait=0).logs)  # type: ignore[misc]
            (jobs[name],) = set((disk / "data/jobs").iterdir()) - set(jobs.values())
            # A mount keeps its name, whatever root does.
            work = str(jobs[name] / "work")
            subprocess.run([MOUNT, "--bind", work, work], check=True)
        gate.touch()
        log = disk / "data/server.log"
        for name, folder in jobs.items():
            until(lambda name=name: str(admin.spark_job_info(cluster, name).status) == "COMPLETED")  # type: ignore[misc]
            until(lambda folder=folder: f"'{folder}/work' cannot be moved into the trash" in log.read_text())  # type: ignore[misc]
        subprocess.run([UMOUNT, str(jobs["one"] / "work")], check=True)
        admin.spark_submit_job(cluster, manifest("three"), program)
        until(lambda: not (jobs["one"] / "work").exists())
        assert (jobs["two"] / "work").exists()
    subprocess.run([UMOUNT, str(jobs["two"] / "work")], check=True)
    with LocalPlatform(disk / "data"):
        until(lambda: not (jobs["two"] / "work").exists() and not any((disk / "data/trash").iterdir()))


@pytest.mark.parametrize("disk", ["256m"], indirect=True)
@pytest.mark.timeout(300)
def test_jobs_that_fill_the_disk_cost_neither_a_token_nor_another_job(
    disk: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(elsewhere)))
    gate, program = elsewhere / "gate", elsewhere / "job.py"
    folder = disk / "data"
    with LocalPlatform(folder) as platform, MLPlatform(platform.admin_token, url=platform.url) as admin:
        cluster = admin.get_clusters()[0].id
        waits = f"echo begun; while [ ! -e {gate} ]; do sleep 0.05; done; exit 3"
        for name, script in [
            ("other", waits),
            ("talks", "yes and so on without end"),
            ("fills", "n=0; while :; do n=$((n+1)); head -c 8388608 /dev/zero > file-$n; done"),
            ("fills-again", "while :; do cat /dev/zero >> $TMPDIR/file; done"),
        ]:
            program.write_text(script + "\n")
            admin.spark_submit_job(cluster, manifest(name), program)

        def tokens(number: int) -> None:
            """Each of these writes; the client tries again what is answered 503, within its time."""
            name = f"anna-{number}"
            token = admin.create_refresh_token(
                admin.create_register_token(name, "1h", token_type=MLPTokenType.USER, timeout=30), timeout=30
            )
            with MLPlatform(token, url=platform.url) as anna:
                assert anna.who_am_i(timeout=30).name == name
            admin.delete_token(name, timeout=30)

        def status(name: str) -> str:
            return str(admin.spark_job_info(cluster, name, timeout=30).status)

        for number in itertools.count():
            tokens(number)
            if number >= 30 and all(status(name) in FINAL for name in ("fills", "fills-again")):
                break
        # The one that only prints goes on, and so does the one that does nothing.
        assert (status("talks"), status("other")) == ("RUNNING", "RUNNING")
        for name in ("fills", "fills-again"):
            assert status(name) == "FAILED"
            told = admin.spark_job_explain(cluster, name)
            assert told.cause == "evicted"
            assert "the platform's disk is nearly full" in str(told)
            assert "working folder took" in str(told)
        gate.touch()
        until(lambda: status("other") == "FAILED")
        assert admin.spark_job_explain(cluster, "other").cause == "exit-code"
        until(lambda: any(event.reason == "LogTruncated" for event in admin.spark_events(cluster)))
        assert "the platform's disk was nearly full …]" in admin.spark_job_logs(cluster, "talks", tail=3, wait=0).logs
        for number in range(1000, 1020):
            tokens(number)
        done = subprocess.run(
            [SERVER, "admin-token", "--data-dir", str(folder)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        with MLPlatform(Path(done.stdout.strip()).read_text().strip(), url=platform.url) as other:
            other.spark_delete_job(cluster, "talks")
    verify = [SERVER, "audit", "verify", "--data-dir", str(folder)]
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("disk", ["256m"], indirect=True)
def test_what_stays_on_a_disk_starts_no_run_and_costs_no_token(
    disk: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that no job's end removes: runs wait and are told why, and the platform's own writes have a reserve."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(elsewhere)))
    program = elsewhere / "job.py"
    program.write_text("echo ran\n")
    folder = disk / "data"
    with LocalPlatform(folder) as platform, MLPlatform(platform.admin_token, url=platform.url) as admin:
        cluster = admin.get_clusters()[0].id
        admin.spark_submit_job(cluster, manifest("first"), program)
        until(lambda: str(admin.spark_job_info(cluster, "first").status) == "COMPLETED")
        reserve = folder / "reserve"
        until(reserve.exists)
        assert reserve.stat().st_mode & 0o777 == 0o600
        filler = _fill(disk)
        until(lambda: not reserve.exists())
        admin.create_refresh_token(
            admin.create_register_token("anna", "1h", token_type=MLPTokenType.USER, timeout=30), timeout=30
        )
        admin.delete_token("anna", timeout=30)
        program.write_text("")
        job = manifest("second", mainApplicationFile=f"local://{elsewhere}/job.py")
        admin.spark_submit_job(cluster, job, timeout=30)
        until(lambda: admin.spark_job_explain(cluster, "second").cause == "disk-full")
        assert any(event.reason == "DiskPressure" for event in admin.spark_events(cluster))
        filler.unlink()
        until(lambda: str(admin.spark_job_info(cluster, "second").status) == "COMPLETED")
        until(reserve.exists)
        log = (folder / "server.log").read_text()
        assert "the disk is full although no job runs" in log
        assert "the disk has room again" in log


@pytest.mark.parametrize("disk", ["256m,nr_inodes=2000"], indirect=True)
def test_a_job_that_uses_up_the_files_of_a_disk_is_evicted(
    disk: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk has a number of files, too: empty ones cost it no byte."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(elsewhere)))
    program = elsewhere / "job.py"
    program.write_text("n=0; while :; do n=$((n+1)); : > file-$n; done\n")
    with LocalPlatform(disk / "data") as platform, MLPlatform(platform.admin_token, url=platform.url) as admin:
        cluster = admin.get_clusters()[0].id
        admin.spark_submit_job(cluster, manifest("files"), program)
        until(lambda: str(admin.spark_job_info(cluster, "files").status) == "FAILED")
        assert admin.spark_job_explain(cluster, "files").cause == "evicted"
        program.write_text("echo ran\n")
        admin.spark_submit_job(cluster, manifest("next"), program, timeout=60)
        until(lambda: str(admin.spark_job_info(cluster, "next").status) == "COMPLETED")
        done = subprocess.run([SERVER, "admin-token", "--data-dir", str(disk / "data")], check=False)
        assert done.returncode == 0
