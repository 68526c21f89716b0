"""`mlplatform-server` for tests, on PostgreSQL: each data directory has a database of its own.

    python -I tests/server_on_postgres.py PSQL CLUSTER PROGRAM ARGUMENT ...

The first `serve` of a data directory makes its database and runs `init`; the URL is in the data directory's file
`database-url`. Then, and for the commands beside a server, PROGRAM takes this process's place. What is SQLite's alone
(`backup`, `restore`) and a data directory that holds a SQLite database are left as they are.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

COMMANDS = {"serve", "admin-token", "open", "cluster", "audit"}


def data_dir(arguments: list[str]) -> Path | None:
    """The one among the flags, else that of the environment."""
    for flag, value in zip(arguments, [*arguments[1:], ""]):
        if flag == "--data-dir":
            return Path(value)
        if flag.startswith("--data-dir="):
            return Path(flag.split("=", 1)[1])
    named = os.environ.get("MLP_SERVER_DATA_DIR")
    return Path(named) if named else None


def make(psql: str, cluster: str, program: str, data: Path, file: Path) -> None:
    """A database, and a platform in it."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"mlp_{secrets.token_hex(6)}"
    subprocess.run(
        [psql, "-qX", "-v", "ON_ERROR_STOP=1", "-c", f"CREATE DATABASE {name}", cluster],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    beside = data / f"database-url.{os.getpid()}"
    beside.touch(0o600)
    beside.write_text(f"{cluster.rsplit('/', 1)[0]}/{name}\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLP_SERVER_")}
    subprocess.run(
        [program, "init", "--database-url-file", beside, "--data-dir", data],
        stdout=subprocess.DEVNULL,
        env=environment,
        check=True,
    )
    beside.rename(file)


def main() -> None:
    """As above."""
    psql, cluster, program, *arguments = sys.argv[1:]
    data = data_dir(arguments) if COMMANDS.intersection(arguments) else None
    if data is not None and not any(name.startswith("MLP_SERVER_DATABASE") for name in os.environ):
        file = data / "database-url"
        if "serve" in arguments and not file.exists() and not (data / "platform.sqlite3").exists():
            make(psql, cluster, program, data, file)
        if file.exists():
            os.environ["MLP_SERVER_DATABASE_URL_FILE"] = str(file)
    os.execv(program, [program, *arguments])  # noqa: S606 - a program in our place, without a shell


if __name__ == "__main__":
    main()
