"""A real platform for the tests, and the search for leaked tokens over the whole run."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlplatform_client import MLPlatform, TokenStr
from mlplatform_client._native import contract
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

pytest_plugins = ["browsers", "figures", "pytester", "server_clock", "stores"]

ROOT = Path(__file__).parent.parent
TOKEN = re.compile(contract()["token_pattern"])

_names = (f"colleague-{number}" for number in itertools.count(1))
_leaks: list[str] = []


@pytest.fixture(scope="session", autouse=True)
def _plain_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No setting, no profile and no proxy of the developer's reaches a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        for variable in [*os.environ]:
            if variable.startswith("MLP_") or variable.lower().endswith("_proxy"):
                patch.delenv(variable)
        patch.setenv("MLP_PROGRESS", "0")
        yield


def stand_in(folder: Path) -> Path:
    """A program in Spark's place: its own arguments left out, it runs a job's main program by `sh`."""
    program = folder / "spark-submit"
    program.write_text('#!/bin/sh\nshift 2\nexec sh "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    """One server process with one data directory for the whole run. Its jobs are shell scripts, not Spark's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(tmp_path_factory.mktemp("stand-in"))))
        platform = LocalPlatform(tmp_path_factory.mktemp("platform"))
    with platform:
        yield platform
    kept = [path for path in Path(platform.data_dir).rglob("*") if path.is_file() and path.name != "admin-token"]
    assert any(path.name == "server.log" for path in kept)
    from stores import stored  # a plugin: not before pytest has rewritten it

    database = stored(platform.data_dir)
    assert b"first_start" in database
    assert not TOKEN.search(database.decode("latin-1")), "the database holds a token"
    for path in kept:
        found = TOKEN.search(path.read_bytes().decode("latin-1"))
        assert not found, f"{path} holds a token"


@pytest.fixture(scope="session")
def admin(platform: LocalPlatform) -> Iterator[MLPlatform]:
    """The first Administrator."""
    with MLPlatform(platform.admin_token, url=platform.url) as admin:
        yield admin


Newcomer = Callable[..., tuple[str, TokenStr]]


@pytest.fixture
def newcomer(admin: MLPlatform) -> Newcomer:
    """Make an access token the documented way; returns its name and its value."""

    def make(role: MLPTokenType = MLPTokenType.USER, refresh_ttl: str | None = None) -> tuple[str, TokenStr]:
        name = next(_names)
        register_token = admin.create_register_token(name, "10m", refresh_ttl=refresh_ttl, token_type=role)
        return name, admin.create_refresh_token(register_token)

    return make


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: no process of a run begins a long one when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Whatever a test showed (output, log records, a failure's traceback with its locals) is searched."""
    shown = [report.longreprtext, *(text for _, text in report.sections)]
    if any(TOKEN.search(text) for text in shown):
        _leaks.append(f"{report.nodeid} ({report.when})")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One leak fails the run."""
    if _leaks:
        print(f"\ntokens were shown in the clear by: {', '.join(_leaks)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
