"""For everybody: axe finds nothing on any page, the keyboard alone does it all, nothing spills over a narrow screen."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

import pytest
from browsers import Open, User, check_access
from conftest import TOKEN, Newcomer
from playwright.sync_api import Page

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import ForbiddenException
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

pytestmark = pytest.mark.slow
_names = (f"reader-{number}" for number in itertools.count(1))

Show = Callable[[User], None]


def _goto(path: str) -> Show:
    def show(user: User) -> None:
        user.page.goto(user.url + path)

    return show


def _wrong(user: User) -> None:
    user.page.goto(f"{user.url}/tokens/new")
    user.page.get_by_label("Name").fill("admin")
    user.page.get_by_role("radio", name=re.compile("^User")).check()
    user.page.get_by_role("radio", name="It ends after").check()
    user.page.get_by_label("Number").fill("0")
    user.page.get_by_role("button", name="Create").click()


def _register(user: User) -> None:
    user.page.goto(f"{user.url}/registration-tokens/new")
    user.page.get_by_label("Name of the access token").fill(next(_names))
    user.page.get_by_role("radio", name=re.compile("^User")).check()
    user.page.get_by_role("button", name="Create").click()


def _menu(user: User) -> None:
    user.page.goto(f"{user.url}/tokens")
    user.page.locator("details.menu summary").nth(1).click()


def _delete(user: User) -> None:
    _menu(user)
    user.page.locator("details[open]").get_by_role("link", name="Delete").click()


def _rotate(user: User) -> None:
    _menu(user)
    user.page.locator("details[open]").get_by_role("link", name="Rotate").click()


def _rotated(user: User) -> None:
    _rotate(user)
    user.page.get_by_role("button", name="Rotate").click()


def _rotate_own(user: User) -> None:
    user.page.goto(f"{user.url}/me")
    user.page.get_by_role("link", name="Rotate").click()


def _withdraw(user: User) -> None:
    user.page.goto(f"{user.url}/registration-tokens?show=waiting")
    user.page.locator("details.menu summary").first.click()
    user.page.get_by_role("link", name="Withdraw").first.click()


def _not_confirmed(show: Show, button: str) -> Show:
    def wrong(user: User) -> None:
        show(user)
        user.page.get_by_label("Your access token, once more").fill("not it")
        user.page.get_by_role("button", name=button).click()
        user.page.get_by_text("Nothing was changed").wait_for()

    return wrong


PAGES: dict[str, Show] = {
    "tokens": _goto("/tokens"),
    "menu": _menu,
    "search": _goto("/tokens?q=nobody"),
    "ending": _goto("/tokens?ending=1"),
    "create": _goto("/tokens/new"),
    "wrong": _wrong,
    "created": lambda user: user.create(next(_names)),
    "delete": _delete,
    "rotate": _rotate,
    "rotated": _rotated,
    "rotate-own": _rotate_own,
    "gone": _goto("/tokens/tok_none/delete"),
    "registration": _goto("/registration-tokens"),
    "registration-new": _goto("/registration-tokens/new"),
    "registration-created": _register,
    "audit": _goto("/audit"),
    "audit-wrong": _goto("/audit?since=yesterday"),
    "own": _goto("/me"),
    "error": _goto("/nothing"),
}

# With a session that has to be confirmed.
ASKING: dict[str, Show] = {
    "create": _goto("/tokens/new"),
    "registration-new": _goto("/registration-tokens/new"),
    "delete": _delete,
    "delete-wrong": _not_confirmed(_delete, "Confirm"),
    "rotate-wrong": _not_confirmed(_rotate, "Rotate"),
    "rotate-own-wrong": _not_confirmed(_rotate_own, "Rotate"),
    "withdraw-wrong": _not_confirmed(_withdraw, "Confirm"),
    "sign-out-others-wrong": _not_confirmed(_goto("/me/sign-out-others"), "Confirm"),
}


@pytest.fixture(scope="module", autouse=True)
def _content(platform: LocalPlatform, admin: MLPlatform) -> Iterator[None]:
    """Lists with something of everything in them."""
    for name, lifetime in [("🙂" * 64, "30m"), ("W" * 64, "6d"), ("two weeks", "13d"), ("for ever", None)]:
        register = admin.create_register_token(name, "1h", refresh_ttl=lifetime, token_type=MLPTokenType.USER)
        admin.create_refresh_token(register)
        with pytest.raises(ForbiddenException):
            admin.create_refresh_token(register)
    yield
    for name in ["🙂" * 64, "W" * 64, "two weeks", "for ever"]:
        admin.delete_token(name)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1920])
def test_axe_finds_nothing(theme: str, width: int, platform: LocalPlatform, open_browser: Open) -> None:
    user = open_browser(color_scheme=theme, viewport={"width": width, "height": 900})
    user.page.goto(user.url)
    check_access(user.page)
    user.page.goto(f"{user.url}/open?code=none")
    check_access(user.page)
    user.page.goto(f"{user.url}/sign-in?next=/tokens")
    check_access(user.page)
    user.sign_in(platform.admin_token)
    for show in PAGES.values():
        show(user)
        check_access(user.page)
    user.sign_in_by_link(platform)
    for show in ASKING.values():
        show(user)
        check_access(user.page)


def test_no_width_is_too_small_for_a_table(platform: LocalPlatform, open_browser: Open) -> None:
    """Between the narrow layout and the wide one there is no width at which a table spills over its page."""
    user = open_browser()
    user.sign_in(platform.admin_token)
    for path in ("/tokens", "/registration-tokens", "/audit"):
        user.page.goto(user.url + path)
        for width in range(320, 1440, 20):
            user.page.set_viewport_size({"width": width, "height": 900})
            spilled = user.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert spilled == 0, (path, width, spilled)


def _tab_to(page: Page, what: str) -> None:
    """Press the tab key until the focus is on what a screen reader would call that."""
    for _ in range(60):
        focused = page.evaluate(
            "(e => e.getAttribute('aria-label') || e.labels?.[0]?.innerText || e.innerText || '')"
            "(document.activeElement)"
        )
        if str(focused).strip().startswith(what):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the tab key does not lead to {what!r}")


def _copy_and_leave(user: User, name: str, key: str) -> None:
    """From the page that shows a value once, by the keyboard, back to the list."""
    _tab_to(user.page, "Copy")
    user.page.keyboard.press(key)
    user.page.get_by_role("status").get_by_text("Copied").wait_for()
    _tab_to(user.page, "Ready")
    user.page.keyboard.press("Enter")
    user.row(name).wait_for()


def test_the_keyboard_alone_creates_and_deletes(platform: LocalPlatform, open_browser: Open) -> None:
    name = next(_names)
    user = open_browser()
    page, keyboard = user.page, user.page.keyboard
    page.goto(user.url)
    keyboard.insert_text(platform.admin_token)  # the field has the focus already
    keyboard.press("Enter")
    page.get_by_role("heading", name="Tokens", level=1).wait_for()
    keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to the content"
    _tab_to(page, "Create access token")
    keyboard.press("Enter")
    page.get_by_role("heading", name="Create access token").wait_for()
    _tab_to(page, "Name")
    keyboard.insert_text(name)
    keyboard.press("Tab")
    keyboard.press("Space")
    _tab_to(page, "Create")
    keyboard.press("Enter")
    page.get_by_role("heading", name="Access token created").wait_for()
    assert TOKEN.fullmatch(user.value())
    _copy_and_leave(user, name, "Enter")
    _tab_to(page, f"Actions for {name}")
    keyboard.press("Enter")
    keyboard.press("Escape")
    assert user.row(name).locator("details").get_attribute("open") is None
    keyboard.press("Enter")
    _tab_to(page, "Delete")
    keyboard.press("Enter")
    page.get_by_role("button", name="Confirm").wait_for()
    _tab_to(page, "Confirm")
    keyboard.press("Enter")
    page.get_by_role("status").get_by_text(f"{name} was deleted").wait_for()


def test_the_keyboard_alone_rotates(platform: LocalPlatform, newcomer: Newcomer, open_browser: Open) -> None:
    name, token = newcomer()
    user = open_browser()
    page, keyboard = user.page, user.page.keyboard
    user.sign_in(platform.admin_token)
    _tab_to(page, f"Actions for {name}")
    keyboard.press("Enter")
    _tab_to(page, "Rotate")
    keyboard.press("Enter")
    page.get_by_role("heading", name=f"Rotate {name}?").wait_for()
    _tab_to(page, "Ends at once")
    keyboard.press("ArrowDown")
    assert page.get_by_role("radio", name="Goes on for").is_checked()
    _tab_to(page, "Rotate")
    keyboard.press("Enter")
    page.get_by_role("heading", name="Access token rotated").wait_for()
    assert TOKEN.fullmatch(user.value())
    assert user.value() != token
    _copy_and_leave(user, name, "Space")


def test_the_keyboard_alone_confirms(platform: LocalPlatform, newcomer: Newcomer, open_browser: Open) -> None:
    name, _ = newcomer()
    user = open_browser()
    page, keyboard = user.page, user.page.keyboard
    user.sign_in_by_link(platform)
    user.choose(name, "Delete")
    page.get_by_role("heading", name=f"Delete {name}?").wait_for()
    _tab_to(page, "Your access token, once more")
    keyboard.insert_text("not it")
    keyboard.press("Enter")
    page.get_by_text("Nothing was changed").wait_for()
    keyboard.insert_text(platform.admin_token)  # the field has the focus already
    keyboard.press("Enter")
    page.get_by_role("status").get_by_text(f"{name} was deleted").wait_for()


def test_what_has_the_focus_is_seen(platform: LocalPlatform, open_browser: Open) -> None:
    user = open_browser()
    user.sign_in(platform.admin_token)
    for stop in range(25):
        user.page.keyboard.press("Tab")
        if user.page.evaluate("document.activeElement === document.body"):
            assert stop > 8  # once round the page
            break
        shown = user.page.evaluate(
            "(s => s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2)"
            "(getComputedStyle(document.activeElement))"
        )
        assert shown, user.page.evaluate("document.activeElement.outerHTML")


def test_an_end_that_is_near_is_told_in_words(newcomer: Newcomer, platform: LocalPlatform, open_browser: Open) -> None:
    user = open_browser()
    user.sign_in(platform.admin_token)
    for lifetime, said in [("13d", "Ends in 12 days"), ("6d", "Ends in 5 days"), ("20h", "Ends in 19 hours")]:
        name, _ = newcomer(refresh_ttl=lifetime)
        user.page.goto(f"{user.url}/tokens?q={name}")
        assert user.row(name).get_by_text(said).count() == 1
    name, _ = newcomer(refresh_ttl="20d")
    user.page.goto(f"{user.url}/tokens?q={name}")
    assert user.row(name).get_by_text("Ends in").count() == 0
