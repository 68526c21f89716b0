"""Which database the platforms of the tests use: `MLP_TEST_STORE=sqlite` (the default) or `postgres`."""

from __future__ import annotations

import atexit
import contextlib
import os
import shlex
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import postgres
import pytest

from mlplatform_client import local

ON_POSTGRES = {"": False, "sqlite": False, "postgres": True}[os.environ.get("MLP_TEST_STORE", "")]


def use_postgres() -> None:
    """From now on, the server that tests find is one on PostgreSQL."""
    cluster = os.environ.get(postgres.VARIABLE)
    if cluster is None:
        own = postgres.Cluster()
        atexit.register(own.stop)
        cluster = own.url()
    folder = tempfile.TemporaryDirectory(prefix="mlp-on-postgres-")
    atexit.register(folder.cleanup)
    wrapper = Path(folder.name) / "mlplatform-server"
    script = Path(__file__).with_name("server_on_postgres.py")
    command = [sys.executable, "-I", script, postgres.programs() / "psql", cluster, local._find_program()]
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, command))} "$@"\n')
    wrapper.chmod(0o755)
    # Tests start it as other users, too.
    wrapper.parent.chmod(0o755)
    local._find_program = lambda: str(wrapper)


def pytest_configure() -> None:
    """Before test modules are imported."""
    if ON_POSTGRES:
        use_postgres()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is about SQLite is not run on PostgreSQL."""
    for item in items:
        marker = item.get_closest_marker("sqlite")
        if marker and ON_POSTGRES:
            item.add_marker(pytest.mark.skip(reason=f"SQLite: {marker.args[0]}"))


def stored(data_dir: str) -> bytes:
    """All that the database of a data directory holds, as far as it shows (of PostgreSQL as a dump)."""
    file = Path(data_dir) / "database-url"
    if not file.exists():
        return b"".join(path.read_bytes() for path in Path(data_dir).glob("platform.sqlite3*"))
    dumped = subprocess.run(
        [postgres.programs() / "pg_dump", file.read_text().strip()], stdout=subprocess.PIPE, check=True
    )
    return dumped.stdout


def query(data_dir: str | Path, statement: str, *values: str) -> list[str]:
    """What the database of a data directory answers to a statement with `?`, each row as `column|column`."""
    file = Path(data_dir) / "database-url"
    if not file.exists():
        store = sqlite3.connect(Path(data_dir) / "platform.sqlite3", timeout=30)
        with contextlib.closing(store), store:
            rows = store.execute(statement, values)
            return ["|".join("" if cell is None else str(cell) for cell in row) for row in rows]
    variables = [part for i, value in enumerate(values) for part in ("-v", f"v{i}={value}")]
    for i in range(len(values)):
        statement = statement.replace("?", f":'v{i}'", 1)
    # As a file: psql puts variables into that alone.
    psql = [str(postgres.programs() / "psql"), "-qtAX", "-v", "ON_ERROR_STOP=1", *variables, "-f", "-"]
    psql.append(file.read_text().strip())
    done = subprocess.run(psql, input=statement, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()
