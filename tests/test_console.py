"""The console in a real browser: every flow in full, with JavaScript and without."""

from __future__ import annotations

import csv
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browsers import Open, User, sign_in_link
from conftest import TOKEN, Newcomer
from server_clock import ServerClock

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import ForbiddenException
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

_names = (f"browser-{number}" for number in itertools.count(1))


def _who_am_i(platform: LocalPlatform, token: str) -> str:
    with MLPlatform(token, url=platform.url) as mlp:
        return mlp.who_am_i().name


def test_create_use_delete(platform: LocalPlatform, anybody: User) -> None:
    name, page = next(_names), anybody.page
    anybody.sign_in(platform.admin_token)
    anybody.create(name, lifetime=("30", "days"))
    page.get_by_role("heading", name="Access token created").wait_for()
    token = anybody.value()
    assert TOKEN.fullmatch(token)
    assert page.get_by_text("cannot be shown").or_(page.get_by_text("nobody can show it again")).count()
    assert _who_am_i(platform, token) == name

    page.get_by_role("link", name="Ready").click()
    row = anybody.row(name)
    assert row.get_by_text("User", exact=True).count()
    assert row.get_by_role("cell").filter(has_text="admin").count()
    assert not TOKEN.search(page.content())

    anybody.choose(name, "Delete")
    page.get_by_role("button", name="Confirm").click()
    page.get_by_role("status").get_by_text(f"{name} was deleted").wait_for()
    assert anybody.row(name).count() == 0
    with pytest.raises(ForbiddenException):
        _who_am_i(platform, token)


def test_what_is_copied_is_the_value(platform: LocalPlatform, open_browser: Open) -> None:
    user = open_browser()
    user.sign_in(platform.admin_token)
    user.create(next(_names))
    token = user.value()
    user.page.get_by_role("button", name="Copy").click()
    user.page.get_by_role("status").get_by_text("Copied").wait_for()
    user.page.get_by_role("link", name="Ready").click()
    field = user.page.get_by_label("Name or id")
    field.click()
    user.page.keyboard.press("Control+V")
    assert field.input_value() == token


def test_roles_and_lifetimes_are_those_that_were_chosen(
    platform: LocalPlatform, admin: MLPlatform, anybody: User
) -> None:
    anybody.sign_in(platform.admin_token)
    forever, hours = next(_names), next(_names)
    anybody.create(forever, role="Administrator")
    anybody.create(hours, lifetime=("1.5", "hours"))
    infos = {info.name: info for info in admin.get_project_tokens_info()}
    assert (infos[forever].type, infos[forever].exp) == (MLPTokenType.ADMIN, None)
    exp = infos[hours].exp
    assert exp is not None
    assert (exp - infos[hours].created_at).total_seconds() == 5400
    assert infos[hours].issuer_name == "admin"


def test_a_token_made_in_python_is_in_the_list(newcomer: Newcomer, platform: LocalPlatform, anybody: User) -> None:
    name, _ = newcomer(refresh_ttl="6d")
    anybody.sign_in(platform.admin_token)
    anybody.page.get_by_label("Name or id").fill(name)
    anybody.page.get_by_role("button", name="Search").click()
    row = anybody.row(name)
    assert row.get_by_text("Ends in 5 days").count()
    assert row.get_by_text("User", exact=True).count()


def test_a_form_says_what_is_wrong_and_keeps_what_was_typed(
    platform: LocalPlatform, newcomer: Newcomer, anybody: User
) -> None:
    taken, _ = newcomer()
    page = anybody.page
    anybody.sign_in(platform.admin_token)
    anybody.create(taken, role="Administrator", lifetime=("7", "weeks"))
    assert page.get_by_text(f"A token is named “{taken}” already").count()
    assert page.get_by_label("Name").get_attribute("aria-invalid") == "true"
    assert page.get_by_role("radio", name=re.compile("^Administrator")).is_checked()
    assert page.get_by_label("Unit").input_value() == "w"
    page.get_by_label("Number").fill("-1")
    page.get_by_role("button", name="Create").click()
    assert page.get_by_text("is too short").count()
    name = next(_names)
    page.get_by_label("Number").fill("1")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create").click()
    assert TOKEN.fullmatch(anybody.value())


def test_a_form_that_is_sent_again_makes_nothing_and_shows_nothing(
    platform: LocalPlatform, admin: MLPlatform, anybody: User
) -> None:
    name = next(_names)
    anybody.sign_in(platform.admin_token)
    anybody.create(name)
    token = anybody.value()
    anybody.page.reload()
    anybody.page.get_by_role("heading", name="This token was made already").wait_for()
    assert not TOKEN.search(anybody.page.content())
    assert [info.name for info in admin.get_project_tokens_info()].count(name) == 1
    assert _who_am_i(platform, token) == name


def test_a_second_click_does_not_throw_the_value_away(platform: LocalPlatform, open_browser: Open) -> None:
    user = open_browser()
    user.sign_in(platform.admin_token)
    user.page.get_by_role("link", name="Create access token").click()
    user.page.get_by_label("Name").fill(next(_names))
    user.page.get_by_role("radio", name=re.compile("^User")).check()
    user.page.get_by_role("button", name="Create").dblclick()
    user.page.get_by_role("heading", name="Access token created").wait_for()
    assert TOKEN.fullmatch(user.value())


def test_deleting_the_own_token_signs_out(platform: LocalPlatform, newcomer: Newcomer, anybody: User) -> None:
    name, token = newcomer(role=MLPTokenType.ADMIN)
    anybody.sign_in(token)
    anybody.choose(name, "Delete")
    assert anybody.page.get_by_text("deleting it signs you out").count()
    anybody.page.get_by_role("button", name="Confirm").click()
    anybody.page.get_by_text("You are signed out").wait_for()
    assert anybody.context.cookies() == []


def test_a_user_sees_its_own_token_and_no_more(newcomer: Newcomer, anybody: User) -> None:
    name, token = newcomer(refresh_ttl="20h")
    anybody.sign_in(token)
    page = anybody.page
    page.get_by_role("heading", name="My token").wait_for()
    assert page.get_by_role("main").get_by_text(name).count()
    assert page.get_by_text("Ends in 19 hours").count() == 2
    assert [link.text_content() for link in page.get_by_role("navigation").get_by_role("link").all()] == ["My token"]
    page.get_by_role("button", name="Sign out").click()
    page.get_by_text("You are signed out").wait_for()
    page.goto(f"{anybody.url}/me")
    page.get_by_label("Access token").wait_for()


def test_search_and_pages(platform: LocalPlatform, admin: MLPlatform, anybody: User) -> None:
    common = f"Страница-{next(_names)}"
    for number in range(30):
        register = admin.create_register_token(f"{common} {number:02}", "1h", token_type=MLPTokenType.USER)
        admin.create_refresh_token(register)
    page = anybody.page
    anybody.sign_in(platform.admin_token)
    page.get_by_label("Name or id").fill(common.lower())
    page.get_by_label("Name or id").press("Enter")
    shown = [title.text_content() for title in page.locator("bdi.title").all()]
    assert shown == [f"{common} {number:02}" for number in range(29, 4, -1)]
    page.get_by_role("link", name="Older").click()
    assert [title.text_content() for title in page.locator("bdi.title").all()] == [
        f"{common} {number:02}" for number in range(4, -1, -1)
    ]
    page.get_by_role("link", name="Newer").click()
    assert [title.text_content() for title in page.locator("bdi.title").all()] == shown
    # Parts that are too short for the table of parts: in upper and lower case all the same, and no patterns.
    for part in ("ст", "Н", "r-", "R-"):
        page.get_by_label("Name or id").fill(part)
        page.get_by_label("Name or id").press("Enter")
        page.get_by_role("link", name="Clear").wait_for()
        assert [title.text_content() for title in page.locator("bdi.title").all()] == shown, part
    page.get_by_label("Name or id").fill("_%")
    page.get_by_label("Name or id").press("Enter")
    assert page.get_by_text("No token has “_%” in its name").count()
    page.get_by_label("Name or id").fill("nobody has this name")
    page.get_by_label("Name or id").press("Enter")
    assert page.get_by_text("No token has “nobody has this name” in its name").count()


def test_rotate(platform: LocalPlatform, newcomer: Newcomer, anybody: User) -> None:
    name, token = newcomer()
    page = anybody.page
    anybody.sign_in(platform.admin_token)
    anybody.choose(name, "Rotate")
    page.get_by_role("button", name="Rotate").click()
    page.get_by_role("heading", name="Access token rotated").wait_for()
    new = anybody.value()
    assert _who_am_i(platform, new) == name
    with pytest.raises(ForbiddenException):
        _who_am_i(platform, token)
    page.reload()
    page.get_by_role("heading", name="This token was rotated already").wait_for()
    assert not TOKEN.search(page.content())
    page.get_by_role("link", name="Ready").click()
    anybody.choose(name, "Rotate")
    page.get_by_role("radio", name="Goes on for").check()
    page.get_by_role("button", name="Rotate").click()
    newest = anybody.value()
    assert _who_am_i(platform, new) == _who_am_i(platform, newest) == name


def test_a_user_rotates_its_own_token(moved_platform: LocalPlatform, clock: ServerClock, anybody: User) -> None:
    anybody.url = moved_platform.url
    with MLPlatform(moved_platform.admin_token, url=moved_platform.url) as admin:
        register = admin.create_register_token("anna", "1h", token_type=MLPTokenType.USER)
        token = admin.create_refresh_token(register)
    page = anybody.page
    anybody.sign_in(token)
    page.get_by_role("link", name="Rotate").click()
    assert page.get_by_text("sign in again with the new value").count()
    assert page.get_by_label("Your access token, once more").count() == 0
    clock.advance(300)
    page.reload()
    page.get_by_role("radio", name="Goes on for").check()
    page.get_by_label("Number").fill("3")
    # Whoever finds the browser open has a session, and gets no lasting token for it.
    for wrong in ("somebody else's", str(moved_platform.admin_token)):
        anybody.confirm(wrong, "Rotate")
        page.get_by_text("Nothing was changed").wait_for()
        assert _who_am_i(moved_platform, token) == "anna"
        assert page.get_by_label("Number").input_value() == "3"
    page.get_by_role("radio", name="Ends at once").check()
    anybody.confirm(token, "Rotate")
    new = anybody.value()
    assert _who_am_i(moved_platform, new) == "anna"
    page.get_by_role("link", name="Ready").click()
    page.get_by_label("Access token").wait_for()
    anybody.sign_in(new)
    assert page.get_by_role("main").get_by_text("anna").count()


def test_a_form_asks_for_the_value_and_keeps_what_was_typed(
    platform: LocalPlatform, admin: MLPlatform, newcomer: Newcomer, anybody: User
) -> None:
    """With a session that was found: signed in by a link, or longer ago than five minutes."""
    page, name = anybody.page, next(_names)
    _, other = newcomer(role=MLPTokenType.ADMIN)
    anybody.sign_in_by_link(platform)
    anybody.create(name, role="Administrator", lifetime=("7", "weeks"))
    # The browser itself does not send the form without the value.
    assert page.get_by_role("heading", name="Create access token").count()
    for wrong, said in [
        ("guessed", "not the present value of the token"),
        (str(other), "not the present value of the token"),
        (str(platform.admin_token)[:-1], "does not look like a whole token"),
    ]:
        anybody.confirm(wrong, "Create")
        field = page.get_by_label("Your access token, once more")
        page.get_by_text(said).wait_for()
        assert field.get_attribute("aria-invalid") == "true"
        assert field.get_attribute("autocomplete") == "current-password"
        assert field.evaluate("field => field === document.activeElement")
        assert field.input_value() == ""
        assert not TOKEN.search(page.content())
        assert page.get_by_label("Name").input_value() == name
        assert page.get_by_role("radio", name=re.compile("^Administrator")).is_checked()
        assert page.get_by_label("Number").input_value() == "7"
        assert page.get_by_label("Unit").input_value() == "w"
    assert name not in [info.name for info in admin.get_project_tokens_info()]
    anybody.confirm(platform.admin_token, "Create")
    page.get_by_role("heading", name="Access token created").wait_for()
    assert _who_am_i(platform, anybody.value()) == name
    page.reload()
    page.get_by_role("heading", name="This token was made already").wait_for()
    # For the next minutes nothing asks again.
    page.get_by_role("link", name="Delete").click()
    assert page.get_by_label("Your access token, once more").count() == 0
    page.get_by_role("button", name="Confirm").click()
    page.get_by_role("status").get_by_text(f"{name} was deleted").wait_for()


def test_the_other_browsers_are_seen_and_signed_out(newcomer: Newcomer, anybody: User, open_browser: Open) -> None:
    _, token = newcomer()
    other = open_browser()
    other.sign_in(token)
    anybody.sign_in(token)
    page = anybody.page
    assert page.get_by_role("region", name="Signed in with this token").get_by_role("term").all_text_contents() == [
        "This browser", "Another browser",
    ]  # fmt: skip
    page.get_by_role("link", name="Sign the others out").click()
    page.get_by_role("button", name="Confirm").click()
    page.get_by_role("status").get_by_text("All other browsers were signed out").wait_for()
    assert page.get_by_text("Another browser").count() == 0
    other.page.reload()
    other.page.get_by_label("Access token").wait_for()
    page.reload()
    assert page.get_by_role("heading", name="My token").count()


def test_a_registration_token_goes_to_a_colleague(
    platform: LocalPlatform, admin: MLPlatform, anybody: User, tmp_path: Path
) -> None:
    name, page = next(_names), anybody.page
    anybody.sign_in(platform.admin_token)
    anybody.go("Registration tokens")
    page.get_by_role("link", name="Create registration token").click()
    page.get_by_label("Name of the access token").fill(name)
    page.get_by_role("radio", name=re.compile("^Administrator")).check()
    page.get_by_role("radio", name="It ends after").check()
    page.get_by_role("button", name="Create").click()
    script = tmp_path / "colleague.py"
    script.write_text(page.locator("#script").text_content() or "")
    register_token = page.locator("#value").text_content() or ""
    assert len(script.read_text().splitlines()) == 3
    page.get_by_role("link", name="Ready").click()
    assert anybody.row(name).get_by_text("Waiting").count()
    assert not TOKEN.search(page.content())

    # In another process, as the page says.
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    token = done.stdout.strip()
    assert _who_am_i(platform, token) == name
    info = next(info for info in admin.get_project_tokens_info() if info.name == name)
    assert info.type == MLPTokenType.ADMIN
    assert info.exp is not None
    assert (info.exp - info.created_at).days == 30
    page.reload()
    row = anybody.row(name)
    assert row.get_by_text("Redeemed").count()
    assert row.get_by_text("from 127.0.0.1").count()
    assert row.locator("summary").count() == 0

    # Somebody else has read along.
    again = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert "already redeemed at" in again.stderr
    page.reload()
    assert row.get_by_text("Tried again once").count()
    assert page.get_by_role("alert").get_by_text("tried again").count()
    with pytest.raises(ForbiddenException):
        admin.create_refresh_token(register_token)
    page.get_by_role("navigation", name="Filter").get_by_role("link", name="Tried again").click()
    assert anybody.row(name).get_by_text("Tried again 2 times").count()


def test_a_registration_token_is_withdrawn(platform: LocalPlatform, anybody: User) -> None:
    name, page = next(_names), anybody.page
    anybody.sign_in(platform.admin_token)
    anybody.go("Registration tokens")
    page.get_by_role("link", name="Create registration token").click()
    page.get_by_label("Name of the access token").fill(name)
    page.get_by_role("radio", name=re.compile("^User")).check()
    page.get_by_role("button", name="Create").click()
    register_token = page.locator("#value").text_content() or ""
    page.reload()
    page.get_by_role("heading", name="This token was made already").wait_for()
    page.get_by_role("link", name="Ready").click()
    anybody.choose(name, "Withdraw")
    page.get_by_role("button", name="Confirm").click()
    page.get_by_role("status").get_by_text(f"{name} was withdrawn").wait_for()
    assert anybody.row(name).get_by_text("Withdrawn").count()
    with MLPlatform(url=platform.url) as colleague, pytest.raises(ForbiddenException):
        colleague.create_refresh_token(register_token)


def test_the_audit_is_narrowed_and_taken_along(platform: LocalPlatform, newcomer: Newcomer, anybody: User) -> None:
    name, _ = newcomer()
    page = anybody.page
    anybody.sign_in(platform.admin_token)
    anybody.go("Audit")
    page.get_by_label("Token (name or id)").fill(name)
    page.get_by_label("Action").select_option("create_refresh_token")
    page.get_by_label("Outcome").select_option("done")
    page.get_by_label("From (UTC)").fill("2020-01-01T00:00")
    page.get_by_label("Before (UTC)").fill("2100-01-01T00:00")
    page.get_by_role("button", name="Show").click()
    rows = page.locator("tbody tr")
    assert rows.count() == 1
    assert rows.get_by_text("Redeemed a registration token").count()
    for kind in ("CSV", "JSON"):
        with page.expect_download() as download:
            page.get_by_role("link", name=f"Export {kind}").click()
        text = Path(download.value.path()).read_text(encoding="utf-8")
        if kind == "JSON":
            assert [(row["action"], row["subject_name"]) for row in json.loads(text)] == [
                ("create_refresh_token", name)
            ]
        else:
            (row,) = csv.DictReader(text.splitlines())
            assert (row["action"], row["outcome"], row["subject_name"]) == ("create_refresh_token", "done", name)
    page.get_by_label("From (UTC)").fill("2099-01-01T00:00")
    page.get_by_role("button", name="Show").click()
    assert page.get_by_text("Nothing that was done fits this").count()


def test_an_export_holds_every_row(platform: LocalPlatform, admin: MLPlatform, anybody: User) -> None:
    anybody.sign_in(platform.admin_token)
    anybody.go("Audit")
    with anybody.page.expect_download() as download:
        anybody.page.get_by_role("link", name="Export JSON").click()
    rows = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert [row["seq"] for row in rows] == list(range(len(rows), 0, -1))
    assert len(rows) >= 1 + len(admin.get_project_tokens_info())


def test_open_prints_a_link_that_signs_in_once(platform: LocalPlatform, anybody: User) -> None:
    link, page = sign_in_link(platform), anybody.page
    for _ in range(2):  # whatever fetches it ahead does not use it up
        page.goto(link)
    page.get_by_role("button", name="Sign in as Administrator").click()
    page.get_by_role("heading", name="Tokens").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.goto(link)
    page.get_by_role("button", name="Sign in as Administrator").click()
    assert page.get_by_text("has been used or is too old").count()


def test_open_says_when_there_is_no_server(tmp_path: Path) -> None:
    with LocalPlatform(tmp_path) as platform:
        assert sign_in_link(platform).startswith(f"{platform.url}/open?code=")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        sign_in_link(platform)
    assert "no server works on" in refused.value.stderr


def test_what_is_no_access_token_is_told_apart(
    platform: LocalPlatform, admin: MLPlatform, newcomer: Newcomer, anybody: User
) -> None:
    _, token = newcomer()
    register = admin.create_register_token(next(_names), "1h", token_type=MLPTokenType.USER)
    anybody.page.goto(platform.url)
    for value, text in [
        (token[:-1], "does not look like a whole token"),
        (str(register), "This is a registration token"),
        ("somebody else's", "This token cannot be used"),
    ]:
        anybody.page.get_by_label("Access token").fill(value)
        anybody.page.get_by_role("button", name="Sign in").click()
        anybody.page.get_by_role("alert").get_by_text(text).wait_for()


def test_errors_are_pages_for_people_and_envelopes_for_programs(platform: LocalPlatform, anybody: User) -> None:
    page = anybody.page
    page.goto(f"{platform.url}/nothing")
    assert page.get_by_role("heading", name="There is nothing here").count()
    answer = page.goto(f"{platform.url}/v1_0/nothing")
    assert answer is not None
    assert answer.status == 404
    assert json.loads(answer.body())["errorCode"] == "NotFoundException"
    told = anybody.context.request.get(f"{platform.url}/nothing", headers={"Accept": "application/json"})
    assert told.json()["errorCode"] == "NotFoundException"
