"""The tutorial in a kernel of a real JupyterHub: `%pip install` of the client's archive in the first cell, and every
other cell behind it in the same kernel, which nobody restarts."""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path

import pytest
from conftest import ROOT
from figures import Figure
from hubs import USER, Hub, running_hub
from test_tutorial import check, lay_out
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from mlplatform_client.local import LocalPlatform

ARCHIVE = ROOT / "dist" / "mlplatform_client.tar.gz"


async def _run(hub: Hub, cells: dict[str, str]) -> dict[str, str]:
    """Each cell behind the other in one kernel; what each has shown."""
    kernel = hub.ask(f"/user/{USER}/api/kernels", {"name": "python3"})["id"]
    url = f"{hub.url.replace('http', 'ws')}/user/{USER}/api/kernels/{kernel}/channels"
    connection = await websocket_connect(HTTPRequest(url, headers={"Authorization": f"token {hub.token}"}))
    try:
        return {name: await _run_cell(connection, name, code) for name, code in cells.items()}
    finally:
        connection.close()


async def _run_cell(connection: WebSocketClientConnection, name: str, code: str) -> str:
    header = {"msg_id": secrets.token_hex(8), "msg_type": "execute_request", "session": "s", "username": USER}
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
        environment = {
            "MLP_URL": platform.url,
            "MLP_REFRESH_TOKEN": str(platform.admin_token),
            "JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp",
        }
        with running_hub(tmp_path / "hub", tmp_path, environment, ["jupyter_server"]) as hub:
            shown = asyncio.run(_run(hub, {"install": f"%pip install --no-index {ARCHIVE}", **cells}))
    assert "Successfully installed mlplatform" in shown["install"]
    check(shown)
    figure("the tutorial in a kernel of JupyterHub, after `%pip install`", f"{len(cells)} cells, no restart")
