"""A job that is an attacker: with `--job-user`, nothing that the server does as root goes where a job points.

The jobs are shell scripts that run as `nobody`, or each as an id of its own; the server is root: this takes root.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import stand_in
from jobs import FINAL, manifest, until

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import BadRequestException, ConflictException, MLPlatformException
from mlplatform_client.local import LocalPlatform, _find_program
from mlplatform_client.serializers.auth import MLPTokenType

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="to run jobs as another user takes root"),
]
RACE_SECONDS = 60
CAP_SYS_RESOURCE = 24
BY_ONE_AND_BY_MANY = pytest.mark.parametrize("platform", ["nobody", "3000000000-3000000999"], indirect=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can pass through; pytest's own is for its user alone."""
    path = Path(tempfile.mkdtemp(prefix="mlplatform-test-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def platform(folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[LocalPlatform]:
    """Its jobs run as `nobody`, unless a test says as whom."""
    monkeypatch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(folder)))
    monkeypatch.setenv("MLP_SERVER_JOB_USER", getattr(request, "param", "nobody"))
    with LocalPlatform(folder / "data") as platform:
        yield platform


@pytest.fixture
def admin(platform: LocalPlatform) -> Iterator[MLPlatform]:
    with MLPlatform(platform.admin_token, url=platform.url) as admin:
        yield admin


@pytest.fixture
def user(admin: MLPlatform, platform: LocalPlatform) -> Iterator[MLPlatform]:
    token = admin.create_refresh_token(admin.create_register_token("anna", "1h", token_type=MLPTokenType.USER))
    with MLPlatform(token, url=platform.url) as user:
        yield user


@pytest.fixture
def cluster(admin: MLPlatform) -> str:
    cluster_id: str = admin.get_clusters()[0].id
    return cluster_id


@pytest.fixture
def submit(user: MLPlatform, cluster: str, folder: Path) -> Callable[..., None]:
    def submit(name: str, script: str, file: str = "job.py") -> None:
        program = folder / file
        program.write_text(script)
        # Small, so that many run at once.
        small = {"cores": 1, "coreRequest": "100m", "memory": "64m"}
        user.spark_submit_job(cluster, manifest(name, driver=small, executor={**small, "instances": 1}), str(program))

    return submit


def _ended(user: MLPlatform, cluster: str, name: str) -> str:
    until(lambda: user.spark_job_info(cluster, name).status in FINAL)
    return str(user.spark_job_info(cluster, name).status)


def _digests(data: Path) -> dict[str, str]:
    return {name: hashlib.sha256((data / name).read_bytes()).hexdigest() for name in ("secrets-key", "audit-key")}


# Where jobs find what is theirs: the bucket, and the folders of all jobs.
PLACES = "bucket=$HOME/../../../buckets/spark-local; jobs=$HOME/../..; "

# Each folder in which a program of the next job may be put becomes a link to the victim, or to the data directory; so
# does each folder that jobs have left behind, while the platform removes it.
RACER = (
    PLACES
    + r"""
victim=%(victim)s data=%(data)s
race() {
n=0
while :; do
    for place in "$bucket"/.spark-jobs "$bucket"/.spark-jobs/* "$jobs"/*/work/* "$jobs"/*/tmp/*; do
        [ -d "$place" ] && [ ! -L "$place" ] || continue
        case $place in *.spark-jobs) target=$victim ;; */.spark-jobs/*) target=$data ;; *) target=$victim ;; esac
        mv -T "$place" "$place.moved.$$" 2>/dev/null && ln -s "$target" "$place" 2>/dev/null
    done
    # Now and then the whole begins anew, so that either step of the platform can be met.
    n=$(( (n + 1) %% 20 ))
    [ $n != 0 ] || { rm -rf "$bucket"/.spark-jobs*; mkdir -p "$bucket/.spark-jobs"; } 2>/dev/null
done
}
race & race & wait
"""
)
# Leaves folders behind, into which a racer puts its links.
FODDER = (
    'for a in 1 2 3 4; do for b in 1 2 3 4; do mkdir -p "$HOME/$a/$b/canary"; : > "$HOME/$a/$b/canary/file"; done; done'
)


@BY_ONE_AND_BY_MANY
@pytest.mark.timeout(RACE_SECONDS + 180)
def test_a_job_that_swaps_folders_for_links_moves_nothing_outside(
    platform: LocalPlatform, user: MLPlatform, cluster: str, submit: Callable[..., None], folder: Path
) -> None:
    data = Path(platform.data_dir)
    victim = folder / "victim"
    canary = victim / "canary"
    canary.mkdir(parents=True)
    kept = [canary / "file", victim / "keep.py", data / "keep.py"]
    for path in kept:
        path.write_text("still here")
    victim.chmod(0o700)
    before = _digests(data)
    known = {path.name for path in data.iterdir()}
    submit("racer", RACER % {"victim": victim, "data": data})
    until(lambda: user.spark_job_info(cluster, "racer").status == "RUNNING")
    end = time.monotonic() + RACE_SECONDS
    number = refused = 0
    while time.monotonic() < end:
        number += 1
        with suppress(MLPlatformException):
            submit(f"fodder-{number}", FODDER)
        # Refused when its program is written already: it is removed again, by the name of a file where the links lead.
        try:
            submit("racer", "exit 0", "keep.py")
        except (BadRequestException, ConflictException):
            refused += 1
        except MLPlatformException:
            pass
    assert refused > 0
    user.spark_delete_job(cluster, "racer")
    assert [path.read_text() for path in kept] == ["still here"] * 3
    assert sorted(path.name for path in victim.iterdir()) == ["canary", "keep.py"]
    assert [path.name for path in canary.iterdir()] == ["file"]
    assert _digests(data) == before
    strange = {path.name for path in data.iterdir()} - known
    assert not {name for name in strange if name not in ("jobs", "buckets", "uploads", "trash")}, strange


@BY_ONE_AND_BY_MANY
def test_no_file_of_the_machine_is_told_of_that_jobs_cannot_see(
    user: MLPlatform, cluster: str, submit: Callable[..., None], folder: Path
) -> None:
    """As root, the platform would tell a User which files exist."""
    hidden = folder / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "there.py").write_text("")
    (folder / "seen.py").write_text("")
    submit("link", PLACES + f'ln -s {hidden} "$bucket/link"; ln -s {folder} "$bucket/open"')
    assert _ended(user, cluster, "link") == "COMPLETED"

    def told(uri: str) -> str:
        for spec in (
            {"mainApplicationFile": uri},
            {"mainApplicationFile": f"local://{folder}/seen.py", "deps": {"jars": [uri]}},
        ):
            with pytest.raises(BadRequestException) as refusal:
                user.spark_submit_job(cluster, manifest("probe", **spec))
        return str(refusal.value).replace(uri, "").replace(uri.split("/", 3)[-1], "")

    for place in (f"local://{hidden}", "s3a://spark-local/link"):
        assert told(f"{place}/there.py") == told(f"{place}/none.py")
    user.spark_submit_job(cluster, manifest("seen", mainApplicationFile=f"local://{folder}/seen.py"))
    user.spark_submit_job(cluster, manifest("linked", mainApplicationFile="s3a://spark-local/open/seen.py"))
    assert _ended(user, cluster, "linked") == "COMPLETED"


@BY_ONE_AND_BY_MANY
def test_a_deep_tree_of_folders_is_removed_and_ends_nobody(
    platform: LocalPlatform, user: MLPlatform, cluster: str, submit: Callable[..., None]
) -> None:
    """30,000 folders, one in the other, ended a server that removed them one in the other."""
    # 500 at a time: a path of the system is not longer than 4096 bytes.
    path = "a/" * 500
    deep = f"i=0; while [ $i -lt 60 ]; do mkdir -p {path}; cd -P {path}; i=$((i+1)); done"
    submit("deep", f"cd $HOME; {deep}; cd $TMPDIR; mkdir -p x/y; touch x/y/z; chmod 0 x/y x")
    assert _ended(user, cluster, "deep") == "COMPLETED"
    jobs = Path(platform.data_dir) / "jobs"
    left = next(jobs.iterdir())
    until(lambda: not any(path.exists() for path in (left / "work", left / "tmp")))
    trash = Path(platform.data_dir) / "trash"
    until(lambda: not any(trash.iterdir()))
    assert user.who_am_i().name == "anna"
    assert "deep" in {job.job_name for job in user.spark_jobs_list(cluster)}


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ([], "say whose rights jobs have"),
        (["--jobs-as-myself", "--public-url", "https://ml.example.com"], "others can reach https://ml.example.com"),
        (["--jobs-as-myself", "--trusted-proxy", "127.0.0.1"], "a proxy passes on the requests of others"),
        (["--job-user", "root"], "who may do everything"),
        (["--job-user", "0-100"], "0 is root"),
        (["--job-user", "no-such-user"], "this machine knows no such user"),
        (["--jobs-as-myself", "--data-dir", "{data}/a,b"], "has a ',' in its path"),
        (["--no-jobs", "--data-dir", "{owned}"], "belongs to user"),
        (["--no-jobs", "--data-dir", "{linked}"], "audit-head': it is no regular file"),
        (["--no-jobs", "--data-dir", "{open}/data"], "open': it can be written by others (mode 777)"),
        (["--no-jobs", "--tls-cert", "{open}/cert.pem", "--tls-key", "{open}/key.pem"], "can be written by others"),
    ],
)
def test_a_start_that_would_give_the_platform_away_is_refused(flags: list[str], why: str, tmp_path: Path) -> None:
    places = {name: tmp_path / name for name in ("owned", "linked", "open", "data")}
    for place in places.values():
        place.mkdir(mode=0o700)
    places["open"].chmod(0o777)
    (places["linked"] / "audit-head").symlink_to(tmp_path / "elsewhere")
    shutil.chown(places["owned"], "www-data")
    command = [_find_program(), "serve", "--listen", "127.0.0.1:0"]
    given = [flag.format(**places) for flag in flags]
    if "--data-dir" not in flags:
        given += ["--data-dir", str(places["data"])]
    done = subprocess.run([*command, *given], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert why in done.stderr
    assert not (tmp_path / "elsewhere").exists()


MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  app.conf: of-c\n"

# The first run puts links to a folder outside where the platform put its files, and leaves a deep folder behind.
RELINKER = """
cd "$MLP_MOUNTS" && id -un && stat -c '%%U %%a' . m m/app.conf
if [ -e "$HOME/once" ]; then cat m/app.conf; ls -A scratch; exit 0; fi
: > "$HOME/once"
rm -rf m; ln -s %(outside)s m; ln -s %(outside)s "$HOME/mounts"
cd scratch && for n in 1 2 3 4 5 6 7 8 9; do mkdir d && cd d && : > file && ln -s %(outside)s link; done
exit 1
"""


def test_mounts_are_the_job_s_own_and_follow_no_link(
    admin: MLPlatform, user: MLPlatform, platform: LocalPlatform, cluster: str, folder: Path
) -> None:
    outside = folder / "outside"
    outside.mkdir()
    (outside / "app.conf").write_text("still here")
    (folder / "map.yaml").write_text(MAP)
    admin.create_configmap_from_yaml(cluster, folder / "map.yaml")
    program = folder / "job.py"
    program.write_text(RELINKER % {"outside": outside})
    driver = {
        "memory": "64m",
        "configMaps": [{"name": "c", "path": "/m"}],
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
    }
    restart = {"type": "OnFailure", "onFailureRetries": 1, "onFailureRetryInterval": 1}
    spec = manifest("mounts", driver=driver, volumes=[{"name": "scratch"}], restartPolicy=restart)
    user.spark_submit_job(cluster, spec, str(program))
    assert _ended(user, cluster, "mounts") == "COMPLETED"
    run = "nobody\nnobody 700\nnobody 700\nnobody 600\n"
    assert user.spark_job_logs(cluster, "mounts").logs == f"{run}{run}of-c"
    assert [path.name for path in outside.iterdir()] == ["app.conf"]
    assert (outside / "app.conf").read_text() == "still here"
    assert (outside / "app.conf").stat().st_uid == 0
    data = Path(platform.data_dir)
    until(lambda: not list(data.glob("jobs/*/mounts")) and not list(data.glob("trash/*")))


def test_a_job_is_what_the_kernel_ends_first(
    user: MLPlatform, cluster: str, submit: Callable[..., None], folder: Path
) -> None:
    """When memory runs out; the job cannot take it back, if the platform has the right to forbid it."""
    own = "/proc/self/oom_score_adj"
    submit("oom", f"cat {own} /proc/$PPID/oom_score_adj; echo 0 > {own}; cat {own}")
    assert _ended(user, cluster, "oom") == "COMPLETED"
    before, parent, *_, after = user.spark_job_logs(cluster, "oom", wait=0).logs.split()
    assert (before, parent) == ("500", "0")
    (rights,) = re.findall(r"CapEff:\s+(\w+)", Path("/proc/self/status").read_text())
    if int(rights, 16) >> CAP_SYS_RESOURCE & 1:
        assert after == "500"


@pytest.mark.parametrize("what", ["Python", "the data directory"])
def test_what_the_jobs_user_does_not_reach_is_told(what: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start and at a submit, with the folder that is closed; then jobs are taken without a restart."""
    home = folder / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("MLP_SERVER_JOB_USER", "nobody")
    monkeypatch.delenv("MLP_SERVER_SPARK_SUBMIT", raising=False)
    python = sys.executable
    if what == "Python":
        (home / "python").symlink_to(sys.executable)
        python = str(home / "python")
    else:
        monkeypatch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(folder)))
    monkeypatch.setenv("PYSPARK_PYTHON", python)
    data = home / "data" if what == "the data directory" else folder / "data"
    (folder / "job.py").write_text("exit 0\n")
    with LocalPlatform(data) as platform, MLPlatform(platform.admin_token, url=platform.url) as mlp:
        cluster = mlp.get_clusters()[0].id
        expected = f"does not reach {what} ("
        with pytest.raises(ConflictException, match=re.escape(expected)) as refusal:
            mlp.spark_submit_job(cluster, manifest("j"), str(folder / "job.py"))
        assert f"chmod o+x '{home}'" in str(refusal.value)
        log = Path(platform.data_dir, "server.log")
        until(lambda: expected in log.read_text())
        home.chmod(0o711)
        if what == "the data directory":
            mlp.spark_submit_job(cluster, manifest("j"), str(folder / "job.py"))
            assert _ended(mlp, cluster, "j") == "COMPLETED"
        else:
            # Its own Python may be in a private home, too; then the next closed folder is told.
            try:
                mlp.spark_submit_job(cluster, manifest("j"), str(folder / "job.py"))
            except ConflictException as refused:
                assert f"folder '{home}'" not in str(refused)
