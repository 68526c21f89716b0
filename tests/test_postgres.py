"""The platform on PostgreSQL: `init`, keys, what is refused, and that the database URL is shown nowhere."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from postgres import CannotStart, Cluster
from served import PROGRAM, Served, get, run

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

pytestmark = pytest.mark.sqlite("these tests name a PostgreSQL themselves")
KEYS = ("audit-key", "secrets-key")
FORGED = (
    "INSERT INTO audit SELECT seq + 1, at, actor, action, subject, address, request_id, outcome, detail, mac "
    "FROM audit ORDER BY seq DESC LIMIT 1"
)
CUT = "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL of these tests' own."""
    with Cluster() as cluster:
        yield cluster


class Database(NamedTuple):
    """An empty one, and where its URL and its keys are."""

    url: str
    file: Path
    keys: Path

    def flags(self) -> list[str]:
        """Of every command."""
        return ["--database-url-file", str(self.file), "--keys-dir", str(self.keys)]


@pytest.fixture
def database(cluster: Cluster, tmp_path: Path) -> Database:
    """An empty one."""
    file, keys = tmp_path / "url", tmp_path / "keys"
    file.touch(0o600)
    url = cluster.create_database()
    file.write_text(url + "\n")
    keys.mkdir(0o700)
    return Database(url, file, keys)


def init(database: Database, folder: Path) -> subprocess.CompletedProcess[str]:
    """With a data directory that only this command uses."""
    return run("init", *database.flags(), "--data-dir", folder / "own", "--out", folder / "token")


@pytest.fixture
def made(database: Database, tmp_path: Path) -> Database:
    """One with a platform, whose Administrator's token is in the file `token`."""
    done = init(database, tmp_path)
    assert done.returncode == 0, done.stderr
    return database


def _as_served(database: Database, folder: Path) -> subprocess.CompletedProcess[str]:
    """A server that is not expected to start."""
    return run(
        "serve", *database.flags(), "--data-dir", folder / "data", "--listen", "127.0.0.1:0", "--no-jobs",
        "--exit-on-stdin-eof",
    )  # fmt: skip


def test_init_makes_what_every_server_needs_and_serve_makes_nothing(database: Database, tmp_path: Path) -> None:
    refused = _as_served(database, tmp_path)
    assert refused.returncode == 2
    assert "holds no platform yet: make one with `mlplatform-server init`" in refused.stderr
    done = init(database, tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    token = tmp_path / "token"
    assert str(database.keys) in done.stdout
    assert str(token) in done.stdout
    for file in [token, *(database.keys / name for name in KEYS)]:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    # Every server may have them read-only.
    for name in KEYS:
        (database.keys / name).chmod(0o400)
    database.keys.chmod(0o500)
    with Served(tmp_path, *database.flags()) as served:
        assert "admin_token_file" not in served.ready
        with MLPlatform(token.read_text().strip(), url=served.url) as admin:
            assert admin.who_am_i().name == "admin"
            assert [cluster.name for cluster in admin.get_clusters()] == ["local"]
        assert served.stop() == 0
    database.keys.chmod(0o700)


def test_a_second_init_changes_nothing(made: Database, tmp_path: Path) -> None:
    before = [(made.keys / name).read_bytes() for name in KEYS] + [(tmp_path / "token").read_bytes()]
    again = init(made, tmp_path)
    assert again.returncode == 0
    assert "an Administrator token was made before; for a new one: mlplatform-server admin-token" in again.stdout
    assert before == [(made.keys / name).read_bytes() for name in KEYS] + [(tmp_path / "token").read_bytes()]


def test_an_init_that_was_cut_off_is_finished_by_the_next(database: Database, cluster: Cluster, tmp_path: Path) -> None:
    # The token's file cannot be written: tables and keys are there then, and no token.
    (tmp_path / "token").mkdir()
    assert init(database, tmp_path).returncode == 2
    keys = [(database.keys / name).read_bytes() for name in KEYS]
    assert "`mlplatform-server init` was not finished; run it again" in _as_served(database, tmp_path).stderr
    (tmp_path / "token").rmdir()
    assert init(database, tmp_path).returncode == 0
    assert keys == [(database.keys / name).read_bytes() for name in KEYS]
    assert cluster.sql("SELECT count(*) FROM keys", database.url.rsplit("/", 1)[1]) == "2"


@pytest.mark.parametrize("apart", [False, True])
def test_two_at_once_make_one_platform(database: Database, cluster: Cluster, tmp_path: Path, apart: bool) -> None:
    folders = [database.keys, database.keys.with_name("others") if apart else database.keys]
    folders[1].mkdir(0o700, exist_ok=True)
    started = [
        subprocess.Popen(
            [
                *(PROGRAM, "init", "--database-url-file", database.file, "--keys-dir", folder),
                *("--data-dir", tmp_path / f"own-{n}", "--out", tmp_path / f"token-{n}"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n, folder in enumerate(folders)
    ]
    said = [process.communicate(timeout=120)[1] for process in started]
    codes = [process.returncode for process in started]
    assert sorted(codes) == ([0, 2] if apart else [0, 0]), said
    name = database.url.rsplit("/", 1)[1]
    assert cluster.sql("SELECT (SELECT count(*) FROM keys), (SELECT count(*) FROM tokens)", name) == "2|1"
    assert [(tmp_path / f"token-{n}").exists() for n in range(2)].count(True) == 1
    if apart:
        late = codes.index(2)
        assert str(folders[late]) in said[late]
        assert "--keys-dir" in said[late]
        assert list(folders[late].iterdir()) == []


@pytest.mark.parametrize("name", KEYS)
def test_another_key_is_refused(made: Database, tmp_path: Path, name: str) -> None:
    path = made.keys / name
    right = path.read_bytes()
    commands: list[Callable[[], subprocess.CompletedProcess[str]]] = [
        lambda: _as_served(made, tmp_path),
        lambda: init(made, tmp_path),
        lambda: run("admin-token", *made.flags(), "--out", tmp_path / "token"),
        lambda: run("audit", "verify", *made.flags()),
        lambda: run("cluster", "list", *made.flags()),
    ]
    for content, problem in [
        (bytes(32), "is not the key of this database"),
        (right[:31], "does not hold 32 bytes"),
        (None, "No such file"),
    ]:
        path.unlink()
        if content is not None:
            path.write_bytes(content)
            path.chmod(0o600)
        for command in commands:
            refused = command()
            assert refused.returncode == 2
            for part in (str(path), problem, "--keys-dir"):
                assert part in refused.stderr, refused.stderr
        path.touch(0o600)
    path.write_bytes(right)
    path.chmod(0o644)
    assert "others can open it (mode 644): chmod o-rwx" in _as_served(made, tmp_path).stderr


def test_commands_beside_a_server(made: Database, tmp_path: Path) -> None:
    token = tmp_path / "token"
    with Served(tmp_path, *made.flags()) as served:
        with MLPlatform(token.read_text().strip(), url=served.url) as admin:
            added = run("cluster", "add", "big", "--max-cores", "2", *made.flags(), "--data-dir", served.data)
            assert added.returncode == 0, added.stderr
            assert [cluster.name for cluster in admin.get_clusters()] == ["local", "big"]
            assert admin.get_clusters()[1].id == added.stdout.strip()
        listed = run("cluster", "list", *made.flags())
        assert "big" in listed.stdout
        replaced = run("admin-token", *made.flags(), "--out", tmp_path / "second")
        assert (replaced.stdout, replaced.returncode) == (f"{tmp_path / 'second'}\n", 0)
        with MLPlatform((tmp_path / "second").read_text().strip(), url=served.url) as admin:
            assert admin.who_am_i().name == "admin"
        link = run("open", *made.flags(), "--data-dir", served.data, "--token-file", tmp_path / "second")
        assert link.stdout.startswith(f"{served.url}/open?code="), link.stderr
        elsewhere = run(
            "open", *made.flags(), "--url", "https://ml.example.com", "--token-file", tmp_path / "second"
        )  # fmt: skip
        assert elsewhere.stdout.startswith("https://ml.example.com/open?code="), elsewhere.stderr
        assert get(served.url + "/open?code=" + elsewhere.stdout.strip().split("=")[1])[0] == 200
        actions = run("audit", "list", *made.flags()).stdout
        for action in ("first_start", "add_cluster", "admin_token"):
            assert action in actions


def test_backups_are_made_by_postgresql(made: Database, tmp_path: Path) -> None:
    to = str(tmp_path / "b")
    for command in (["backup", to], ["restore", to, "--data-dir", str(tmp_path / "new")]):
        refused = run(*command, *made.flags())
        assert refused.returncode == 2
        assert "use pg_dump and pg_restore" in refused.stderr
        assert "audit-key and secrets-key" in refused.stderr
    assert not (tmp_path / "b").exists()
    without = run("init", "--data-dir", tmp_path / "c")
    assert "name the database with --database-url-file" in without.stderr
    marked = run("serve", "--audit-mark", tmp_path / "m", "--data-dir", tmp_path / "c", "--no-jobs")
    assert "--audit-mark is for PostgreSQL" in marked.stderr


def test_local_platform_is_not_led_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLP_SERVER_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("MLP_SERVER_DATABASE_URL_FILE", str(tmp_path / "none"))
    with LocalPlatform(tmp_path / "data"):
        assert (tmp_path / "data" / "platform.sqlite3").exists()


def _until(condition: Callable[[], bool]) -> None:
    """It holds within half a minute."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def tamper(cluster: Cluster, database: Database, statement: str) -> None:
    """As somebody who owns the tables."""
    name = database.url.rsplit("/", 1)[1]
    cluster.sql(f"ALTER TABLE audit DISABLE TRIGGER ALL; {statement}; ALTER TABLE audit ENABLE TRIGGER ALL", name)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE audit SET address = '10.0.0.1' WHERE seq = 2", "row 2 was changed"),
        ("DELETE FROM audit WHERE seq = 1", "row 1 is missing"),
        (FORGED, "does not follow the row before"),
    ],
)
def test_a_forgery_is_found(made: Database, cluster: Cluster, tmp_path: Path, statement: str, said: str) -> None:
    for number in range(2):
        assert run("admin-token", *made.flags(), "--out", tmp_path / f"token-{number}").returncode == 0
    for refused in ("DELETE FROM audit", "UPDATE audit SET at = 8"):
        with pytest.raises(CannotStart, match="append-only"):
            cluster.sql(refused, made.url.rsplit("/", 1)[1])
    tamper(cluster, made, statement)
    done = run("audit", "verify", *made.flags())
    assert (done.returncode, said in done.stdout) == (1, True), done.stdout


def test_the_mark_shows_a_cut(made: Database, cluster: Cluster, tmp_path: Path) -> None:
    name, mark = made.url.rsplit("/", 1)[1], tmp_path / "mark"

    def verify(*arguments: str | Path) -> tuple[int, str]:
        done = run("audit", "verify", *made.flags(), *arguments)
        return done.returncode, done.stdout

    def newest() -> int:
        return int(cluster.sql("SELECT max(seq) FROM audit", name))

    with Served(tmp_path, *made.flags(), "--audit-mark", str(mark)) as served:
        with MLPlatform((tmp_path / "token").read_text().strip(), url=served.url) as admin:
            admin.create_register_token("anna", "1h", token_type=MLPTokenType.USER)
        last = newest()
        _until(lambda: mark.exists() and mark.read_text().startswith(f"{last}:"))
        assert verify()[0] == 0
        assert "was not proved: give --mark or --audit-mark" in verify()[1]
        assert verify("--audit-mark", mark) == (0, f"the audit is whole: {last} rows, each proved by the key\n")
        assert verify("--mark", mark.read_text().strip()) == verify("--audit-mark", mark)
        # What is cut off while a server runs, it writes down with the next row.
        tamper(cluster, made, CUT)
        assert verify()[0] == 0
        code, text = verify("--audit-mark", mark)
        assert code == 1
        assert f"the rows up to {last}" in text
        with MLPlatform((tmp_path / "token").read_text().strip(), url=served.url) as admin:
            admin.create_register_token("boris", "1h", token_type=MLPTokenType.USER)
        assert verify()[0] == 3
        assert served.stop() == 0
    # The last mark is written when it stops.
    last = newest()
    assert mark.read_text().startswith(f"{last}:")
    # What is cut off while no server runs, the next one finds by the file.
    tamper(cluster, made, CUT)
    with Served(tmp_path, *made.flags(), "--audit-mark", str(mark)) as served:
        with MLPlatform((tmp_path / "token").read_text().strip(), url=served.url) as admin:
            admin.create_register_token("clara", "1h", token_type=MLPTokenType.USER)
        assert cluster.sql("SELECT count(*) FROM audit WHERE action = 'audit_gap'", name) == "2"
        assert served.stop() == 0
    mark.write_text("what is this\n")
    refused = run("audit", "verify", *made.flags(), "--audit-mark", mark)
    assert (refused.returncode, str(mark) in refused.stderr) == (2, True)
    assert "it is not SEQ:MAC" in refused.stderr


def test_without_a_file_the_mark_is_in_the_log(made: Database, tmp_path: Path) -> None:
    with Served(tmp_path, *made.flags()) as served:
        assert served.stop() == 0
        marks = re.findall(r"audit mark (\d+:[0-9a-f]{64})", served.log.read_text())
    assert marks
    assert run("audit", "verify", *made.flags(), "--mark", marks[-1]).returncode == 0
    assert run("audit", "verify", *made.flags(), "--mark", "7:ab").returncode == 2


def test_the_url_is_shown_nowhere(made: Database, tmp_path: Path) -> None:
    password = made.url.split(":")[2].split("@")[0]
    shown = []

    def refused(*arguments: str | Path, **variables: str) -> str:
        done = subprocess.run(
            [PROGRAM, "--log", "trace", *map(str, arguments)],
            capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **variables},
        )  # fmt: skip
        assert done.returncode == 2, done
        shown.append(done.stdout + done.stderr)
        return done.stderr

    command = ["cluster", "list", "--keys-dir", str(made.keys)]
    text = refused(*command, "--database-url", made.url)
    assert "visible to every user of this machine" in text
    assert "--database-url-file FILE" in text
    wrong = made.url.replace(password, password[:-1] + "%")
    for url, problem in [
        (made.url.replace("127.0.0.1", "10.0.0.1") + "?sslmode=disable", "without TLS to another machine"),
        (made.url.replace(":" + password, ":x" + password), "password authentication failed"),
        (made.url.rsplit("/", 1)[0] + "/nothing", 'database "nothing" does not exist'),
        (re.sub(r":\d+/", ":1/", made.url), "cannot be reached"),
        (wrong, "failed"),
        (made.url.replace("postgres://", "mysql://"), "has to begin with postgres://"),
    ]:
        assert problem in refused(*command, MLP_SERVER_DATABASE_URL=url), (problem, shown[-1])
    made.file.chmod(0o604)
    assert "others can open it (mode 604)" in refused("init", *made.flags(), "--data-dir", tmp_path / "own")
    made.file.chmod(0o600)
    assert "cannot be read from" in refused(*command, "--database-url-file", tmp_path / "nothing")
    both = refused(*command, "--database-url-file", made.file, MLP_SERVER_DATABASE_URL=made.url)
    assert "cannot be used with" in both
    # What does work shows nothing either, and both variables do.
    for variables in ({"MLP_SERVER_DATABASE_URL": made.url}, {"MLP_SERVER_DATABASE_URL_FILE": str(made.file)}):
        for arguments in (command, ["serve", "--help"]):
            done = subprocess.run(
                [PROGRAM, "--log", "trace", *map(str, arguments)],
                capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **variables},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            shown.append(done.stdout + done.stderr)
    with Served(tmp_path, *made.flags(), log_level="trace") as served:
        with MLPlatform((tmp_path / "token").read_text().strip(), url=served.url) as admin:
            admin.who_am_i()
        command_line = Path(f"/proc/{served.process.pid}/cmdline").read_bytes().decode()
        assert served.stop() == 0
        shown += [served.log.read_text(), str(served.ready), command_line]
    for text in shown:
        assert password not in text
