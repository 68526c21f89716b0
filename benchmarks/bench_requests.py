"""Requests per second of the token service, beside JupyterHub's own token API on the same machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from mlplatform_client.local import LocalPlatform

TITLE = "Requests per second"
ROUNDS = 5
SECONDS = 3
CONNECTIONS = 16

HUB_CONFIG = """
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.bind_url = "http://127.0.0.1:{proxy}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
c.ConfigurableHTTPProxy.command = {command!r}
c.JupyterHub.log_level = "WARN"
c.JupyterHub.services = [{{"name": "bench", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [{{"name": "bench", "scopes": ["admin:users", "tokens"], "services": ["bench"]}}]
"""


class Target:
    """One request, as wrk sends it over and over."""

    def __init__(self, url: str, headers: dict[str, str], body: str | None = None) -> None:
        self.url, self.headers, self.body = url, headers, body

    def answer(self) -> dict[str, object]:
        """Send it once."""
        body = None if self.body is None else self.body.encode()
        request = urllib.request.Request(self.url, body, self.headers)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - loopback
            return dict(json.load(response))

    def rate(self, folder: Path) -> float:
        """How often a second it is answered, with all connections busy; every answer must be a success."""
        script = folder / "request.lua"
        method = "GET" if self.body is None else "POST"
        lines = [f'wrk.method = "{method}"']
        lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in self.headers.items()]
        lines += [] if self.body is None else [f"wrk.body = {json.dumps(self.body)}"]
        script.write_text("\n".join(lines))
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(script), self.url]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        if "Non-2xx" in said or "Socket errors" in said:
            raise SystemExit(f"{self.url}: {said}")
        found = re.search(r"Requests/sec: +([\d.]+)", said)
        assert found is not None
        return float(found[1])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def _jupyterhub(folder: Path) -> Iterator[dict[str, Target]]:
    """A real hub with its default SQLite store; asked directly, not through its proxy."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit(
            "npm is missing, and JupyterHub needs its proxy from there. Debian, Ubuntu: apt-get install npm"
        )
    subprocess.run([npm, "install", "--silent", "--prefix", str(folder), "configurable-http-proxy@5"], check=True)
    token, hub = secrets.token_hex(16), free_port()
    command = [str(folder / "node_modules" / ".bin" / "configurable-http-proxy")]
    config = HUB_CONFIG.format(proxy=free_port(), hub=hub, api=free_port(), command=command, token=token)
    (folder / "config.py").write_text(config)
    log = (folder / "hub.log").open("w")
    program = [sys.executable, "-m", "jupyterhub", "-f", str(folder / "config.py")]
    environment = {**os.environ, "CONFIGPROXY_AUTH_TOKEN": secrets.token_hex(16)}
    with subprocess.Popen(program, cwd=folder, stdout=log, stderr=log, env=environment) as process:
        try:
            base, headers = f"http://127.0.0.1:{hub}/hub/api", {"Authorization": f"token {token}"}
            give_up = time.monotonic() + 90
            while True:
                with contextlib.suppress(OSError):
                    Target(f"{base}/", headers).answer()
                    break
                if process.poll() is not None or time.monotonic() > give_up:
                    raise SystemExit(f"JupyterHub did not start: {(folder / 'hub.log').read_text()[-2000:]}")
            with contextlib.suppress(urllib.error.HTTPError):
                Target(f"{base}/users/anna", headers, "{}").answer()
            made = Target(f"{base}/users/anna/tokens", headers, "{}")
            anna = {"Authorization": f"token {made.answer()['token']}"}
            yield {"who am I": Target(f"{base}/user", anna), "make a token": made}
        finally:
            process.terminate()


def run() -> str:
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing. Debian, Ubuntu: apt-get install wrk")
    folder = Path(tempfile.mkdtemp(prefix="mlplatform-bench-"))
    try:
        with LocalPlatform() as platform, _jupyterhub(folder) as theirs:
            json_type = {"Content-Type": "application/json"}
            exchange = Target(
                f"{platform.url}/v1_0/sessions", json_type, json.dumps({"refresh_token": str(platform.admin_token)})
            )
            session = {"Authorization": f"Bearer {exchange.answer()['session_token']}"}
            ours = {"who am I": Target(f"{platform.url}/v1_0/tokens/self", session), "make a token": exchange}
            rates: dict[tuple[str, str], list[float]] = {}
            for _ in range(ROUNDS):
                for what in ours:
                    for whose, targets in (("ours", ours), ("theirs", theirs)):
                        rates.setdefault((what, whose), []).append(targets[what].rate(folder))
        medians = {key: statistics.median(values) for key, values in rates.items()}
        names = {"who am I": "`who_am_i` / `GET user`", "make a token": "exchange for a session / `POST tokens`"}
        rows = [
            f"| {names[what]} | {medians[what, 'ours']:,.0f} | {medians[what, 'theirs']:,.0f} "
            f"| {medians[what, 'ours'] / medians[what, 'theirs']:.0f} × |"
            for what in names
        ]
        return (
            f"wrk with {CONNECTIONS} connections on the machine that serves, median of {ROUNDS} interleaved rounds of "
            f"{SECONDS} s. JupyterHub with its default SQLite store, asked directly, without its proxy; every exchange "
            "here is a transaction that is on disk (`synchronous=FULL`) before it is answered.\n\n"
            "| | mlplatform-server | JupyterHub | |\n| --- | --- | --- | --- |\n" + "\n".join(rows)
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
