"""A PostgreSQL for tests: a cluster of its own in a temporary folder, unprivileged, on loopback, removed at the end.

    python tests/postgres.py COMMAND ...   runs the command; MLP_TEST_POSTGRES names one cluster for all its processes
    python tests/postgres.py               prints the URL, obeys lines on its standard input, ends with it

In pytest: `with Cluster() as cluster: cluster.create_database()`. Rust tests use the second form
(crates/store/src/testing.rs). Only the standard library is needed, and PostgreSQL's own programs.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

VARIABLE = "MLP_TEST_POSTGRES"
USER = "mlplatform"
# Debian, and what has `postgresql` of Homebrew or of PostgreSQL's own packages, has them outside PATH.
FOLDERS = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/pgsql-*/bin")


class CannotStart(Exception):
    """Why there is no PostgreSQL, and what to do about that."""


def programs() -> Path:
    """The folder of PostgreSQL's programs; of several versions the newest."""

    def version(folder: Path) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", str(folder))]

    folders = sorted((Path(one) for pattern in FOLDERS for one in glob.glob(pattern)), key=version, reverse=True)
    found = shutil.which("initdb")
    folders += [Path(found).resolve().parent] if found else []
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise CannotStart(
        "PostgreSQL's programs initdb and postgres are missing, and these tests need them. "
        "Debian, Ubuntu: apt-get install postgresql (or, as root: make postgres)"
    )


class Cluster:
    """A running PostgreSQL. `locale`, `encoding` and `settings` are those of initdb and postgresql.conf; `certificate`
    names the files of a certificate and its key, for TLS."""

    def __init__(
        self,
        *,
        locale: str = "C.UTF-8",
        encoding: str = "UTF8",
        settings: tuple[str, ...] = (),
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self.programs = programs()
        # A socket's path has to be short.
        self.folder = Path(tempfile.mkdtemp(prefix="mlp-pg-"))
        self.settings = settings
        self.password = secrets.token_hex(8)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        try:
            self._make(locale, encoding)
            if certificate:
                names = [self._own(name, path.read_text()) for name, path in zip(("cert.pem", "key.pem"), certificate)]
                self.settings += ("ssl=on", f"ssl_cert_file={names[0]}", f"ssl_key_file={names[1]}")
            self.start()
        except BaseException:
            self.stop()
            raise

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What PostgreSQL has said."""
        return self.folder / "log"

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases, password included."""
        return f"postgres://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def _unprivileged(self) -> dict[str, object]:
        """PostgreSQL refuses to run as root."""
        return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}

    def _run(self, program: str, *arguments: str) -> str:
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "PGPASSWORD": self.password}
        done = subprocess.run(
            [self.programs / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
            timeout=120,
            cwd=self.folder,
            env=environment,
            **self._unprivileged(),  # type: ignore[call-overload]
        )
        if done.returncode != 0:
            raise CannotStart(f"{program} failed:\n{done.stdout}")
        return str(done.stdout)

    def _own(self, name: str, text: str) -> Path:
        """A file that only PostgreSQL may read."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)
        if os.geteuid() == 0:
            shutil.chown(path, "nobody", "nogroup")
        return path

    def _make(self, locale: str, encoding: str) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.folder, "nobody", "nogroup")
        password = self._own("password", self.password + "\n")
        self._run(
            "initdb",
            f"--pgdata={self.data}",
            f"--username={USER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            f"--encoding={encoding}",
            f"--locale={locale}",
        )
        password.unlink()

    def start(self) -> None:
        """Starts it, and returns when it answers."""
        settings = [
            "listen_addresses=127.0.0.1",
            f"port={self.port}",
            f"unix_socket_directories={self.folder}",
            # Small: several of them run beside each other.
            "shared_buffers=32MB",
            "max_connections=200",
            *self.settings,
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data, *(part for one in settings for part in ("-c", one))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
                start_new_session=True,
                **self._unprivileged(),  # type: ignore[call-overload]
            )
        deadline = time.monotonic() + 60
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise CannotStart(f"postgres did not start:\n{self.log.read_text(errors='replace')}")
            with contextlib.suppress(CannotStart):
                self._run("pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-q")
                return
            time.sleep(0.05)

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends the process and its children: SIGINT does so in order, SIGQUIT as a loss of power would."""
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def signal_all(self, which: signal.Signals) -> None:
        """Sends a signal to each of its processes: after SIGSTOP it takes connections and says nothing."""
        assert self.process is not None
        own = self.process.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        for process in [own, *map(int, children)]:
            # A backend may have ended meanwhile.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, which)

    def stop(self) -> None:
        """Ends it, and removes what it has written."""
        self.end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """What psql answers to a statement."""
        return self._run(
            "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database, "-qtAX",
            "-v", "ON_ERROR_STOP=1", "-c", statement,
        ).strip()  # fmt: skip

    def create_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"mlp_{secrets.token_hex(6)}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def obey(self, command: str) -> str:
        """A line of standard input: `stop`, `crash`, `start`."""
        if command == "stop":
            self.end()
        elif command == "crash":
            self.end(signal.SIGQUIT)
        elif command == "start":
            self.start()
        else:
            return f"no command: {command!r}"
        return "done"

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def free_port() -> int:
    """One that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def main() -> int:
    """The two forms above."""
    parser = argparse.ArgumentParser(description="A PostgreSQL for tests.")
    parser.add_argument("--locale", default="C.UTF-8")
    parser.add_argument("--encoding", default="UTF8")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of postgresql.conf")
    parser.add_argument(
        "--certificate", nargs=2, type=Path, metavar=("CERT", "KEY"), help="speaks TLS with these files"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    # Whoever ends us with a signal wants the cluster gone, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        cluster = Cluster(
            locale=arguments.locale,
            encoding=arguments.encoding,
            settings=tuple(arguments.set),
            certificate=arguments.certificate,
        )
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1
    with cluster:
        if arguments.command:
            return subprocess.run(
                arguments.command, env={**os.environ, VARIABLE: cluster.url()}, check=False
            ).returncode
        print(cluster.url(), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            for line in sys.stdin:
                try:
                    print(cluster.obey(line.strip()), flush=True)
                except CannotStart as error:
                    print(f"failed: {' '.join(str(error).split())}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
