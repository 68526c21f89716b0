"""`mlplatform-server copy`: a platform on SQLite goes on as one on PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import TOKEN
from postgres import Cluster
from served import Served, run, submit

from mlplatform_client import MLPlatform, TokenStr
from mlplatform_client.serializers.auth import MLPTokenType


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Cluster]:
    """A PostgreSQL of these tests' own."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def url(postgresql: Cluster, tmp_path: Path) -> Path:
    """A file with the URL of an empty database."""
    file = tmp_path / "url"
    file.touch(0o600)
    file.write_text(postgresql.create_database())
    return file


OBJECT = """
apiVersion: v1
kind: {kind}
metadata:
  name: settings
{field}:
  file: "tab\\t, backslash \\\\ and\\nline"
"""


class Filled(NamedTuple):
    """A platform that was used and stopped."""

    folder: Path
    user: TokenStr
    open_registration: TokenStr


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    """With tokens, a cluster, a config map, a secret and a job that is over."""
    folder = tmp_path / "platform"
    folder.mkdir()
    program = tmp_path / "program.py"
    program.write_text("echo said by the job")
    with Served(folder) as served:
        with served.admin() as admin:
            made = [admin.create_register_token(name, "1h", token_type=MLPTokenType.USER) for name in ("Анна", "b")]
            user = admin.create_refresh_token(made[0])
            cluster = admin.get_clusters()[0].id
            for kind, create in (
                ("Secret", admin.create_secret_from_yaml),
                ("ConfigMap", admin.create_configmap_from_yaml),
            ):
                path = tmp_path / f"{kind}.yaml"
                path.write_text(OBJECT.format(kind=kind, field="stringData" if kind == "Secret" else "data"))
                create(cluster, str(path))
            submit(admin, cluster, "job", program).wait(timeout=60)
        assert served.stop() == 0
    return Filled(folder, user, made[1])


def copy(filled: Filled, url: Path, *flags: str | Path) -> tuple[int, str]:
    """Exit code, and what it said."""
    done = run("copy", "--data-dir", filled.folder / "data", "--database-url-file", url, *flags)
    assert not TOKEN.search(done.stdout + done.stderr)
    assert url.read_text() not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


def seen(served: Served, user: TokenStr) -> dict[str, object]:
    """What people see of a platform."""
    with served.admin() as admin, MLPlatform(user, url=served.url) as colleague:
        cluster = admin.get_clusters()[0]
        return {
            "me": colleague.who_am_i().name,
            "tokens": str(admin.get_project_tokens_info()),
            "waiting": str(admin.get_register_tokens_info()),
            "clusters": str(admin.get_clusters()),
            "secret": str(admin.get_secret_detail(cluster.id, "settings")),
            "map": str(admin.get_configmap_detail(cluster.id, "settings")),
            "job": str(colleague.spark_job_info(cluster.id, "job")).replace(served.url, ""),
            "log": colleague.spark_job_logs(cluster.id, "job"),
            "events": str(colleague.spark_events(cluster.id)),
        }


def test_a_platform_goes_on_where_it_was(filled: Filled, url: Path, tmp_path: Path) -> None:
    with Served(filled.folder) as served:
        before = seen(served, filled.user)
        assert served.stop() == 0
    code, text = copy(filled, url)
    assert code == 0, text
    assert "copied, read back and compared" in text
    assert "the audit is whole" in text
    assert "token_secrets" in text
    with Served(filled.folder, "--database-url-file", str(url)) as served:
        assert seen(served, filled.user) == before
        with served.admin() as admin:
            # What was open is still open, and what comes next is chained to what was.
            cluster = admin.get_clusters()[0].id
            with MLPlatform(admin.create_refresh_token(filled.open_registration), url=served.url) as newest:
                assert newest.who_am_i().name == "b"
            program = tmp_path / "next.py"
            program.write_text('echo "$file"')
            submit(admin, cluster, "next", program).wait(timeout=60)
        assert served.stop() == 0
    proved = run("audit", "verify", "--data-dir", filled.folder / "data", "--database-url-file", url)
    assert (proved.returncode, proved.stderr) == (0, "")
    code, text = copy(filled, url)
    assert code == 2
    assert "is not empty" in text
    assert "Give an empty database" in text
    # Nobody goes on with the old rows by mistake.
    for command in (["serve", "--listen", "127.0.0.1:0", "--no-jobs"], ["admin-token"], ["cluster", "list"]):
        done = run(*command, "--data-dir", filled.folder / "data")
        assert done.returncode == 2
        assert "is in PostgreSQL" in done.stderr
    (filled.folder / "data" / "server-id").unlink()
    assert run("cluster", "list", "--data-dir", filled.folder / "data").returncode == 0


def test_it_may_be_repeated(filled: Filled, url: Path) -> None:
    first, second = copy(filled, url), copy(filled, url)
    assert first[0] == second[0] == 0
    assert "the database held this copy already" in second[1]


def test_a_platform_that_is_served_is_not_copied(filled: Filled, url: Path, postgresql: Cluster) -> None:
    with Served(filled.folder):
        code, text = copy(filled, url)
    assert code == 2
    assert "is in use by process" in text
    assert postgresql.sql("SELECT to_regclass('tokens') IS NULL", url.read_text().rsplit("/", 1)[1]) == "t"


def test_another_platform_is_not_touched(filled: Filled, url: Path, tmp_path: Path) -> None:
    assert run("init", "--data-dir", tmp_path / "other", "--database-url-file", url).returncode == 0
    code, text = copy(filled, url)
    assert code == 2
    assert "the database holds another platform: give an empty one" in text


def test_an_audit_that_is_broken_is_copied_as_it_is_and_told(filled: Filled, url: Path) -> None:
    with sqlite3.connect(filled.folder / "data" / "platform.sqlite3") as store:
        store.executescript("DROP TRIGGER audit_is_not_changed; UPDATE audit SET actor = 'tok_1' WHERE seq = 2")
    code, text = copy(filled, url)
    assert code == 1
    assert "the audit is broken: row 2 was changed" in text


def test_it_needs_a_database_and_the_same_keys(filled: Filled, url: Path, tmp_path: Path) -> None:
    without = run("copy", "--data-dir", filled.folder / "data")
    assert without.returncode == 2
    assert "name it with --database-url-file" in without.stderr
    keys = tmp_path / "keys"
    keys.mkdir(0o700)
    (keys / "audit-key").touch(0o600)
    (keys / "audit-key").write_bytes(bytes(32))
    code, text = copy(filled, url, "--keys-dir", keys)
    assert code == 2
    assert "is not the key of this database" in text
