"""What a job may not do: outlive its end, lie about it, or take the platform's log, disk and secrets. Each test is an
attack, with and without a user of its own for jobs; the jobs are shell scripts."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import stand_in
from jobs import FINAL, manifest, processes, until

from mlplatform_client import MLPlatform, local
from mlplatform_client.core.exceptions import MLPlatformException
from mlplatform_client.local import LocalPlatform

_numbers = itertools.count(os.getpid() * 1000)
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="another user for jobs takes root")
MIB = 1 << 20


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the user of the jobs may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="mlplatform-runs-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


class Runs:
    """A platform, started again and again in one directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[LocalPlatform] = []
        self.start()

    def start(self) -> None:
        self.platform = LocalPlatform(self.folder / "data")
        self.started.append(self.platform)
        self.mlp = MLPlatform(self.platform.admin_token, url=self.platform.url)
        self.cluster = self.mlp.get_clusters()[0].id

    def kill(self) -> None:
        os.kill(self.platform.pid, signal.SIGKILL)
        self.platform.stop()

    def submit(self, name: str, script: str, **spec: object) -> None:
        program = self.folder / "job.py"
        program.write_text(script)
        self.mlp.spark_submit_job(self.cluster, manifest(name, **spec), program)

    def status(self, name: str) -> str:
        return str(self.mlp.spark_job_info(self.cluster, name).status)

    def ended(self, name: str) -> str:
        until(lambda: self.status(name) in FINAL)
        return self.status(name)

    def log(self, name: str) -> str:
        return self.mlp.spark_job_logs(self.cluster, name, wait=0).logs

    def files(self) -> Path:
        """Of the one job there is."""
        (folder,) = (self.folder / "data" / "jobs").iterdir()
        return folder

    def reasons(self) -> list[str]:
        return [str(event.reason) for event in self.mlp.spark_events(self.cluster)]


@pytest.fixture
def start(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Runs]]:
    """`start()` begins a platform; what it is started with is in the environment."""
    monkeypatch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(place)))
    started: list[Runs] = []

    def begin() -> Runs:
        started.append(Runs(place))
        return started[-1]

    yield begin
    for platform in itertools.chain.from_iterable(runs.started for runs in started):
        platform.stop()


@pytest.fixture(params=["own user", pytest.param("nobody", marks=ROOT_ONLY)])
def job_user(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "nobody":
        monkeypatch.setenv("MLP_SERVER_JOB_USER", "nobody")
    return str(request.param)


@pytest.fixture(params=["cgroup", pytest.param("process tree", marks=ROOT_ONLY)])
def means(request: pytest.FixtureRequest, place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """As the machine is, and as one without control groups."""
    if request.param == "process tree":
        program = place / "without-cgroups"
        hide = 'mount -t tmpfs none /sys/fs/cgroup && exec "$0" "$@"'
        program.write_text(f"#!/bin/sh\nexec unshare -m sh -c '{hide}' {local._find_program()} \"$@\"\n")
        program.chmod(0o755)
        monkeypatch.setattr(local, "_find_program", lambda: str(program))
    return str(request.param)


def orphan() -> tuple[str, str]:
    """A command line that is nobody else's, and a script that leaves it behind: without the run's mark, in a session of
    its own, its own parent gone."""
    sleeper = f"sleep 900.{next(_numbers)}"
    return sleeper, f"setsid env -i sh -c '{sleeper} & exec true' & wait; sleep 0.1\n"


def test_an_orphan_ends_with_its_job(start: Callable[[], Runs], job_user: str, means: str) -> None:
    runs = start()
    sleeper, script = orphan()
    runs.submit("orphan", script + "echo over\n")
    assert runs.ended("orphan") == "COMPLETED"
    assert runs.log("orphan") == "over\n"
    assert not processes(sleeper)


def test_an_orphan_ends_when_its_job_is_deleted(start: Callable[[], Runs], job_user: str, means: str) -> None:
    runs = start()
    sleeper, script = orphan()
    runs.submit("orphan", f"trap '' TERM\n{script}echo here; while :; do sleep 0.1; done\n")
    until(lambda: runs.log("orphan") == "here\n" and bool(processes(sleeper)))
    runs.mlp.spark_delete_job(runs.cluster, "orphan")
    assert not processes(sleeper)
    until(lambda: "Killing" in runs.reasons())


def test_an_orphan_ends_although_the_server_was_killed(start: Callable[[], Runs], job_user: str, means: str) -> None:
    """By the run's own end, and by the delete that the next server is asked for."""
    runs = start()
    sleeper, script = orphan()
    gate = runs.folder / "gate"
    runs.submit("first", f"{script}echo here; while [ ! -e {gate} ]; do sleep 0.1; done\n")
    until(lambda: runs.log("first") == "here\n" and bool(processes(sleeper)))
    runs.kill()
    gate.touch()
    until(lambda: not processes(sleeper))
    runs.start()
    assert runs.ended("first") == "COMPLETED"
    sleeper, script = orphan()
    runs.submit("second", f"{script}echo here; while :; do sleep 0.1; done\n")
    until(lambda: runs.log("second") == "here\n" and bool(processes(sleeper)))
    runs.kill()
    runs.start()
    assert runs.status("second") == "RUNNING"
    runs.mlp.spark_delete_job(runs.cluster, "second")
    assert not processes(sleeper)


def test_processes_that_fork_without_end_are_ended(start: Callable[[], Runs], job_user: str, means: str) -> None:
    """Each starts its successor and is gone: whoever is found is not there any more when it is ended. Twenty
    chains of them, of which the machine has room for others; one that outlived the test would end with its file."""
    runs = start()
    name = f"hop-{next(_numbers)}"
    fuel = runs.folder / name
    fuel.touch()
    fuel.chmod(0o644)
    hop = f"hop() {{ : {name}; [ -e {fuel} ] && hop & }}\n"
    runs.submit("bomb", f"{hop}n=0; while [ $n -lt 20 ]; do hop; n=$((n+1)); done; echo lit; sleep 600\n")
    try:
        until(lambda: "lit" in runs.log("bomb"))
        runs.mlp.spark_delete_job(runs.cluster, "bomb", timeout=60)
        until(lambda: "Killing" in runs.reasons(), 30)
        assert not processes(str(runs.folder / "data" / "buckets"))
    finally:
        fuel.unlink()


@ROOT_ONLY
def test_a_job_has_a_part_of_the_machine_s_processes(
    start: Callable[[], Runs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of threads and zombies, too: the kernel counts them all."""
    monkeypatch.setenv("MLP_SERVER_JOB_USER", "nobody")
    runs = start()
    runs.submit("limited", "grep processes /proc/self/limits; ulimit -p unlimited && echo raised\n")
    runs.ended("limited")
    quarter = int(Path("/proc/sys/kernel/pid_max").read_text()) // 4
    own = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    limit = quarter if own == resource.RLIM_INFINITY else min(quarter, own)
    assert runs.log("limited").split()[2:4] == [str(limit), str(limit)]
    assert "raised" not in runs.log("limited")


def test_a_job_that_stops_its_parent_is_deleted_all_the_same(start: Callable[[], Runs]) -> None:
    """Without a user of its own it may; that is no boundary, but it must not take the platform along."""
    runs = start()
    runs.submit("stopper", "echo here; sleep 0.2; while :; do kill -STOP $PPID; done\n")
    until(lambda: runs.log("stopper") == "here\n")
    runs.mlp.spark_delete_job(runs.cluster, "stopper", timeout=60)
    until(lambda: "Killing" in runs.reasons(), 30)
    assert not processes(str(runs.folder / "data" / "buckets"))
    assert not processes(str(runs.folder / "data" / "jobs"))


@ROOT_ONLY
@pytest.mark.parametrize("umask", [0o077, 0o022, 0o000], ids=oct)
def test_a_job_can_neither_lock_nor_write_what_is_said_of_it(
    start: Callable[[], Runs], monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    monkeypatch.setenv("MLP_SERVER_JOB_USER", "nobody")
    before = os.umask(umask)
    try:
        runs = start()
    finally:
        os.umask(before)
    attack = """
    run=$(dirname $PWD)/run-1
    for file in lock began.json end.json end.tmp; do
        [ -e $run/$file ] && echo $file is seen
        (: >> $run/$file) 2>/dev/null && echo $file is written
        (flock -n 9 && echo $file is locked) 2>/dev/null 9< $run/$file
    done
    ls $run 2>/dev/null && echo listed
    (: >> ../log) 2>/dev/null && echo log is written
    grep -q spark.app.name ../spark.conf && echo configured $(stat -c '%U %a' ../spark.conf)
    touch made && ls -l made | cut -c1-10
    umask
    """
    runs.submit("attack", attack)
    assert runs.ended("attack") == "COMPLETED"
    assert runs.log("attack") == "configured nobody 400\n-rw-r--r--\n0022\n"
    folder = runs.files()
    for path in [folder / "log", *(folder / "run-1").iterdir()]:
        assert path.stat().st_mode & 0o777 == 0o600, path
        assert path.stat().st_uid == 0, path
    assert (folder / "run-1").stat().st_mode & 0o777 == 0o700
    until(lambda: not (folder / "spark.conf").exists())


def test_a_log_has_a_limit_and_keeps_its_offsets(
    start: Callable[[], Runs], job_user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLP_SERVER_LONGEST_JOB_LOG", "1m")
    runs = start()
    size = 40 * MIB
    runs.submit("loud", f"echo first; yes 0123456789abcde | head -c {size}; echo last\n")
    assert runs.ended("loud") == "COMPLETED"
    log = runs.files() / "log"
    assert log.stat().st_size == size + 11
    assert log.stat().st_blocks * 512 < 2 * MIB
    text = runs.log("loud")
    assert text.startswith("first\n0123456789abcde\n")
    assert text.endswith("0123456789abcde\nlast\n")
    (told,) = (line for line in text.splitlines() if "dropped" in line)
    dropped = int(told.split()[1])
    assert told == f"[… {dropped} bytes of this log were dropped here: the limit is 1 MiB …]"
    assert len(text.encode()) - len(told.encode()) - 1 + dropped == size + 11
    assert runs.mlp.spark_job_logs(runs.cluster, "loud", tail=1).logs == "last\n"
    assert runs.mlp.spark_job_logs(runs.cluster, "loud", tail=10**6).logs.splitlines()[0] == told
    assert runs.reasons().count("LogTruncated") == 1
    page = runs.mlp.spark_job_explain(runs.cluster, "loud")
    assert page.cause == "completed"


def test_the_logs_of_a_cluster_have_a_limit_together(
    start: Callable[[], Runs], job_user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that ended first make room, also one that was deleted; one that runs is left alone."""
    monkeypatch.setenv("MLP_SERVER_LONGEST_CLUSTER_LOGS", "2m")
    runs = start()
    gate = runs.folder / "gate"
    size = MIB * 7 // 8
    loud = f"echo first; yes 0123456789abcde | head -c {size}; echo last\n"
    runs.submit("runs", loud + f"while [ ! -e {gate} ]; do sleep 0.05; done\n")
    until(lambda: runs.log("runs").endswith("last\n"))
    for name in ("one", "two"):
        runs.submit(name, loud)
        assert runs.ended(name) == "COMPLETED"
    until(lambda: runs.reasons().count("LogTruncated") == 1)
    text = runs.log("one")
    assert "bytes of this log were dropped here: the logs of the cluster's jobs have a limit of 2 MiB …]" in text
    assert text.startswith("first\n0123456789abcde\n")
    assert text.endswith("0123456789abcde\nlast\n")
    assert len(text) < 128 * 1024
    assert len(runs.log("two")) == len(runs.log("runs")) == size + 11
    gate.touch()
    assert runs.ended("runs") == "COMPLETED"


def test_a_job_does_not_hold_its_log(start: Callable[[], Runs], job_user: str) -> None:
    """It can neither make it shorter nor longer than what it prints, and can open /dev/stdout as programs do."""
    runs = start()
    script = "echo one; truncate -s 0 /dev/stdout 2>/dev/null && echo cut; truncate -s 15T /dev/stdout 2>/dev/null\n"
    runs.submit("cutter", script + "echo two > /dev/stdout; echo three > /dev/stderr\n")
    assert runs.ended("cutter") == "COMPLETED"
    assert runs.log("cutter") == "one\ntwo\nthree\n"


def test_waiting_for_the_last_line_takes_not_the_whole_log(
    start: Callable[[], Runs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than a client holds."""
    monkeypatch.setenv("MLP_SERVER_LONGEST_JOB_LOG", "1m")
    runs = start()
    runs.submit("loud", f"yes 0123456789abcdef0123456789abcdef | head -c {600 * MIB}; echo; echo last\n")
    assert runs.mlp.spark_job_logs(runs.cluster, "loud", tail=1, wait=240, timeout=300).logs == "last\n"


def test_a_long_tail_holds_up_no_stop(start: Callable[[], Runs], monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a log of 15 TiB that has no line in it, such as a job could make of its log before."""
    runs = start()
    runs.submit("sparse", "echo one\n")
    runs.ended("sparse")
    os.truncate(runs.files() / "log", 15 << 40)
    for _ in range(3):
        with contextlib.suppress(MLPlatformException):
            runs.mlp.spark_job_logs(runs.cluster, "sparse", tail=5, timeout=0.5)
    runs.platform.stop()
    assert runs.platform._process.returncode == 0, "it was not killed because it did not stop"


def test_runs_that_end_at_once_are_repeated_later_and_later(start: Callable[[], Runs]) -> None:
    runs = start()
    runs.submit("always", "echo run\n", restartPolicy={"type": "Always"})
    until(lambda: runs.log("always").count("run\n") >= 5)
    repeated = [str(event) for event in runs.mlp.spark_events(runs.cluster) if "repeats it" in str(event)]
    for seconds, event in zip((0, 1, 2, 4), repeated):
        assert f"repeats it in {seconds} s" in event
    assert "repeated later and later, at most after 300 s" in repeated[-1]
    assert runs.log("always").count("run\n") == 5, "the next is 8 seconds away"
    until(lambda: len(list(runs.files().glob("run-*"))) <= 3)


def test_a_proxy_is_passed_on_without_its_password(start: Callable[[], Runs], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://anna:hidden@proxy.example:3128/")
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    runs = start()
    runs.submit("env", "env | grep -i proxy | sort\n")
    assert runs.ended("env") == "COMPLETED"
    told = ["HTTPS_PROXY=http://proxy.example:3128/", "NO_PROXY=127.0.0.1", "http_proxy=http://proxy.example:3128"]
    assert runs.log("env").splitlines() == told
    log = (runs.folder / "data" / "server.log").read_text()
    assert "HTTPS_PROXY holds a user or a password" in log
    assert "hidden" not in log
    env = [{"name": "HTTPS_PROXY", "value": "http://jobs:own@proxy.example:3128"}]
    runs.submit("own", "echo $HTTPS_PROXY\n", driver={"memory": "512m", "env": env})
    assert runs.ended("own") == "COMPLETED"
    assert runs.log("own") == "http://jobs:own@proxy.example:3128\n"
