"""Pictures of every page of the console, in both themes and at both ends of widths.

    python tools/screenshots.py DIRECTORY

For whoever changes a page: look at all of them. The three in README's are cut from the same pages.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
WIDTHS = {"narrow": 360, "wide": 1920}


def seed(platform: LocalPlatform, odd: bool = True) -> None:
    """A platform as it looks after some weeks, with names that are `odd` or without."""
    admin = MLPlatform(platform.admin_token, url=platform.url)
    people = [
        ("anna.petrova", "13d", MLPTokenType.USER), ("nightly-build", None, MLPTokenType.USER),
        ("Иван Соколов", "6d", MLPTokenType.ADMIN), ("spark-etl-production", "90d", MLPTokenType.USER),
        ("<script>alert(1)</script>", "20h", MLPTokenType.USER), ("🙂" * 64, "40m", MLPTokenType.USER),
        ("data-science-notebooks", "365d", MLPTokenType.USER),
    ]  # fmt: skip
    for name, lifetime, role in people:
        if not odd and (len(name) > 30 or "<" in name):
            continue
        register = admin.create_register_token(name, "2h", refresh_ttl=lifetime, token_type=role)
        token = MLPlatform(url=platform.url).create_refresh_token(register)
        if len(name) < 20:
            MLPlatform(token, url=platform.url).who_am_i()
    register = admin.create_register_token("olga", "24h", refresh_ttl="30d", token_type=MLPTokenType.USER)
    register = admin.create_register_token("temporary", "2h", refresh_ttl="30d", token_type=MLPTokenType.USER)
    MLPlatform(url=platform.url).create_refresh_token(register)
    try:
        MLPlatform(url=platform.url).create_refresh_token(register)
    except Exception as refused:  # noqa: BLE001 - the second redeem that the list shall show
        print(f"seeded: {type(refused).__name__}")


def sign_in(page: Page, platform: LocalPlatform, token: str) -> None:
    page.goto(platform.url + "/sign-in")
    page.get_by_label("Access token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/tokens")


def sign_in_by_link(page: Page, platform: LocalPlatform) -> None:
    program = Path(sys.executable).with_name("mlplatform-server")
    command = [str(program), "open", "--data-dir", platform.data_dir]
    page.goto(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    page.get_by_role("button", name="Sign in as Administrator").click()
    page.wait_for_url("**/tokens")


def refused(show: Callable[[Page, str], None], button: str) -> Callable[[Page, str], None]:
    """With another value than that of the token that is signed in."""

    def give(page: Page, url: str) -> None:
        show(page, url)
        page.get_by_label("Your access token, once more").fill("not it")
        page.get_by_role("button", name=button).click()
        page.get_by_text("Nothing was changed").wait_for()

    return give


def opened(path: str) -> Callable[[Page, str], None]:
    return lambda page, url: void(page.goto(url + path))


def void(_: object) -> None:
    pass


def fill_create(page: Page, url: str) -> None:
    page.goto(url + "/tokens/new")
    page.get_by_label("Name").fill("anna.petrova")
    page.get_by_label("User", exact=False).first.check()
    page.get_by_role("button", name="Create").click()
    page.get_by_text("already").first.wait_for()


def created(page: Page, url: str) -> None:
    page.goto(url + "/tokens/new")
    created.count = getattr(created, "count", 0) + 1  # type: ignore[attr-defined]
    page.get_by_label("Name").fill(f"quarterly-report-{created.count}")  # type: ignore[attr-defined]
    page.locator("input[value=USER]").check()
    page.get_by_label("Number").fill("30")
    page.get_by_role("button", name="Create").click()
    page.get_by_role("button", name="Copy").wait_for()


def register_made(page: Page, url: str) -> None:
    page.goto(url + "/registration-tokens/new")
    page.get_by_label("Name of the access token").fill("olga.smirnova")
    page.locator("input[value=USER]").check()
    page.get_by_role("button", name="Create").click()
    page.get_by_role("button", name="Copy").first.wait_for()


def menu(page: Page, url: str) -> None:
    page.goto(url + "/tokens")
    page.locator("details.menu summary").nth(1).click()


def delete(page: Page, url: str) -> None:
    menu(page, url)
    page.locator("details[open] a", has_text="Delete").click()
    page.get_by_role("button", name="Confirm").wait_for()


def rotate(page: Page, url: str) -> None:
    menu(page, url)
    page.locator("details[open] a", has_text="Rotate").click()
    page.get_by_role("button", name="Rotate").wait_for()


def rotate_own(page: Page, url: str) -> None:
    page.goto(url + "/me")
    page.get_by_role("link", name="Rotate").click()


def rotated(page: Page, url: str) -> None:
    page.goto(url + "/tokens?q=nightly")
    page.locator("details.menu summary").first.click()
    page.locator("details[open] a", has_text="Rotate").click()
    page.get_by_role("radio", name="Goes on for").check()
    page.get_by_role("button", name="Rotate").click()
    page.get_by_role("button", name="Copy").wait_for()


def made_before(page: Page, url: str) -> None:
    created(page, url)
    page.reload()
    page.get_by_role("heading", name="made already").wait_for()


def withdraw(page: Page, url: str) -> None:
    page.goto(url + "/registration-tokens?q=olga")
    page.locator("details.menu summary").first.click()
    page.locator("details[open] a", has_text="Withdraw").click()


PAGES: dict[str, Callable[[Page, str], None]] = {
    "tokens": opened("/tokens"),
    "tokens-menu": menu,
    "tokens-ending": opened("/tokens?ending=1"),
    "tokens-none": opened("/tokens?q=nobody"),
    "create": opened("/tokens/new"),
    "create-wrong": fill_create,
    "created": created,
    "made-before": made_before,
    "delete": delete,
    "rotate": rotate,
    "rotate-own": rotate_own,
    "rotated": rotated,
    "gone": opened("/tokens/tok_none/delete"),
    "register": opened("/registration-tokens"),
    "register-new": opened("/registration-tokens/new"),
    "register-made": register_made,
    "register-replayed": opened("/registration-tokens?show=replayed"),
    "register-none": opened("/registration-tokens?q=nobody"),
    "withdraw": withdraw,
    "audit": opened("/audit"),
    "audit-narrowed": opened("/audit?token=temporary&outcome=done&since=2020-01-01T00:00&until=2100-01-01T00:00"),
    "audit-none": opened("/audit?action=delete_token&outcome=replay"),
    "audit-wrong": opened("/audit?since=yesterday"),
    "me": opened("/me"),
    "sign-out-others": opened("/me/sign-out-others"),
    "not-found": opened("/nothing"),
}


def create_asking(page: Page, url: str) -> None:
    page.goto(url + "/tokens/new")
    page.get_by_label("Name").fill("quarterly-report")
    page.locator("input[value=ADMIN]").check()


# Of a session that has to be confirmed.
ASKING: dict[str, Callable[[Page, str], None]] = {
    "asked-create": create_asking,
    "asked-create-wrong": refused(create_asking, "Create"),
    "asked-delete": delete,
    "asked-delete-wrong": refused(delete, "Confirm"),
    "asked-rotate": rotate,
    "asked-rotate-own": refused(rotate_own, "Rotate"),
    "asked-withdraw": withdraw,
    "asked-sign-out-others": opened("/me/sign-out-others"),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("directory", type=Path)
    arguments.add_argument("--only", nargs="*")
    asked = arguments.parse_args()
    asked.directory.mkdir(parents=True, exist_ok=True)
    with LocalPlatform() as platform, sync_playwright() as playwright:
        seed(platform)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for theme in ("light", "dark"):
            for name, width in WIDTHS.items():
                context = browser.new_context(
                    color_scheme=theme,
                    viewport={"width": width, "height": 900},
                    timezone_id="Europe/Berlin",
                )
                page = context.new_page()
                page.on(
                    "console",
                    lambda message: print("console:", message.text) if "responded" not in message.text else None,
                )
                page.goto(platform.url + "/sign-in")
                page.screenshot(path=asked.directory / f"sign-in-{theme}-{name}.png", full_page=True)
                page.goto(platform.url + "/sign-in?next=/tokens")
                page.get_by_label("Access token").fill("somebody else's")
                page.get_by_role("button", name="Sign in").click()
                page.get_by_role("alert").wait_for()
                page.screenshot(path=asked.directory / f"sign-in-refused-{theme}-{name}.png", full_page=True)
                page.goto(platform.url + "/open?code=x")
                page.screenshot(path=asked.directory / f"sign-in-link-{theme}-{name}.png", full_page=True)
                sign_in(page, platform, platform.admin_token)
                for title, show in PAGES.items():
                    if not asked.only or title in asked.only:
                        show(page, platform.url)
                        page.screenshot(path=asked.directory / f"{title}-{theme}-{name}.png", full_page=True)
                sign_in_by_link(page, platform)
                for title, show in ASKING.items():
                    if not asked.only or title in asked.only:
                        show(page, platform.url)
                        page.screenshot(path=asked.directory / f"{title}-{theme}-{name}.png", full_page=True)
                context.close()
        browser.close()


if __name__ == "__main__":
    main()
