"""Jobs with an id of their own each: what they share, what an id's next holder finds, and what comes when ids run out.

The jobs are shell scripts; what a job on Spark tries on another is in test_jobs_apart.py. The server is
root: this takes root.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import stand_in
from jobs import FINAL, manifest, new_cluster, until

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import BadRequestException
from mlplatform_client.local import LocalPlatform, _find_program

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="to run jobs as other users takes root"),
]
FIRST = 3_000_000_000
SMALL = {"cores": 1, "coreRequest": "100m", "memory": "64m"}
# Where a job finds the bucket of its cluster.
BUCKETS = "$HOME/../../../buckets"


class Ids:
    """A platform, started again and again in one directory."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.started: list[LocalPlatform] = []

    def start(self, job_user: str) -> None:
        self.monkeypatch.setenv("MLP_SERVER_JOB_USER", job_user)
        self.platform = LocalPlatform(self.folder / "data")
        self.started.append(self.platform)
        self.mlp = MLPlatform(self.platform.admin_token, url=self.platform.url)
        self.cluster = self.mlp.get_clusters()[0].id

    def kill(self) -> None:
        os.kill(self.platform.pid, signal.SIGKILL)
        self.platform.stop()

    def submit(self, name: str, script: str, cluster: str | None = None, **spec: object) -> None:
        program = self.folder / "job.py"
        program.write_text(script)
        small = manifest(name, driver=SMALL, executor={**SMALL, "instances": 1}, **spec)
        self.mlp.spark_submit_job(cluster or self.cluster, small, program)

    def status(self, name: str, cluster: str | None = None) -> str:
        return str(self.mlp.spark_job_info(cluster or self.cluster, name).status)

    def log(self, name: str, cluster: str | None = None) -> str:
        return str(self.mlp.spark_job_logs(cluster or self.cluster, name, wait=0).logs)

    def said(self, name: str, cluster: str | None = None) -> str:
        """What a job printed that must end well."""
        until(lambda: self.status(name, cluster) in FINAL)
        log = self.log(name, cluster)
        assert self.status(name, cluster) == "COMPLETED", log
        return log

    def run(self, name: str, script: str, cluster: str | None = None) -> str:
        self.submit(name, script, cluster)
        return self.said(name, cluster)

    def bucket(self, cluster: str) -> str:
        return str(self.mlp.get_cluster_info(cluster).s3_bucket_name)


@pytest.fixture
def ids(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ids]:
    folder = Path(tempfile.mkdtemp(prefix="mlplatform-ids-", dir="/var/tmp"))
    folder.chmod(0o755)
    monkeypatch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(folder)))
    ids = Ids(folder, monkeypatch)
    yield ids
    for platform in ids.started:
        platform.stop()
    shutil.rmtree(folder, ignore_errors=True)


def span(count: int) -> str:
    return f"{FIRST}-{FIRST + count - 1}"


WHO = 'echo "$(id -u) $(id -g) $(id -G | wc -w) $(id -un) $(umask)"; '


def test_each_job_has_an_id_of_its_own_and_the_bucket_is_the_cluster_s(ids: Ids) -> None:
    ids.start(span(100))
    other = new_cluster(ids.mlp, "other")
    own = f"{BUCKETS}/{ids.bucket(ids.cluster)}"
    first = ids.run("first", f"{WHO} cd {own}; mkdir -p d/e; echo one > d/e/file; stat -c '%a %g' . d d/e d/e/file")
    second = ids.run("second", f"{WHO} cd {own}; cat d/e/file; echo two > d/e/file; : > d/new; rm d/new")
    third = ids.run("third", f"{WHO} cd {own}; cat d/e/file; rm -r d; ls -A; chmod 777 . || echo not its own")
    seen = [text.split() for text in (first, second, third)]
    users = [int(words[0]) for words in seen]
    assert len(set(users)) == 3
    assert all(FIRST < user < FIRST + 100 for user in users)
    for words in seen:
        assert words[1:5] == [words[0], "2", f"job-{words[0]}", "0007"]
    group = (Path(ids.platform.data_dir) / "buckets" / ids.bucket(ids.cluster)).stat().st_gid
    assert group not in users
    assert seen[0][5:] == ["2770", str(group), "2770", str(group), "2770", str(group), "660", str(group)]
    assert second.splitlines()[1] == "one"
    assert third.splitlines()[1] == "two"
    assert third.endswith("not its own\n")
    elsewhere = ids.run("other", f"{WHO} ls {own} || (cd {own}) || (: > {own}/x) || echo closed", other)
    assert elsewhere.endswith("closed\n")
    assert int(elsewhere.split()[0]) not in (*users, group)


def test_a_setuid_program_in_the_bucket_gives_nobody_another_job_s_rights(ids: Ids) -> None:
    ids.start(span(100))
    own = f"{BUCKETS}/{ids.bucket(ids.cluster)}"
    left = ids.run("left", f"cp /usr/bin/id {own}/me; chmod 6777 {own}/me; stat -c %A {own}/me; id -u").split()
    assert left[0] == "-rwsrwsrwx"
    used = ids.run("used", f"{own}/me -u; {own}/me -ru").split()
    assert used[0] == used[1] != left[1]


def test_what_a_run_leaves_is_for_the_platform_alone(ids: Ids) -> None:
    ids.start(span(100))
    ids.run("done", "echo said; echo x > $HOME/file; echo x > $TMPDIR/file")
    data = Path(ids.platform.data_dir)
    (job,) = (data / "jobs").iterdir()
    until(lambda: job.stat().st_mode & 0o777 == 0o700)
    assert sorted(path.name for path in job.iterdir()) == ["log", "run-1"]
    owners = {(path.stat().st_uid, path.stat().st_mode & 0o777) for path in (job, job / "log", job / "run-1")}
    assert owners == {(0, 0o700), (0, 0o600)}
    until(lambda: not any((data / "trash").iterdir()))


def test_a_program_that_came_along_is_its_own_job_s(ids: Ids) -> None:
    ids.start(span(100))
    ids.submit("kept", "sleep 300")
    until(lambda: ids.status("kept") == "RUNNING")
    (upload,) = (Path(ids.platform.data_dir) / "uploads").iterdir()
    user = upload.stat().st_gid
    assert FIRST < user < FIRST + 100
    modes = [
        (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode & 0o777) for path in (upload, upload / "job.py")
    ]
    assert modes == [(0, user, 0o710), (0, user, 0o640)]
    address = f"s3a://{ids.bucket(ids.cluster)}/.spark-jobs/{upload.name}/job.py"
    with pytest.raises(BadRequestException, match="does not exist"):
        ids.mlp.spark_submit_job(ids.cluster, manifest("taken", mainApplicationFile=address))


def test_ids_that_are_used_up_are_waited_for(ids: Ids) -> None:
    # One is reserved, one is the cluster's.
    ids.start(span(4))
    for name in ("a", "b"):
        ids.submit(name, f"{WHO} exec sleep 300")
        until(lambda name=name: ids.status(name) == "RUNNING")  # type: ignore[misc]
    ids.submit("c", WHO)
    until(lambda: "FailedScheduling" in {str(event.reason) for event in ids.mlp.spark_events(ids.cluster)})
    told = ids.mlp.spark_job_explain(ids.cluster, "c")
    assert (told.cause, "larger range of ids" in str(told.remedy)) == ("no-capacity", True)
    assert f"each of the 3 ids of --job-user {span(4)} is a job's or a cluster's" in f"{told.sentence} {told.evidence}"
    assert ids.status("c") == "SUBMITTED"
    # Also for a server that knows of the others only what is written down.
    ids.kill()
    ids.start(span(4))
    assert ids.status("c") == "SUBMITTED"
    users = {name: ids.log(name).split()[0] for name in ("a", "b")}
    assert len(set(users.values())) == 2
    ids.mlp.spark_delete_job(ids.cluster, "a")
    assert ids.said("c").split()[0] == users["a"]


LEAVES = r"""
echo "$(id -u)"
(setsid env -i sh -c 'trap "" TERM HUP; exec sleep 1977' >/dev/null 2>&1 &)
"""

# What sleeps under its own id, those apart that are dead and wait for their parents.
COUNTS = 'echo "$(id -u) $(ps -u "$(id -u)" -o stat=,comm= | grep sleep | grep -vc ^Z)"'


@pytest.mark.parametrize("parent", ["lives", "is killed"])
def test_an_id_is_given_again_when_no_process_has_it(ids: Ids, parent: str) -> None:
    ids.start(span(3))
    hold = "exec sleep 300" if parent == "is killed" else ""
    ids.submit("leaves", LEAVES + hold)
    if parent == "is killed":
        until(lambda: ids.log("leaves").strip() != "")
        (run,) = (Path(ids.platform.data_dir) / "jobs").glob("*/run-1")
        # As one that a job has had started elsewhere: neither in the run's cgroup, nor its parent's descendant.
        user = int(ids.log("leaves"))
        stray = subprocess.Popen(["/bin/sleep", "1978"], user=user, group=user, extra_groups=[], env={}, cwd="/")
        ids.kill()
        for process in Path("/proc").glob("[0-9]*"):
            line = (process / "cmdline").read_bytes() if (process / "cmdline").exists() else b""
            if b"run-job" in line and str(run).encode() in line:
                os.kill(int(process.name), signal.SIGKILL)
        ids.start(span(3))
        ids.submit("next", COUNTS)
        next_one = ids.said("next").split()
        assert stray.wait() == -signal.SIGKILL
    else:
        user = int(ids.said("leaves"))
        next_one = ids.run("next", COUNTS).split()
    assert next_one == [str(user), "0"]


def test_runs_of_one_job_keep_its_id_and_its_folder(ids: Ids) -> None:
    ids.start(span(3))
    restart = {"type": "OnFailure", "onFailureRetries": 1, "onFailureRetryInterval": 1}
    ids.submit("again", 'id -u; [ -e "$HOME/once" ] && exit 0; : > "$HOME/once"; exit 1', restartPolicy=restart)
    ids.submit("waits", "id -u")
    users = ids.said("again").split()
    assert len(users) == 2
    assert users[0] == users[1] == ids.said("waits").strip()


def test_a_job_sees_no_process_but_its_own(ids: Ids) -> None:
    ids.start(span(100))
    ids.submit("victim", "exec sleep 300")
    until(lambda: ids.status("victim") == "RUNNING")
    seen = ids.run(
        "looks", "cd /proc; for p in [0-9]*; do stat -c %u $p 2>/dev/null; done | sort -u; id -u; ls /proc/1 || :"
    )
    users = seen.splitlines()
    assert users[0] == users[1]
    assert "No such file" in users[2]


def test_the_bucket_of_a_single_user_is_handed_over_as_the_documentation_says(ids: Ids) -> None:
    ids.start("nobody")
    own = f"{BUCKETS}/{ids.bucket(ids.cluster)}"
    ids.run("before", f"umask 022; mkdir {own}/d; echo old > {own}/d/file")
    ids.platform.stop()
    ids.start(span(100))
    assert "old" in ids.run("reads", f"cat {own}/d/file; echo x > {own}/d/file || echo closed; ls {own}").split()
    assert "closed" in ids.log("reads")
    bucket = Path(ids.platform.data_dir) / "buckets" / ids.bucket(ids.cluster)
    assert (
        "the bucket 'spark-local' was written by jobs of another user"
        in Path(ids.folder / "data/server.log").read_text()
    )
    text = (Path(__file__).parent.parent / "docs" / "spark.md").read_text()
    command = text.split("<!-- hand over -->\n```sh\n")[1].split("```")[0]
    subprocess.run(["/bin/bash", "-euc", command], cwd=bucket, check=True, env={**os.environ, "BUCKET": str(bucket)})
    assert ids.run("writes", f"echo new > {own}/d/file; cat {own}/d/file; : > {own}/d/other") == "new\n"
    # And back.
    ids.platform.stop()
    ids.start("nobody")
    assert ids.run("back", f"cd {own}; id -un; ls") == "nobody\nd\n"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("0-1000", "0 is root"),
        ("1000-1001", "too few ids: give at least 3"),
        ("200000-100000", "too few ids"),
        ("4294967290-4294967295", "ids end with 4294967294"),
        ("65000-66000", "65534 is the user 'nobody' of this machine"),
        ("1-100", "of this machine"),
    ],
)
def test_ids_that_are_somebody_s_are_refused(given: str, why: str, tmp_path: Path) -> None:
    command = [_find_program(), "serve", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path), "--job-user", given]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert f"--job-user is '{given}'" in done.stderr
    assert why in done.stderr


def test_without_root_there_are_no_ids(ids: Ids) -> None:
    program = shutil.copy(_find_program(), ids.folder / "mlplatform-server")
    Path(program).chmod(0o755)
    (ids.folder / "own").mkdir()
    shutil.chown(ids.folder / "own", "nobody")
    command = [
        program,
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        str(ids.folder / "own"),
        "--job-user",
        span(9),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, user="nobody", cwd="/"
    )
    assert done.returncode == 2
    assert "only root can run jobs as other users" in done.stderr


def test_a_system_that_allows_no_mounts_is_told_of(ids: Ids) -> None:
    command = [
        _find_program(),
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        str(ids.folder / "own"),
        "--job-user",
        span(9),
    ]
    without = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    done = subprocess.run([*without, *command], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert "the capability SYS_ADMIN" in done.stderr
