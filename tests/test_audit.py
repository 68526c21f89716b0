"""Who did what: `get_audit` and `mlplatform-server audit`, and that nobody changes it unseen."""

from __future__ import annotations

import datetime
import json
import pickle
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import stores

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import BadRequestException, ForbiddenException
from mlplatform_client.local import LocalPlatform, _find_program
from mlplatform_client.serializers.audit import MLPAuditEntry
from mlplatform_client.serializers.auth import MLPTokenType

REST = "at, actor, action, subject, address, request_id, outcome, detail, mac"
SERVER = _find_program()


def _run(platform: LocalPlatform, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [SERVER, "--log", "warn", "audit", *arguments, "--data-dir", platform.data_dir]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[LocalPlatform, MLPlatform]]:
    """A platform of the test's own, with a little history."""
    with LocalPlatform(tmp_path) as platform, MLPlatform(platform.admin_token, url=platform.url) as admin:
        token = admin.create_refresh_token(admin.create_register_token("anna", "1h", token_type=MLPTokenType.USER))
        with MLPlatform(token, url=platform.url) as anna, pytest.raises(ForbiddenException):
            anna.delete_token("admin")
        admin.delete_token("anna")
        yield platform, admin


def test_the_newest_comes_first_and_says_who_and_whom(own: tuple[LocalPlatform, MLPlatform]) -> None:
    _, admin = own
    entries = admin.get_audit(limit=4)
    assert [(entry.action, entry.outcome, entry.actor_name, entry.subject_name) for entry in entries] == [
        ("delete_token", "done", "admin", "anna"),
        ("delete_token", "refused", "anna", None),
        ("create_refresh_token", "done", None, "anna"),
        ("create_register_token", "done", "admin", "anna"),
    ]
    total = entries[0].seq
    everything = admin.get_audit(limit=None)
    assert [entry.seq for entry in everything] == [*range(total, 0, -1)]
    assert (everything[-1].action, everything[-1].address) == ("first_start", "local")
    newest = entries[0]
    assert newest.address == "127.0.0.1"
    assert newest.request_id.startswith("req_")
    assert newest.detail["name"] == "anna"
    now = datetime.datetime.now(datetime.timezone.utc)
    assert abs((now - newest.at).total_seconds()) < 60
    assert "admin (127.0.0.1): delete_token anna done" in str(newest)
    assert pickle.loads(pickle.dumps(entries)) == entries


def test_filters(own: tuple[LocalPlatform, MLPlatform]) -> None:
    _, admin = own

    # The story is the last four rows; what the first start wrote stands before them.
    start = admin.get_audit(limit=1)[0].seq - 4

    def seqs(**filters: object) -> list[int]:
        return [entry.seq - start for entry in admin.get_audit(**filters)]  # type: ignore[arg-type]

    anna = admin.get_audit(limit=1)[0].subject
    assert seqs(token="anna") == [4, 3, 2, 1]
    assert seqs(token=anna) == [4, 3, 2]
    assert seqs(token="nobody") == []
    assert seqs(token="' OR 1=1 --") == []
    assert seqs(action="delete_token") == [4, 3]
    assert seqs(action="delete_token", outcome="refused") == [3]
    assert seqs(limit=2) == [4, 3]
    assert seqs() == seqs(limit=None) == seqs(since="1h") == seqs(since=datetime.timedelta(hours=1))
    assert seqs(until="1h") == []
    second = admin.get_audit()[2].at
    assert seqs(since=second) == [4, 3, 2]
    assert seqs(until=second, token="anna") == [1]
    assert seqs(since=second.isoformat(), until=second + datetime.timedelta(microseconds=1)) == [2]


def test_what_cannot_be_meant_is_refused(platform: LocalPlatform, admin: MLPlatform) -> None:
    for filters, said in [
        ({"outcome": "fine"}, "use 'done', 'refused', 'replay'"),
        ({"since": "yesterday"}, "since: 'yesterday' is neither a time"),
        ({"since": datetime.datetime(2026, 1, 1)}, "an offset belongs to it"),
        ({"token": "x" * 65}, "65 characters"),
    ]:
        with pytest.raises(BadRequestException, match=said):
            admin.get_audit(**filters)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="did you mean 'outcome'"):
        admin.get_audit(outcom="done")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"aware datetime\.datetime"):
        admin.get_audit(since=5)  # type: ignore[arg-type]


def test_it_is_for_administrators(platform: LocalPlatform, newcomer: object) -> None:
    assert callable(newcomer)
    _, token = newcomer()
    with pytest.raises(ForbiddenException, match="ml-platform:Manage"):
        MLPlatform(token, url=platform.url).get_audit()


def test_the_command_shows_the_same_beside_a_running_server(own: tuple[LocalPlatform, MLPlatform]) -> None:
    platform, admin = own
    done = _run(platform, "list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["request_id"] for row in reversed(rows)] == [entry.request_id for entry in admin.get_audit()]
    assert [row["seq"] for row in rows] == [*range(1, len(rows) + 1)]
    table = _run(platform, "list", "--token", "anna", "--since", "2h").stdout.splitlines()
    assert table[0].split() == ["ROW", "TIME", "(UTC)", "OUTCOME", "ACTION", "WHO", "WHOM", "FROM", "REQUEST", "DETAIL"]
    assert [line.split()[0] for line in table[1:]] == [str(row["seq"]) for row in rows[-4:]]
    assert re.search(r"delete_token +admin \(tok_\w+\) +anna \(tok_\w+\) +127\.0\.0\.1 +req_", table[-1])
    wrong = _run(platform, "list", "--since", "yesterday")
    assert wrong.returncode == 2
    assert "'yesterday' is neither a time" in wrong.stderr


def test_names_from_users_cannot_reach_the_terminal(own: tuple[LocalPlatform, MLPlatform]) -> None:
    platform, admin = own
    with pytest.raises(Exception, match="no living token"):
        admin.delete_token("b\u0430d \U0001f642")
    stores.query(platform.data_dir, "UPDATE tokens SET name = 'x\x1b[2J\u202e' WHERE name = 'anna'")
    for arguments in (["list"], ["list", "--json"]):
        shown = _run(platform, *arguments).stdout
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    assert (
        json.loads(_run(platform, "list", "--json").stdout.splitlines()[-1])["detail"]["name"] == "b\u0430d \U0001f642"
    )


def test_an_untouched_audit_is_whole(own: tuple[LocalPlatform, MLPlatform], tmp_path: Path) -> None:
    platform, admin = own
    done = _run(platform, "verify")
    rows = len(admin.get_audit(limit=None))
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == f"the audit is whole: {rows} rows, each proved by the key"
    platform.stop()
    assert _run(platform, "verify").returncode == 0
    missing = subprocess.run(
        [SERVER, "audit", "verify", "--data-dir", str(tmp_path / "no")], capture_output=True, text=True, check=False
    )
    assert missing.returncode == 2
    assert "there is no platform in" in missing.stderr


@pytest.mark.sqlite("the mark in a file beside the key; of PostgreSQL test_postgres.py has such tests")
@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE audit SET outcome = 'done' WHERE seq = {victim}", "row {victim} was changed"),
        ("UPDATE audit SET detail = CAST(x'ff' AS TEXT) WHERE seq = {victim}", "row {victim} was changed"),
        ("DELETE FROM audit WHERE seq = {victim}", "row {victim} is missing"),
        ("DELETE FROM audit WHERE seq = 1", "row 1 is missing"),
        (
            "DELETE FROM audit WHERE seq >= {victim}",
            "rows up to {last} that the mark beside the key knows of were cut off",
        ),
        ("DELETE FROM audit", "rows up to {last} that the mark beside the key knows of were cut off"),
        (
            ("INSERT INTO audit SELECT {last} + 1, {rest} FROM audit WHERE seq = {last}"),
            "row {next} was changed, or does not follow",
        ),
        (
            (
                "UPDATE audit SET seq = seq + 100 WHERE seq >= {victim}; "
                "UPDATE audit SET seq = seq - 99 WHERE seq > 100; "
                "INSERT INTO audit SELECT {victim}, {rest} "
                "FROM audit WHERE seq = {victim} - 1"
            ),
            "row {victim} was changed, or does not follow",
        ),
    ],
)
def test_every_forgery_is_found(
    own: tuple[LocalPlatform, MLPlatform], statement: str, said: str, running: bool
) -> None:
    platform, admin = own
    last = admin.get_audit(limit=1)[0].seq
    names = {"rest": REST, "last": last, "victim": last - 1, "next": last + 1}
    if not running:
        platform.stop()
    with closing(sqlite3.connect(Path(platform.data_dir) / "platform.sqlite3", isolation_level=None)) as store:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            store.execute("DELETE FROM audit")
        for trigger in ("audit_is_not_changed", "audit_is_not_removed"):
            store.execute(f"DROP TRIGGER {trigger}")
        store.executescript(statement.format(**names))
    done = _run(platform, "verify")
    assert done.returncode == 1
    assert said.format(**names) in done.stdout


@pytest.mark.sqlite("triggers are dropped in its words; of PostgreSQL test_postgres.py has such a test")
def test_a_cut_is_not_forgotten_when_the_server_goes_on(own: tuple[LocalPlatform, MLPlatform]) -> None:
    platform, admin = own
    with closing(sqlite3.connect(Path(platform.data_dir) / "platform.sqlite3", isolation_level=None)) as store:
        store.executescript("DROP TRIGGER audit_is_not_removed; DELETE FROM audit WHERE seq > 1")
    for number in range(4):
        admin.create_register_token(f"later-{number}", "1h", token_type=MLPTokenType.USER)
    done = _run(platform, "verify")
    assert done.returncode == 3
    assert "row 2 of " in done.stdout
    assert "had been cut off before it" in done.stdout
    assert [entry.action for entry in admin.get_audit(action="audit_gap")] == ["audit_gap"]


def test_entries_are_values() -> None:
    at = datetime.datetime.fromtimestamp(time.time(), datetime.timezone.utc)

    def make(seq: int) -> MLPAuditEntry:
        return MLPAuditEntry(seq, at, "a", "done", None, None, None, None, "local", "req_1", {"x": 1})

    assert make(1) == make(1) != make(2)
    assert repr(make(1)) == f"<MLPAuditEntry seq=1 at={at} actor_name=None action='a' outcome='done' subject_name=None>"
    with pytest.raises(AttributeError):
        make(1).seq = 2  # type: ignore[misc]
