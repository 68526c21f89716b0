"""A platform on PostgreSQL, made from one on SQLite with `mlplatform-server copy`, served by any number of servers."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from postgres import Cluster

from mlplatform_client.local import LocalPlatform

PROGRAM = Path(sysconfig.get_path("scripts")) / "mlplatform-server"


@contextlib.contextmanager
def on_postgresql(
    cluster: Cluster, seed: Callable[[LocalPlatform], None], servers: int = 1
) -> Iterator[list[LocalPlatform]]:
    """Fill a platform on SQLite, copy it to a new database, and serve that."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlplatform-bench-")))
        with LocalPlatform(folder / "0") as platform:
            seed(platform)
        url = folder / "url"
        url.touch(0o600)
        url.write_text(cluster.create_database())
        # 1: the rows that a benchmark has put into the audit are in no chain.
        command: list[str | Path] = [PROGRAM, "copy", "--data-dir", folder / "0", "--database-url-file", url]
        copied = subprocess.run(command, check=False, capture_output=True, text=True)
        if copied.returncode not in (0, 1):
            raise SystemExit(copied.stderr)
        with mock.patch.dict(os.environ, MLP_SERVER_DATABASE_URL_FILE=str(url), MLP_SERVER_KEYS_DIR=str(folder / "0")):
            started = [stack.enter_context(LocalPlatform(folder / "0"))]
            with mock.patch.dict(os.environ, MLP_SERVER_NO_JOBS="1"):
                for number in range(1, servers):
                    (folder / str(number)).mkdir(0o700)
                    (folder / str(number) / "admin-token").write_bytes((folder / "0" / "admin-token").read_bytes())
                    started.append(stack.enter_context(LocalPlatform(folder / str(number))))
        cluster.sql("VACUUM ANALYZE", url.read_text().rsplit("/", 1)[1])
        yield started
