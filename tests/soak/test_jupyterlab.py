"""Somebody at a browser works with the platform in JupyterLab, behind a real JupyterHub: `%pip install` where old
releases of other packages are loaded, `login()`, a job on Spark, tables in the light and the dark theme. No token is in
what is saved."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from browsers import AXE, PATIENCE
from conftest import ROOT, TOKEN
from figures import Figure
from hubs import USER, Hub, make_venv, running_hub
from jobs import until
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

ARCHIVE = ROOT / "dist" / "mlplatform_client.tar.gz"

# Releases that collide with those that clients of today bring along.
OLD = ["pydantic<2", "urllib3<2", "requests<2.30"]
# As another user may name a token: markup, and what JupyterLab would set as mathematics.
HOSTILE = "<img src=x onerror=alert(1)> $x^2$"

CELLS = {
    "old": """
import pydantic, requests, urllib3
print([package.__version__ for package in (pydantic, requests, urllib3)])""",
    "install": f"%pip install --no-index {ARCHIVE}",
    "login": """
import mlplatform_client
mlp = mlplatform_client.login()""",
    "who": "mlp.who_am_i()",
    "secret": """
register_token = mlp.create_register_token("from a notebook", "1h", token_type="USER")
register_token""",
    "tokens": "mlp.get_project_tokens_info()",
    "registration": "mlp.get_register_tokens_info()",
    "clusters": """
clusters = mlp.get_clusters()
clusters""",
    "submit": """
cluster = clusters[0]
manifest = mlp.get_default_manifest(cluster.id, "pi-1")
manifest.set_driver_settings({"memory": "512m"})
manifest.set_executor_settings({"memory": "512m", "instances": 1})
mlp.spark_submit_job(cluster.id, manifest, "calculate-pi.py")""",
    "follow": """
for line in mlp.spark_job(cluster.id, "pi-1").logs(follow=True):
    if "Pi is roughly" in line:
        print(line)""",
    "wait": 'mlp.wait_for_spark_job(cluster.id, "pi-1", timeout=300)',
    "logs": 'print(mlp.spark_job_logs(cluster.id, "pi-1"))',
    "async": """
from mlplatform_client.aio import AsyncMLPlatform
async with AsyncMLPlatform() as platform:
    print((await platform.wait_for_spark_job(cluster.id, "pi-1")).status, (await platform.who_am_i()).name)""",
    "jobs": "mlp.spark_jobs_list(cluster.id)",
    "events": "mlp.spark_events(cluster.id)",
    "audit": "mlp.get_audit()[:5]",
    "still": """
class Old(pydantic.BaseModel):
    number: int
print(Old(number="1").dict(), requests.__version__, urllib3.__version__)""",
}
# What each table must hold.
TABLES = {
    "who": ["MLPTokenInfo", "admin"],
    "tokens": ["2 access tokens", "admin", HOSTILE, "never"],
    "registration": ["2 registration tokens", "from a notebook", "WAITING", "REDEEMED"],
    "clusters": ["1 cluster", "local", "RUNNING"],
    "submit": ["K8sSparkJobInfo", "pi-1", "SUBMITTED"],
    "jobs": ["1 job", "pi-1", "COMPLETED"],
    "wait": ["K8sSparkJobInfo", "pi-1", "COMPLETED"],
    "events": ["events", "pi-1", "NORMAL"],
    "audit": ["5 audit entries", "create_register_token", "done"],
}
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # Cells that are scrolled away stay in the page.
    "notebook-extension/tracker": {"windowingMode": "none"},
}


class Lab:
    """The notebook in JupyterLab, as its user sees it."""

    def __init__(self, context: BrowserContext, hub: Hub, home: Path) -> None:
        self.context, self.hub, self.home = context, hub, home
        self.address = f"{hub.url}/user/{USER}/lab/tree/notebook.ipynb"
        self.elsewhere: list[str] = []
        self.page = self.open_page()

    def open_page(self) -> Page:
        page = self.context.new_page()
        page.on("dialog", lambda dialog: self.elsewhere.append(dialog.message))
        page.on("request", lambda request: self.note(request.url))
        page.goto(self.address)
        return page

    def note(self, url: str) -> None:
        if not url.startswith((self.hub.url, "data:", "blob:")):
            self.elsewhere.append(url)

    def sign_in(self) -> None:
        self.page.get_by_label("Username").fill(USER)
        self.page.get_by_label("Password").fill("anything")
        self.page.get_by_role("button", name="Sign in").click()
        # A cell that is run before is not run.
        expect(self.page.locator("#jp-main-statusbar")).to_contain_text("old | Idle")

    def cell(self, index: int) -> Locator:
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(index)

    def output(self, name: str) -> Locator:
        return self.cell(list(CELLS).index(name)).locator(".jp-Cell-outputArea")

    def run(self, name: str, answer: str | None = None) -> None:
        cell = self.cell(list(CELLS).index(name))
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        if answer is not None:
            prompt = cell.locator("input.jp-Stdin-input")
            expect(prompt).to_have_attribute("type", "password")
            prompt.fill(answer)
            cell.screenshot(path=self.home.with_name(f"{name}.png"))
            prompt.press("Enter")
        expect(cell.locator(".jp-InputArea-prompt")).to_have_text(re.compile(r"^\[\d+\]:$"), timeout=300_000)

    def save(self) -> dict[str, Any]:
        """As the user does; what is on the disk then."""
        found: dict[str, Any] = {}

        def is_saved() -> bool:
            # While it is written it is not whole.
            with contextlib.suppress(ValueError):
                found.update(json.loads((self.home / "notebook.ipynb").read_text()))
            return bool(found) and bool(found["cells"][-1]["outputs"])

        self.page.keyboard.press("Control+s")
        until(is_saved)
        return found

    def use_theme(self, theme: str) -> None:
        settings = f"/user/{USER}/lab/api/settings/@jupyterlab/apputils-extension:themes"
        self.hub.ask(settings, {"raw": json.dumps({"theme": theme})}, method="PUT")
        # Another page: JupyterLab asks before one is left.
        self.page = self.open_page()
        self.output("audit").locator("table").wait_for()
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-name", theme)


def lay_out(home: Path) -> dict[str, str]:
    """Write what the user has: a notebook, a program, a kernel with old packages; the environment of the server."""
    home.mkdir()
    cells: list[dict[str, object]] = [
        {
            "cell_type": "code",
            "id": name,
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": code.strip(),
        }
        for name, code in CELLS.items()
    ]
    metadata = {"kernelspec": {"name": "old", "display_name": "old", "language": "python"}}
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    (home / "notebook.ipynb").write_text(json.dumps(notebook))
    (home / "calculate-pi.py").write_bytes((ROOT / "examples" / "calculate-pi.py").read_bytes())
    python = make_venv(home / "venv", ["ipykernel", *OLD])
    kernel = home / "jupyter" / "kernels" / "old"
    kernel.mkdir(parents=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "old", "language": "python"}))
    for name, setting in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(setting))
    return {"JUPYTER_PATH": str(home / "jupyter"), "JUPYTERLAB_SETTINGS_DIR": str(home / "settings")}


@pytest.mark.timeout(1800)
def test_a_notebook_in_jupyterlab(tmp_path: Path, chromium: Browser, figure: Figure) -> None:
    pytest.importorskip("pyspark")
    assert ARCHIVE.exists(), "there is no archive to install: make wheel"
    home = tmp_path / "home"
    environment = lay_out(home)
    with LocalPlatform() as platform, MLPlatform(platform.admin_token, url=platform.url) as admin:
        register_token = admin.create_register_token(HOSTILE, "1h", token_type=MLPTokenType.USER)
        admin.create_refresh_token(register_token)
        environment = {**environment, "MLP_URL": platform.url, "TZ": "Europe/Moscow"}
        with running_hub(tmp_path / "hub", home, environment, ["jupyterlab"]) as hub:
            context = chromium.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
            context.set_default_timeout(PATIENCE)
            lab = Lab(context, hub, home)
            lab.sign_in()
            for name in CELLS:
                lab.run(name, str(platform.admin_token) if name == "login" else None)
            saved = lab.save()
            for theme in ("JupyterLab Light", "JupyterLab Dark"):
                lab.use_theme(theme)
                check_tables(lab)
                check_contrast(lab)
                take_pictures(lab, tmp_path / theme.split()[1].lower())
            context.close()
    check_saved(saved)
    assert lab.elsewhere == []
    check_files(home)
    promise = "a notebook in JupyterLab behind JupyterHub, old packages loaded: no restart, and it keeps no token"
    figure(promise, f"{len(CELLS)} cells; contrast of {len(TABLES)} outputs checked by axe in two themes")


def check_tables(lab: Lab) -> None:
    """They are there, what others chose is text in them, and it can be read."""
    for name, texts in TABLES.items():
        table = lab.output(name).locator("table")
        for text in texts:
            expect(table).to_contain_text(text)
        expect(table.locator("img, script, mjx-container")).to_have_count(0)
    link = lab.output("jobs").get_by_role("link", name="pi-1")
    assert (link.get_attribute("href") or "").startswith("http://127.0.0.1:")
    expect(lab.output("tokens").locator("time").first).to_contain_text("+03:00")


def check_contrast(lab: Lab) -> None:
    """Tables and the progress line can be read: axe compares each text with its background."""
    lab.page.evaluate(AXE)
    # The body of JupyterLab has no height, and axe takes what is outside of it for invisible.
    lab.page.add_style_tag(content="html, body { height: 100vh !important }")
    rule = "element => axe.run(element, {runOnly: {type: 'rule', values: ['color-contrast']}})"
    for name in TABLES:
        for output in lab.output(name).locator(".jp-RenderedHTML").all():
            output.scroll_into_view_if_needed()
            found = output.evaluate(rule)
            problems = [node["failureSummary"] for one in found["violations"] for node in one["nodes"]]
            assert problems == [], name
            assert [node for one in found["passes"] for node in one["nodes"]], name
    expect(lab.output("wait").locator(".mlp-progress")).to_have_text("pi-1: COMPLETED")


def take_pictures(lab: Lab, folder: Path) -> None:
    folder.mkdir()
    for name in TABLES:
        lab.output(name).screenshot(path=folder / f"{name}.png")
    lab.cell(list(CELLS).index("jobs")).evaluate("cell => cell.scrollIntoView(true)")
    lab.page.locator(".jp-Notebook").screenshot(path=folder / "notebook.png")


def check_saved(saved: dict[str, Any]) -> None:
    """What the notebook keeps: everything that was shown, and no token."""
    text = json.dumps(saved)
    assert not TOKEN.search(text)
    outputs = {cell["id"]: cell["outputs"] for cell in saved["cells"]}
    errors = [output for shown in outputs.values() for output in shown if output["output_type"] == "error"]
    assert errors == []
    shown = {name: "".join("".join(output.get("text", "")) for output in outputs[name]) for name in CELLS}
    assert "'1.10." in shown["old"]
    assert "Successfully installed mlplatform" in shown["install"]
    assert "Signed in to" in shown["login"]
    assert "as 'admin' (Admin)" in shown["login"]
    assert "Pi is roughly 3.1" in shown["logs"]
    assert shown["follow"].startswith("Pi is roughly 3.1")
    # One line, drawn again and again.
    assert "pi-1: COMPLETED" in "".join(outputs["wait"][0]["data"]["text/html"])
    assert shown["async"] == "COMPLETED admin\n"
    assert "{'number': 1}" in shown["still"]
    assert outputs["secret"][0]["data"]["text/plain"] == ["TokenStr('mlpx_********')"]
    for name in TABLES:
        assert set(outputs[name][0]["data"]) == {"text/html", "text/plain"}, name


def check_files(home: Path) -> None:
    """One file of the user's holds the token: the one that `login()` says."""
    holders = []
    for folder, folders, names in os.walk(home):
        folders[:] = [name for name in folders if name != "venv"]
        for path in (Path(folder, name) for name in names):
            if path.is_file() and TOKEN.search(path.read_bytes().decode("latin-1")):
                holders.append(path.relative_to(home).as_posix())
    assert holders == [".config/mlplatform/tokens/default"]
