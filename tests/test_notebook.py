"""A notebook in a fresh environment: the documented `%pip install`, then the documented code, in one kernel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, TOKEN

from mlplatform_client.local import LocalPlatform

ARCHIVE = ROOT / "dist" / "mlplatform_client.tar.gz"

INSTALL = f"%pip install {ARCHIVE}"
REGISTER = """
from mlplatform_client import MLPlatform
from mlplatform_client.serializers.auth import MLPTokenType

ADMIN = "{admin}"
mlp = MLPlatform(ADMIN)
register_token = mlp.create_register_token(
    client_name="from a notebook",
    access_ttl="2h45m30s",
    refresh_ttl="2h",
    token_type=MLPTokenType.USER)
register_token
"""
REDEEM = """
mlp = MLPlatform()
refresh_token = mlp.create_refresh_token(register_token)
print(refresh_token)
"""
USE = "print(MLPlatform(refresh_token).who_am_i())"
DELETE = """
mlp = MLPlatform(ADMIN)
mlp.delete_token(token_name="from a notebook")
print("deleted", [info.name for info in mlp.get_project_tokens_info()])
"""


@pytest.fixture
def kernel(tmp_path: Path, platform: LocalPlatform) -> None:
    """The kernel `fresh`: ipykernel alone, no cargo on its path, and a network that answers nobody."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "ipykernel"], check=True)
    (tmp_path / "bin").mkdir()
    shell = shutil.which("sh")
    assert shell is not None
    (tmp_path / "bin" / "sh").symlink_to(shell)  # what %pip is run by
    nowhere = "http://127.0.0.1:9"
    environment = {
        "PATH": f"{tmp_path / 'bin'}",
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "0",
        "PIP_FIND_LINKS": "",
        "MLP_URL": platform.url,
    }
    folder = tmp_path / "kernels" / "fresh"
    folder.mkdir(parents=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "fresh", "env": environment}
    (folder / "kernel.json").write_text(json.dumps(spec))


def _run(sources: list[str], folder: Path) -> list[str]:
    """Execute the cells as `jupyter execute` does; what each shows, a masked value included."""
    notebook = folder / "notebook.ipynb"
    cells: list[dict[str, object]] = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
        for n, source in enumerate(sources)
    ]
    notebook.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    done = subprocess.run(
        [Path(sys.executable).parent / "jupyter-execute", "--inplace", "--kernel_name=fresh", str(notebook)],
        env={**os.environ, "JUPYTER_PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = []
    for cell in json.loads(notebook.read_text())["cells"]:
        texts = (output.get("text") or output["data"]["text/plain"] for output in cell["outputs"])
        shown.append("".join("".join(text) for text in texts))
    return shown


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_install_and_use_without_a_restart(kernel: None, tmp_path: Path, platform: LocalPlatform) -> None:
    sources = [INSTALL, REGISTER.format(admin=platform.admin_token), REDEEM, USE, DELETE]
    installed, registered, redeemed, used, deleted = _run(sources, tmp_path)
    assert "Successfully installed mlplatform-client" in installed
    assert registered == "TokenStr('mlpx_********')"
    assert TOKEN.fullmatch(redeemed.strip())
    assert used.startswith("Token from a notebook:\n\tid: tok_")
    assert deleted.startswith("deleted [")
    assert "from a notebook" not in deleted
