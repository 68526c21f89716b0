"""A real Chromium for the tests of the console, and somebody who uses it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from mlplatform_client import local
from mlplatform_client.local import LocalPlatform

# The names of somebody else's pages lead to this machine too, which is what an attacker's name server would say.
FLAGS = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP *.example 127.0.0.1",
]  # fmt: skip
if hasattr(os, "geteuid") and os.geteuid() == 0:
    FLAGS.append("--no-sandbox")

# Milliseconds; Playwright's own 5 s and 30 s are short on a busy machine.
PATIENCE = 120_000
expect.set_options(timeout=PATIENCE)

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def find_chromium() -> str:
    """The system's; nothing is skipped when it is missing."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        program = shutil.which(name)
        if program:
            return program
    raise RuntimeError("there is no Chromium on the PATH; Debian: apt-get install chromium")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One for a module: while Playwright runs, no test may start an event loop of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        yield browser
        browser.close()


def check_access(page: Page) -> None:
    """Axe finds nothing on a page, and the page is not wider than the screen."""
    page.evaluate(AXE)
    found = page.evaluate(f"axe.run(document, {json.dumps(RULES)})")
    problems = [f"{one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]
    assert problems == [], page.url
    assert len(found["passes"]) > 5
    spilled = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert spilled == 0, f"{page.url} is wider than the screen by {spilled}"


def sign_in_link(platform: LocalPlatform) -> str:
    """What `mlplatform-server open` prints."""
    arguments = [local._find_program(), "open", "--data-dir", platform.data_dir]
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.strip()


@dataclass
class User:
    """Somebody at a browser, who sees pages and knows no addresses."""

    page: Page
    context: BrowserContext
    url: str
    complaints: list[str]

    def sign_in(self, token: str) -> None:
        """With an access token, from the start page."""
        self.page.goto(self.url)
        self.page.get_by_label("Access token").fill(token)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("button", name="Sign out").wait_for()

    def sign_in_by_link(self, platform: LocalPlatform) -> None:
        """As the first Administrator, without its token: the console asks for that before it changes anything."""
        self.page.goto(sign_in_link(platform))
        self.page.get_by_role("button", name="Sign in as Administrator").click()
        self.page.get_by_role("button", name="Sign out").wait_for()

    def confirm(self, token: str, button: str) -> None:
        """Give the value that the form asks for, and send it."""
        self.page.get_by_label("Your access token, once more").fill(token)
        self.page.get_by_role("button", name=button).click()

    def go(self, section: str) -> None:
        """To a part of the console, by its navigation."""
        self.page.get_by_role("navigation").get_by_role("link", name=section, exact=True).click()
        self.page.get_by_role("heading", name=section, level=1).wait_for()

    def row(self, name: str) -> Locator:
        """The row of the list with that name in its first cell."""
        return self.page.get_by_role("row").filter(has=self.page.locator("th").get_by_text(name, exact=True))

    def choose(self, name: str, action: str) -> None:
        """In the menu of the row with that name."""
        row = self.row(name)
        row.locator("summary").click()
        row.get_by_role("link", name=action).click()

    def create(self, name: str, role: str = "User", lifetime: tuple[str, str] | None = None) -> None:
        """An access token, up to the page that shows its value."""
        self.go("Tokens")
        self.page.get_by_role("link", name="Create access token").click()
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_role("radio", name=re.compile(f"^{role}")).check()
        if lifetime:
            self.page.get_by_role("radio", name="It ends after").check()
            self.page.get_by_label("Number").fill(lifetime[0])
            self.page.get_by_label("Unit").select_option(lifetime[1])
        self.page.get_by_role("button", name="Create").click()

    def value(self) -> str:
        """That is shown on this page, this once."""
        return self.page.locator("[data-secret]").first.text_content() or ""


Open = Callable[..., User]


@pytest.fixture
def open_browser(chromium: Browser, platform: LocalPlatform) -> Iterator[Open]:
    """Open a fresh browser at the platform; pages that report an error or break their own policy fail the test."""
    users: list[User] = []

    def open_(url: str | None = None, **options: Any) -> User:
        context = chromium.new_context(permissions=["clipboard-read", "clipboard-write"], **options)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        user = User(page, context, url or platform.url, [])
        page.on("pageerror", lambda error: user.complaints.append(str(error)))
        page.on("dialog", lambda dialog: user.complaints.append(dialog.message))
        page.on("console", lambda line: user.complaints.extend([line.text] if line.type == "error" else []))
        users.append(user)
        return user

    yield open_
    for user in users:
        user.context.close()
        # A refusal is a page of ours; that its status is one is no error of the page.
        wrong = [
            text for text in user.complaints if not text.startswith("Failed to load resource: the server responded")
        ]
        assert wrong == []


@pytest.fixture(params=[pytest.param(True, id="script"), pytest.param(False, id="no-script", marks=pytest.mark.slow)])
def anybody(request: pytest.FixtureRequest, open_browser: Open) -> User:
    """Somebody at a browser, once with and once without JavaScript."""
    return open_browser(java_script_enabled=request.param)
