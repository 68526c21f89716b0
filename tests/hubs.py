"""A real JupyterHub for tests: its proxy, its hub, and the server of one user."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.bench_requests import HUB_CONFIG, free_port
from conftest import ROOT
from jobs import until

USER = "anna"

CONFIG = f"""{HUB_CONFIG}
c.Spawner.ip = "127.0.0.1"
c.Spawner.args = ["--allow-root"]
c.SimpleLocalProcessSpawner.home_dir_template = {{home!r}}
c.Spawner.start_timeout = 300
c.Spawner.http_timeout = 300
c.Spawner.environment = {{environment!r}}
c.JupyterHub.load_roles[0]["scopes"] += ["admin:servers", "access:servers"]
"""


class Hub:
    """A JupyterHub with one user, whose server runs. `home` is that user's folder."""

    def __init__(self, folder: Path, home: Path, environment: dict[str, str], packages: list[str]) -> None:
        folder.mkdir()
        npm = shutil.which("npm")
        assert npm, "npm is missing, and JupyterHub needs its proxy from there. Debian, Ubuntu: apt-get install npm"
        subprocess.run([npm, "install", "--silent", "--prefix", str(folder), "configurable-http-proxy@5"], check=True)
        python = make_venv(folder / "venv", [*_pinned("jupyterhub"), "ipykernel", *packages])
        self.token, port = secrets.token_hex(16), free_port()
        self.url = f"http://127.0.0.1:{port}"
        config = CONFIG.format(
            proxy=port,
            hub=free_port(),
            api=free_port(),
            command=[str(folder / "node_modules" / ".bin" / "configurable-http-proxy")],
            home=str(home),
            environment=environment,
            token=self.token,
        )
        (folder / "config.py").write_text(config)
        self.log = folder / "hub.log"
        path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [python, "-m", "jupyterhub", "-f", folder / "config.py"],
                cwd=folder,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": path, "CONFIGPROXY_AUTH_TOKEN": secrets.token_hex(16)},
            )

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        """Of the hub's API, or of the user's server."""
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.url}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"token {self.token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback
            return json.loads(answer.read() or "null")

    def start_server(self) -> None:
        """The user's, as a sign-in in a browser would."""

        def answers(path: str) -> bool:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            try:
                self.ask(path)
            except (OSError, urllib.error.HTTPError):
                return False
            return True

        until(lambda: answers("/hub/api/users"))
        self.ask(f"/hub/api/users/{USER}", {})
        self.ask(f"/hub/api/users/{USER}/server", {})
        until(lambda: answers(f"/user/{USER}/api/kernels"), 300)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.ask(f"/hub/api/users/{USER}/server", method="DELETE")
        self.process.terminate()
        self.process.wait(60)


@contextlib.contextmanager
def running_hub(folder: Path, home: Path, environment: dict[str, str], packages: list[str]) -> Iterator[Hub]:
    """In `folder`; `packages` are what its environment has beside the hub and a kernel."""
    hub = Hub(folder, home, environment, packages)
    try:
        hub.start_server()
        yield hub
    finally:
        hub.stop()


def make_venv(folder: Path, packages: list[str]) -> Path:
    """A virtual environment with these packages; its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


def _pinned(package: str) -> list[str]:
    return re.findall(rf"^{package}==.*$", (ROOT / "requirements-bench.txt").read_text(), flags=re.MULTILINE)
