"""A platform on PostgreSQL, made from one on SQLite with `mlplatform-server copy`, served by any number of servers."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from postgres import Cluster

from mlplatform_client.local import LocalPlatform

PROGRAM = Path(sysconfig.get_path("scripts")) / "mlplatform-server"


class Server(NamedTuple):
    """One server, and an Administrator's token: what a benchmark needs of a `LocalPlatform`."""

    url: str
    admin_token: str


@contextlib.contextmanager
def _served(data_dir: Path, flags: list[str | Path]) -> Iterator[str]:
    """The address of a server that ends with the block."""
    data_dir.mkdir(mode=0o700, exist_ok=True)
    command = [PROGRAM, "serve", "--data-dir", data_dir, "--listen", "127.0.0.1:0", "--connect-listen", "off", *flags]
    with (
        (data_dir / "server.log").open("wb") as log,
        subprocess.Popen(
            [*command, "--no-jobs", "--exit-on-stdin-eof"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit((data_dir / "server.log").read_text())
        yield json.loads(line)["url"]
        process.stdin.close()


@contextlib.contextmanager
def on_postgresql(cluster: Cluster, seed: Callable[[LocalPlatform], None], servers: int = 1) -> Iterator[list[Server]]:
    """Fill a platform on SQLite, copy it to a new database, and serve that."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlplatform-bench-")))
        with LocalPlatform(folder / "0") as platform:
            seed(platform)
            token = str(platform.admin_token)
        url = folder / "url"
        url.touch(0o600)
        url.write_text(cluster.create_database())
        flags: list[str | Path] = ["--database-url-file", url, "--keys-dir", folder / "0"]
        # 1: the rows that a benchmark has put into the audit are in no chain.
        command: list[str | Path] = [PROGRAM, "copy", "--data-dir", folder / "0", *flags]
        copied = subprocess.run(command, check=False, capture_output=True, text=True)
        if copied.returncode not in (0, 1):
            raise SystemExit(copied.stderr)
        started = [stack.enter_context(_served(folder / str(number), flags)) for number in range(servers)]
        cluster.sql("VACUUM ANALYZE", url.read_text().rsplit("/", 1)[1])
        yield [Server(address, token) for address in started]
