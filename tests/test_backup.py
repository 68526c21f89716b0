"""`mlplatform-server backup` and `restore`: what was acknowledged is there, what is not whole is refused."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from jobs import until
from served import PROGRAM, Served, run, submit
from test_disk import _fill, disk  # noqa: F401 - a fixture

from mlplatform_client import MLPlatform
from mlplatform_client.serializers.auth import MLPTokenType

pytestmark = pytest.mark.sqlite("a backup is a copy of its file; with PostgreSQL it is refused: test_postgres.py")

SECRET = """
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {key: value}
"""


def backup(served: Served, to: Path, *more: str) -> None:
    done = run("backup", to, "--data-dir", served.data, *more)
    assert (done.returncode, done.stdout) == (0, f"{to}\n"), done.stderr


def restore(source: Path, folder: Path) -> str:
    """Into the data directory that `Served(folder)` serves."""
    folder.mkdir(exist_ok=True)
    done = run("restore", source, "--data-dir", folder / "data")
    assert done.returncode == 0, done.stderr
    verify = run("audit", "verify", "--data-dir", folder / "data")
    assert verify.returncode == 0, verify.stdout
    return done.stdout


def refused(source: Path, to: Path) -> str:
    done = run("restore", source, "--data-dir", to)
    assert done.returncode == 2, done.stdout
    assert not to.exists()
    # Nothing half done is left beside it.
    assert [path.name for path in to.parent.iterdir() if "restoring" in path.name] == []
    return done.stderr


def ballast(data: Path, mib: int) -> None:
    """Make the store that large."""
    with closing(sqlite3.connect(data / "platform.sqlite3")) as store, store:
        store.execute("CREATE TABLE ballast (bytes BLOB)")
        store.executemany("INSERT INTO ballast VALUES (randomblob(1048576))", [()] * mib)


def admin_of(served: Served, old: Path) -> MLPlatform:
    """The Administrator of a platform that was restored: the token's value is in no backup, and is good as before."""
    assert not (served.data / "admin-token").exists()
    return MLPlatform((old / "admin-token").read_text().strip(), url=served.url)


def test_a_backup_under_load_holds_what_was_acknowledged(tmp_path: Path) -> None:
    redeemed: dict[str, str] = {}
    stop = threading.Event()
    with Served(tmp_path) as served, served.admin() as admin:

        def redeem(worker: int) -> None:
            with served.admin() as mlp:
                number = 0
                while not stop.is_set():
                    number += 1
                    name = f"w{worker}-{number}"
                    register_token = mlp.create_register_token(name, "1h", token_type=MLPTokenType.USER)
                    redeemed[name] = str(mlp.create_refresh_token(register_token))

        workers = [threading.Thread(target=redeem, args=(worker,)) for worker in range(4)]
        for worker in workers:
            worker.start()
        until(lambda: len(redeemed) > 40)
        before = dict(redeemed)
        waiting = admin.create_register_token("waiting", "1h", token_type=MLPTokenType.USER)
        backup(served, tmp_path / "backup")
        count = len(redeemed)
        # It held up nobody.
        until(lambda: len(redeemed) > count + 20)
        stop.set()
        for worker in workers:
            worker.join()
        assert len(before) < count < len(redeemed)
        deleted = next(iter(before))
        admin.delete_token(token_name=deleted)
        admin.create_refresh_token(waiting)
        rows = max(row.seq for row in admin.get_audit())
        assert served.stop() == 0
    told = restore(tmp_path / "backup", tmp_path / "new")
    for said in ("each proved by the key", "deleted or rotated since is good again", "admin-token --data-dir"):
        assert said in told
    with Served(tmp_path / "new") as served, admin_of(served, tmp_path / "data") as admin:
        names = {info.name for info in admin.get_project_tokens_info()}
        assert before.keys() | {"admin"} <= names
        for name, token in list(before.items())[:5]:
            with MLPlatform(token, url=served.url) as colleague:
                assert colleague.who_am_i().name == name
        # As the guide says of what happened since.
        assert deleted in names
        with MLPlatform(url=served.url) as anybody:
            assert anybody.create_refresh_token(waiting)
        made = {row.action: row for row in admin.get_audit()}["restore"]
        assert (made.actor, made.address) == (None, "local")
        assert made.seq <= rows
        assert made.detail["sessions_ended"] >= 1


def test_what_is_in_it_and_whose_it_is(tmp_path: Path) -> None:
    with Served(tmp_path) as served, served.admin() as admin:
        session = served.session((served.data / "admin-token").read_text().strip())
        cluster = admin.get_clusters()[0].id
        (tmp_path / "secret.yaml").write_text(SECRET)
        admin.create_secret_from_yaml(cluster, str(tmp_path / "secret.yaml"))
        for to, more in [("whole", []), ("apart", ["--without-secrets-key"])]:
            backup(served, tmp_path / to, *more)
        assert served.get("/v1_0/tokens/self", session)[0] == 200
        served.stop()
    names = {"platform.sqlite3", "audit-key", "audit-head", "manifest.json"}
    assert {path.name for path in (tmp_path / "apart").iterdir()} == names
    assert {path.name for path in (tmp_path / "whole").iterdir()} == {*names, "secrets-key"}
    assert stat.S_IMODE((tmp_path / "whole").stat().st_mode) == 0o700
    for path in (tmp_path / "whole").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    described = json.loads((tmp_path / "whole" / "manifest.json").read_text())
    assert {file["name"]: file["size"] for file in described["files"]} == {
        path.name: path.stat().st_size for path in (tmp_path / "whole").iterdir() if path.name != "manifest.json"
    }
    assert "no secrets-key" not in restore(tmp_path / "whole", tmp_path / "new")
    with Served(tmp_path / "new") as served, admin_of(served, tmp_path / "data") as admin:
        assert admin.get_secret_detail(cluster, "s").name == "s"
        assert served.get("/v1_0/tokens/self", session)[0] == 401
    assert "put the file there before you serve" in restore(tmp_path / "apart", tmp_path / "keyless")
    with pytest.raises(AssertionError, match="secrets-key"):
        Served(tmp_path / "keyless")
    shutil.copy(tmp_path / "data" / "secrets-key", tmp_path / "keyless" / "data" / "secrets-key")
    with Served(tmp_path / "keyless") as served, admin_of(served, tmp_path / "data") as admin:
        assert admin.get_secret_detail(cluster, "s").name == "s"


def test_a_job_that_was_not_over_is_not_run_a_second_time(tmp_path: Path) -> None:
    ran, end = tmp_path / "ran", tmp_path / "end"
    program = tmp_path / "job.py"
    program.write_text(f"echo x >> {ran}\nuntil [ -e {end} ]; do sleep 0.05; done\n")
    with Served(tmp_path) as served, served.admin() as admin:
        cluster = admin.get_clusters()[0].id
        job = submit(admin, cluster, "one", program)
        until(ran.exists)
        backup(served, tmp_path / "backup")
        end.touch()
        job.wait()
        served.stop()
    assert "Jobs that were not over have failed: 1." in restore(tmp_path / "backup", tmp_path / "new")
    with Served(tmp_path / "new") as served, admin_of(served, tmp_path / "data") as admin:
        assert admin.spark_job_info(cluster, "one").status == "FAILED"
        told = str(admin.spark_job_explain(cluster, "one"))
        assert "restored from a backup" in told
        program.write_text("exit 0\n")
        submit(admin, cluster, "two", program).wait()
    assert ran.read_text() == "x\n"


def test_what_is_not_whole_is_refused(tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        done = run("backup", tmp_path, "--data-dir", served.data)
        assert done.returncode == 2
        assert "the folder is not empty; give a new one" in done.stderr
        (tmp_path / "empty").mkdir(mode=0o755)
        backup(served, tmp_path / "empty")
        assert stat.S_IMODE((tmp_path / "empty").stat().st_mode) == 0o700
        backup(served, tmp_path / "backup")
        # A server runs on it, or has.
        done = run("restore", tmp_path / "backup", "--data-dir", served.data)
        assert done.returncode == 2
        assert "is restored only to a new data directory" in done.stderr
        assert run("admin-token", "--data-dir", served.data).returncode == 0
        served.stop()
    new = tmp_path / "new"
    assert "no platform in" in run("backup", tmp_path / "x", "--data-dir", new).stderr
    assert not (tmp_path / "x").exists()

    def damaged(change: str) -> Path:
        folder = tmp_path / change
        shutil.copytree(tmp_path / "backup", folder)
        return folder

    folder = damaged("cut")
    with open(folder / "platform.sqlite3", "r+b") as file:
        file.truncate(8192)
    assert "platform.sqlite3 is not what was written" in refused(folder, new)
    folder = damaged("flipped")
    key = bytearray((folder / "audit-key").read_bytes())
    key[3] ^= 1
    (folder / "audit-key").write_bytes(key)
    assert "audit-key is not what was written" in refused(folder, new)
    folder = damaged("link")
    (folder / "audit-key").rename(folder / "elsewhere")
    (folder / "audit-key").symlink_to(folder / "elsewhere")
    assert "audit-key" in refused(folder, new)
    (damaged("unfinished") / "manifest.json").unlink()
    assert "has no manifest.json" in refused(tmp_path / "unfinished", new)
    (damaged("garbage") / "manifest.json").write_text("{")
    assert "is it damaged?" in refused(tmp_path / "garbage", new)
    described = json.loads((tmp_path / "backup" / "manifest.json").read_text())
    strange = {"name": "../stranger", "size": 0, "sha256": ""}
    changes: list[tuple[dict[str, object], str]] = [
        ({"schema": 9999, "version": "9.9"}, "was made by version 9.9"),
        ({"format": 2}, "was made by version"),
        ({"files": described["files"][1:]}, "does not name platform.sqlite3"),
        ({"files": [*described["files"], strange]}, "names files that no backup has"),
        ({"files": [*described["files"], described["files"][0]]}, "names files that no backup has"),
    ]
    for changed, said in changes:
        (tmp_path / "garbage" / "manifest.json").write_text(json.dumps({**described, **changed}))
        assert said in refused(tmp_path / "garbage", new)


def test_a_backup_of_an_older_version_is_brought_to_this_one_s_form(tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        backup(served, tmp_path / "backup")
        served.stop()
    path = tmp_path / "backup" / "platform.sqlite3"
    # As the version before the store had these would have written it.
    with closing(sqlite3.connect(path)) as store, store:
        for table in ("readiness", "connect_sessions", "connect_servers"):
            store.execute(f"DROP TABLE {table}")
        store.execute("ALTER TABLE clusters DROP COLUMN kubernetes")
        store.execute("DELETE FROM _sqlx_migrations WHERE version >= 15")
    described = json.loads((tmp_path / "backup" / "manifest.json").read_text())
    described.update(version="0.0.9", schema=14)
    for file in described["files"]:
        content = (tmp_path / "backup" / file["name"]).read_bytes()
        file.update(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    (tmp_path / "backup" / "manifest.json").write_text(json.dumps(described))
    restore(tmp_path / "backup", tmp_path / "new")
    with Served(tmp_path / "new") as served, admin_of(served, tmp_path / "data") as admin:
        assert served.get("/readyz")[0] == 200
        assert {row.action: row.detail for row in admin.get_audit()}["restore"]["version"] == "0.0.9"


def test_an_audit_that_was_changed_is_not_restored(tmp_path: Path) -> None:
    with Served(tmp_path) as served, served.admin() as admin:
        admin.create_register_token("anna", "1h", token_type=MLPTokenType.USER)
        served.stop()
    with closing(sqlite3.connect(served.data / "platform.sqlite3")) as store, store:
        store.execute("DROP TRIGGER IF EXISTS audit_is_only_added_to")
        for (name,) in store.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'audit'"
        ).fetchall():
            store.execute(f'DROP TRIGGER "{name}"')
        store.execute("UPDATE audit SET action = 'nothing' WHERE seq = 2")
    backup(served, tmp_path / "backup")
    assert "has an audit that is broken: row 2" in refused(tmp_path / "backup", tmp_path / "new")


def _until_it_writes(to: Path, process: subprocess.Popen[bytes]) -> None:
    copy = to / "platform.sqlite3"
    while not (copy.exists() and copy.stat().st_size):
        assert process.poll() is None, "it was too quick"


@pytest.mark.slow
def test_killed_on_the_way_it_is_no_backup(tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        ballast(served.data, 96)
        to = tmp_path / "backup"
        with subprocess.Popen([PROGRAM, "backup", to, "--data-dir", served.data]) as process:
            _until_it_writes(to, process)
            process.kill()
        assert "has no manifest.json: it was never finished" in refused(to, tmp_path / "new")
        # Nobody notices, and the next one is whole.
        with served.admin() as admin:
            admin.create_register_token("anna", "1h", token_type=MLPTokenType.USER)
        backup(served, tmp_path / "again")
        served.stop()
    whole = tmp_path / "again"
    (tmp_path / "new").mkdir()
    with subprocess.Popen([PROGRAM, "restore", whole, "--data-dir", tmp_path / "new" / "data"]) as process:
        while not any((path / "platform.sqlite3").exists() for path in (tmp_path / "new").iterdir()):
            assert process.poll() is None, "it was too quick"
        process.kill()
    assert not (tmp_path / "new" / "data").exists()
    restore(whole, tmp_path / "new")


@pytest.mark.slow
@pytest.mark.parametrize("disk", ["160m"], indirect=True)
def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path_factory: pytest.TempPathFactory, disk: Path) -> None:  # noqa: F811
    with Served(tmp_path_factory.mktemp("platform")) as served:
        ballast(served.data, 96)
        filler = disk / "filler"
        filler.write_bytes(bytes(100 << 20))
        done = run("backup", disk / "backup", "--data-dir", served.data)
        assert done.returncode == 2
        assert "of its disk are free" in done.stderr
        assert not (disk / "backup").exists()
        filler.unlink()
        with subprocess.Popen(
            [PROGRAM, "backup", disk / "backup", "--data-dir", served.data], stderr=subprocess.PIPE, text=True
        ) as process:
            _until_it_writes(disk / "backup", process)  # type: ignore[arg-type]
            process.send_signal(signal.SIGSTOP)
            _fill(disk)
            process.send_signal(signal.SIGCONT)
            assert process.stderr is not None
            told = process.stderr.read()
        assert process.returncode == 2
        assert re.search("disk is full.*; nothing of it was left", told)
        assert not (disk / "backup").exists()
        filler.unlink()
        backup(served, disk / "backup")
        filler.write_bytes(bytes((160 - 96 - 20) << 20))
        served.stop()
        assert "No space left" in refused(disk / "backup", disk / "new")
        with suppress(FileNotFoundError):
            os.remove(filler)
