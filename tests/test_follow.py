"""Logs, line by line while they are written, and saved. The platform's jobs are shell scripts."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import stand_in
from faults import Fault, FaultProxy, cut_answer, half_close, hang, reset, reset_after, swallow, throttle, unavailable
from faults.kill import Server
from jobs import manifest, new_cluster, until

from mlplatform_client import MLPlatform
from mlplatform_client.aio import AsyncMLPlatform
from mlplatform_client.core.exceptions import (
    BadRequestException,
    ClosedException,
    NotFoundException,
    SparkJobFailed,
    TimeoutException,
)
from mlplatform_client.local import LocalPlatform


@pytest.fixture(scope="module")
def cluster(admin: MLPlatform) -> Iterator[str]:
    cluster = new_cluster(admin, "follow")
    yield cluster
    admin.delete_cluster(cluster)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Jobs go on when it is there."""
    return tmp_path / "gate"


def _submit(mlp: MLPlatform, cluster: str, name: str, program: str, folder: Path) -> None:
    path = folder / f"{name}.py"
    path.write_text(program)
    mlp.spark_submit_job(cluster, manifest(name), path)


def _behind(gate: Path) -> str:
    return f"while ! [ -e '{gate}' ]; do sleep 0.02; done\n"


ODD = r"printf 'dos\r\n\n\377 is no text\nhalf '; sleep 0.3; printf 'a line\nno end'"
ODD_LINES = ["dos\r\n", "\n", "\\xff is no text\n", "half a line\n", "no end"]


def test_lines_from_the_submit_on(admin: MLPlatform, cluster: str, tmp_path: Path) -> None:
    _submit(admin, cluster, "odd", ODD, tmp_path)
    lines = list(admin.spark_job_logs(cluster, "odd", follow=True))
    assert lines == ODD_LINES
    assert "".join(lines) == str(admin.spark_job_logs(cluster, "odd"))
    # Of a job that has ended, too, and of its end.
    job = admin.spark_job(cluster, "odd")
    assert list(job.logs(follow=True)) == ODD_LINES
    assert list(job.logs(tail=2, follow=True)) == ODD_LINES[-2:]
    job.delete()
    assert list(admin.spark_job_logs(cluster, "odd", follow=True)) == ODD_LINES


def test_lines_awaited(platform: LocalPlatform, admin: MLPlatform, cluster: str, tmp_path: Path) -> None:
    async def story() -> list[str]:
        async with AsyncMLPlatform(platform.admin_token, url=platform.url) as mlp:
            job = await mlp.spark_job(cluster, "odd-awaited")
            lines = [line async for line in await job.logs(follow=True)]
            with pytest.raises(NotFoundException):
                async for _ in await mlp.spark_job_logs(cluster, "nobody", follow=True):
                    pass
            return lines

    _submit(admin, cluster, "odd-awaited", ODD, tmp_path)
    assert asyncio.run(story()) == ODD_LINES


def test_a_line_is_there_soon(admin: MLPlatform, cluster: str, tmp_path: Path) -> None:
    """By the one clock of this machine: each line says when it was written."""
    program = "for i in 1 2 3 4 5 6 7 8 9 10; do date +%s.%N; sleep 0.1; done"
    _submit(admin, cluster, "clock", program, tmp_path)
    late = [time.time() - float(line) for line in admin.spark_job_logs(cluster, "clock", follow=True)]
    assert len(late) == 10
    assert sorted(late)[5] < 0.2, late


def test_wrong_follows(admin: MLPlatform, cluster: str, tmp_path: Path, gate: Path) -> None:
    with pytest.raises(NotFoundException):
        next(admin.spark_job_logs(cluster, "nobody", follow=True))
    with pytest.raises(BadRequestException, match="wait: a followed log"):
        admin.spark_job_logs(cluster, "nobody", follow=True, wait=5)  # type: ignore[call-overload]
    _submit(admin, cluster, "late", _behind(gate), tmp_path)
    lines = admin.spark_job_logs(cluster, "late", follow=True, timeout=1)
    for _ in range(2):
        with pytest.raises(TimeoutException, match="following a log"):
            next(lines)
    lines.close()
    assert list(lines) == []
    gate.touch()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork exists on unix only")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_does_not_follow_its_parent_s(admin: MLPlatform, cluster: str, tmp_path: Path) -> None:
    _submit(admin, cluster, "forked", "seq 3", tmp_path)
    lines = admin.spark_job_logs(cluster, "forked", follow=True)
    assert next(lines) == "1\n"
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            next(lines)
        except ClosedException:
            del lines
            code = 0 if list(admin.spark_job_logs(cluster, "forked", follow=True)) == ["1\n", "2\n", "3\n"] else 2
        finally:
            os._exit(code)
    alarm = threading.Timer(20, os.kill, (pid, 9))
    alarm.start()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    alarm.cancel()
    assert list(lines) == ["2\n", "3\n"]


def test_what_is_cancelled_or_closed_leaves_no_request_behind(
    platform: LocalPlatform, admin: MLPlatform, cluster: str, tmp_path: Path, gate: Path
) -> None:
    _submit(admin, cluster, "given-up", "echo begun\n" + _behind(gate), tmp_path)

    def sockets() -> int:
        links = []
        for entry in Path(f"/proc/{platform.pid}/fd").iterdir():
            try:
                links.append(os.readlink(entry))
            except OSError:
                continue
        return sum(link.startswith("socket:") for link in links)

    async def story() -> None:
        mlp = AsyncMLPlatform(platform.admin_token, url=platform.url)
        lines = [await mlp.spark_job_logs(cluster, "given-up", follow=True) for _ in range(10)]
        assert [await anext_(of) for of in lines] == ["begun\n"] * 10
        tasks = [asyncio.ensure_future(anext_(of)) for of in lines]
        await asyncio.sleep(0)
        assert sockets() >= before + 10
        for task in tasks:
            task.cancel()
        assert all(isinstance(e, asyncio.CancelledError) for e in await asyncio.gather(*tasks, return_exceptions=True))
        while sockets() > before + 2:
            await asyncio.sleep(0.05)
        await mlp.close()

    async def anext_(lines: object) -> str:
        said: str = await lines.__anext__()  # type: ignore[attr-defined]
        return said

    before = sockets()
    asyncio.run(asyncio.wait_for(story(), 60))
    gate.touch()


def test_every_line_once_although_the_server_is_killed_twice(
    tmp_path: Path, gate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(tmp_path)))
    program = f"i=0\nwhile ! [ -e '{gate}' ]; do i=$((i+1)); echo $i; sleep 0.005; done\necho last; printf end"
    with Server(tmp_path / "data") as server:
        server.start()
        admin = MLPlatform(server.admin_token, url=server.url)
        cluster = admin.get_clusters()[0].id
        _submit(admin, cluster, "killed", program, tmp_path)
        lines: list[str] = []

        def follow() -> None:
            lines.extend(iter(lambda: next(followed, ""), ""))

        followed = admin.spark_job_logs(cluster, "killed", follow=True)
        lines.append(next(followed))
        thread = threading.Thread(target=follow)
        thread.start()
        copy = tmp_path / "copy"
        saver = threading.Thread(target=lambda: admin.save_spark_job_logs(cluster, "killed", copy, follow=True))
        saver.start()
        until(copy.exists)
        for _ in range(2):
            # Both go on before the next kill.
            seen, size = len(lines), copy.stat().st_size
            until(lambda seen=seen, size=size: len(lines) > seen and copy.stat().st_size > size)  # type: ignore[misc]
            server.kill()
            server.start()
        gate.touch()
        thread.join(60)
        saver.join(60)
        count = len(lines) - 2
        assert lines == [*(f"{number}\n" for number in range(1, count + 1)), "last\n", "end"]
        assert copy.read_text() == "".join(lines)


FAULTS: list[Fault] = [
    cut_answer(60),
    cut_answer(5000),
    unavailable("1"),
    swallow,
    reset,
    cut_answer(100_001),
    half_close(-3),
    reset_after,
    throttle(50),
]


def test_every_line_once_through_faults(
    platform: LocalPlatform, admin: MLPlatform, cluster: str, tmp_path: Path
) -> None:
    _submit(admin, cluster, "faults", "seq 1 40000", tmp_path)
    admin.wait_for_spark_job(cluster, "faults")
    expected = "".join(f"{number}\n" for number in range(1, 40001))
    with FaultProxy(platform.url) as proxy, MLPlatform(platform.admin_token, url=proxy.url) as mlp:
        proxy.fail(*FAULTS, on="spark_job_logs")
        assert "".join(mlp.spark_job_logs(cluster, "faults", follow=True)) == expected
        # One for the session, and one for each fault.
        assert proxy.requests > len(FAULTS)
        proxy.fail(*FAULTS, on="spark_job_logs")
        copy = tmp_path / "copy"
        assert mlp.save_spark_job_logs(cluster, "faults", copy) == len(expected)
        assert copy.read_text() == expected


# --- saved copies


def test_a_copy_is_continued(admin: MLPlatform, cluster: str, tmp_path: Path, gate: Path) -> None:
    _submit(admin, cluster, "saved", "seq 20000\n" + _behind(gate) + "seq 5; printf end", tmp_path)
    path = tmp_path / "saved.log"
    first = "".join(f"{number}\n" for number in range(1, 20001))
    until(lambda: admin.save_spark_job_logs(cluster, "saved", path) == len(first))
    assert path.read_text() == first
    # As one that was broken off.
    os.truncate(path, 12_345)
    assert admin.save_spark_job_logs(cluster, "saved", path) == len(first)
    gate.touch()
    whole = first + "1\n2\n3\n4\n5\nend"
    assert admin.spark_job(cluster, "saved").save_logs(path, follow=True) == len(whole)
    assert path.read_text() == whole
    # Nothing is new: nothing changes.
    before = path.stat().st_mtime_ns
    assert admin.save_spark_job_logs(cluster, "saved", path) == len(whole)
    assert path.stat().st_mtime_ns == before


def test_a_file_that_is_no_copy_is_left_alone(admin: MLPlatform, cluster: str, tmp_path: Path) -> None:
    _submit(admin, cluster, "other", "seq 100", tmp_path)
    admin.wait_for_spark_job(cluster, "other")
    path = tmp_path / "other.log"
    for content in ("something else\n", "1\n2\n3\n" + "x" * 10_000):
        path.write_text(content)
        with pytest.raises(BadRequestException, match="is not the beginning of this log"):
            admin.save_spark_job_logs(cluster, "other", path)
        assert path.read_text() == content
    with pytest.raises(IsADirectoryError):
        admin.save_spark_job_logs(cluster, "other", tmp_path)
    with pytest.raises(FileNotFoundError):
        admin.save_spark_job_logs(cluster, "other", tmp_path / "none" / "log")
    with pytest.raises(BadRequestException, match="is not a regular file"):
        admin.save_spark_job_logs(cluster, "other", "/dev/null")


def test_a_disk_that_takes_no_more_is_told(admin: MLPlatform, cluster: str, tmp_path: Path) -> None:
    """As the file system does, so does a limit of the process; what was written is continued."""
    _submit(admin, cluster, "full", "seq 100", tmp_path)
    admin.wait_for_spark_job(cluster, "full")
    path = tmp_path / "full.log"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            admin.save_spark_job_logs(cluster, "full", path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value.filename) == str(path)
    assert path.stat().st_size == 100
    assert admin.save_spark_job_logs(cluster, "full", path) == 292
    assert path.read_text() == str(admin.spark_job_logs(cluster, "full"))


# --- Ctrl-C

WAITS = """
import signal, sys
from mlplatform_client import MLPlatform
signal.signal(signal.SIGINT, signal.default_int_handler)
token, url, cluster, folder = sys.argv[1:]
mlp = MLPlatform(token, url=url)
try:
    CALL
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
CALLS = {
    "wait": "mlp.wait_for_spark_job(cluster, 'for-ever', on_update=lambda _: print('calling', flush=True))",
    "follow": "[print('calling', flush=True) for _ in mlp.spark_job_logs(cluster, 'for-ever', follow=True)]",
    "save": "print('calling', flush=True); mlp.save_spark_job_logs(cluster, 'for-ever', folder + '/log', follow=True)",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_ctrl_c(
    call: str, platform: LocalPlatform, admin: MLPlatform, cluster: str, tmp_path: Path, gate: Path
) -> None:
    _submit(admin, cluster, "for-ever", "echo begun\n" + _behind(gate), tmp_path)
    admin.wait_for_spark_job(cluster, "for-ever", "running")
    try:
        arguments = [str(platform.admin_token), platform.url, cluster, str(tmp_path)]
        with subprocess.Popen(
            [sys.executable, "-c", WAITS.replace("CALL", call), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as child:  # fmt: skip
            assert child.stdout is not None
            assert child.stdout.readline() == "calling\n"
            if "save" in call:
                until(lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text() == "begun\n")
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == "interrupted\n"
            assert child.wait(10) == 0
            assert child.stderr is not None
            assert child.stderr.read() == ""
    finally:
        gate.touch()
        admin.spark_delete_job(cluster, "for-ever")


SUBMITS = """
import signal, sys
from mlplatform_client import MLPlatform
signal.signal(signal.SIGINT, signal.default_int_handler)
token, url, cluster = sys.argv[1:]
try:
    mlp = MLPlatform(token, url=url)
    manifest = mlp.get_default_manifest(cluster, "never")
    mlp.spark_submit_job(cluster, manifest)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_ctrl_c_in_a_submit(platform: LocalPlatform, admin: MLPlatform, cluster: str) -> None:
    with FaultProxy(platform.url) as proxy:
        proxy.always(hang, on="spark_submit_job")
        command = [sys.executable, "-c", SUBMITS, str(platform.admin_token), proxy.url, cluster]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            # The session, the cluster, the submit.
            proxy.wait_for(lambda: proxy.requests == 3)
            child.send_signal(signal.SIGINT)
            assert child.communicate(timeout=10) == ("interrupted\n", "")
            assert child.returncode == 0
    assert "never" not in [info.job_name for info in admin.spark_jobs_list(cluster)]


def test_a_server_that_stops_waits_for_nobody_who_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests in flight have ten seconds; those that only wait for a job need none."""
    monkeypatch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(tmp_path)))
    with Server(tmp_path / "data") as server:
        server.start()
        admin = MLPlatform(server.admin_token, url=server.url)
        cluster = admin.get_clusters()[0].id
        _submit(admin, cluster, "stops", "echo begun\nwhile sleep 0.1; do :; done", tmp_path)
        lines = admin.spark_job_logs(cluster, "stops", follow=True)
        assert next(lines) == "begun\n"
        ended: list[str] = []

        def wait() -> None:
            try:
                admin.wait_for_spark_job(cluster, "stops")
            except SparkJobFailed as error:
                ended.append(error.job_name)

        threads = [threading.Thread(target=wait), threading.Thread(target=lambda: ended.extend(lines))]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        server.stop()
        took = time.monotonic() - began
        server.start()
        for thread in threads:
            thread.join(60)
        assert "stops" in ended
    # The job is asked to end, for up to three seconds; then it is made to.
    assert took < 8


# --- memory

FOLLOWS = """
import sys
from mlplatform_client import MLPlatform
token, url, cluster, path = sys.argv[1:]
def most():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
mlp = MLPlatform(token, url=url)
mlp.who_am_i()
before = most()
count = sum(len(line) for line in mlp.spark_job_logs(cluster, "long", follow=True))
followed = most()
saved = mlp.save_spark_job_logs(cluster, "long", path)
print(count, saved, followed - before, most() - before)
"""


@pytest.mark.slow
def test_a_long_log_takes_no_memory(platform: LocalPlatform, admin: MLPlatform, cluster: str, tmp_path: Path) -> None:
    size = 200 * 1024 * 1024
    line = "x" * 99
    _submit(admin, cluster, "long", f"yes {line} | head -c {size}", tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", FOLLOWS, str(platform.admin_token), platform.url, cluster, str(tmp_path / "long.log")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    followed, saved, grown, grown_in_all = map(int, done.stdout.split())
    assert (followed, saved) == (size, size)
    print(f"followed: {grown} KiB, saved: {grown_in_all} KiB")
    assert grown_in_all < 32 * 1024
