"""The tutorial in a kernel of a real JupyterHub: `%pip install` of the client's archive in the first cell, and every
other cell behind it in the same kernel, which nobody restarts."""

from __future__ import annotations

import asyncio
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

import pytest
from benchmarks.bench_requests import HUB_CONFIG, free_port
from conftest import ROOT
from figures import Figure
from jobs import until
from test_tutorial import check, lay_out
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from mlplatform_client.local import LocalPlatform

ARCHIVE = ROOT / "dist" / "mlplatform_client.tar.gz"

CONFIG = f"""{HUB_CONFIG}
c.Spawner.ip = "127.0.0.1"
c.Spawner.args = ["--allow-root"]
c.SimpleLocalProcessSpawner.home_dir_template = {{folder!r}}
c.Spawner.start_timeout = 300
c.Spawner.http_timeout = 300
c.Spawner.environment = {{environment!r}}
c.JupyterHub.load_roles[0]["scopes"] += ["admin:servers", "access:servers"]
"""


class Hub:
    """A JupyterHub with one user, whose server runs."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir()
        npm = shutil.which("npm")
        assert npm, "npm is missing, and JupyterHub needs its proxy from there. Debian, Ubuntu: apt-get install npm"
        subprocess.run([npm, "install", "--silent", "--prefix", str(folder), "configurable-http-proxy@5"], check=True)
        python = folder / "venv" / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        pin = re.findall(r"^jupyterhub==.*$", (ROOT / "requirements-bench.txt").read_text(), flags=re.MULTILINE)
        packages = [*pin, "jupyter_server", "ipykernel"]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        self.token, port = secrets.token_hex(16), free_port()
        self.url = f"http://127.0.0.1:{port}"
        config = CONFIG.format(
            proxy=port,
            hub=free_port(),
            api=free_port(),
            command=[str(folder / "node_modules" / ".bin" / "configurable-http-proxy")],
            folder=str(folder.parent),
            environment={**environment, "JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp"},
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

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Of the hub's API, or of the user's server."""
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.url}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"token {self.token}", "Content-Type": "application/json"},
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
        self.ask("/hub/api/users/anna", {})
        self.ask("/hub/api/users/anna/server", {})
        until(lambda: answers("/user/anna/api/kernels"), 300)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            request = urllib.request.Request(  # noqa: S310 - loopback
                f"{self.url}/hub/api/users/anna/server",
                headers={"Authorization": f"token {self.token}"},
                method="DELETE",
            )
            urllib.request.urlopen(request, timeout=60).close()  # noqa: S310 - loopback
        self.process.terminate()
        self.process.wait(60)


@contextlib.contextmanager
def _hub(folder: Path, environment: dict[str, str]) -> Iterator[Hub]:
    hub = Hub(folder, environment)
    try:
        hub.start_server()
        yield hub
    finally:
        hub.stop()


async def _run(hub: Hub, cells: dict[str, str]) -> dict[str, str]:
    """Each cell behind the other in one kernel; what each has shown."""
    kernel = hub.ask("/user/anna/api/kernels", {"name": "python3"})["id"]
    url = f"{hub.url.replace('http', 'ws')}/user/anna/api/kernels/{kernel}/channels"
    connection = await websocket_connect(HTTPRequest(url, headers={"Authorization": f"token {hub.token}"}))
    try:
        return {name: await _run_cell(connection, name, code) for name, code in cells.items()}
    finally:
        connection.close()


async def _run_cell(connection: WebSocketClientConnection, name: str, code: str) -> str:
    header = {"msg_id": secrets.token_hex(8), "msg_type": "execute_request", "session": "s", "username": "anna"}
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
    request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    await connection.write_message(json.dumps(request))
    shown = ""
    while True:
        text = await connection.read_message()
        assert isinstance(text, str), "the kernel is gone"
        message = json.loads(text)
        if message["parent_header"].get("msg_id") != header["msg_id"]:
            continue
        kind, content = message["msg_type"], message["content"]
        assert kind != "error", f"{name}: {content['ename']}: {content['evalue']}\n{shown}"
        if kind == "stream":
            shown += str(content["text"])
        elif kind == "status" and content["execution_state"] == "idle":
            return shown


@pytest.mark.timeout(1800)
def test_the_tutorial_in_a_jupyterhub(tmp_path: Path, figure: Figure) -> None:
    pytest.importorskip("pyspark")
    assert ARCHIVE.exists(), "there is no archive to install: make wheel"
    cells = lay_out(tmp_path)
    with LocalPlatform() as platform:
        environment = {"MLP_URL": platform.url, "MLP_REFRESH_TOKEN": str(platform.admin_token)}
        with _hub(tmp_path / "hub", environment) as hub:
            shown = asyncio.run(_run(hub, {"install": f"%pip install --no-index {ARCHIVE}", **cells}))
    assert "Successfully installed mlplatform" in shown["install"]
    check(shown)
    figure("the tutorial in a kernel of JupyterHub, after `%pip install`", f"{len(cells)} cells, no restart")
