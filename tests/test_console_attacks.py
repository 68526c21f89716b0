"""What a page of somebody else's, a stranger, a User and a later reader of the same browser try. Each of them fails."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browsers import Open, User
from conftest import TOKEN, Newcomer
from playwright.sync_api import Error

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

pytestmark = pytest.mark.slow
_names = (f"victim-{number}" for number in itertools.count(1))


class Attacker:
    """A web server of somebody else's, on this machine: what it shows is what `page` holds."""

    def __init__(self) -> None:
        attacker = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = attacker.page.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.page = ""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(scope="module")
def attacker() -> Iterator[Attacker]:
    attacker = Attacker()
    yield attacker
    attacker.stop()


# On the same address, a page is of the same *site*: the browser sends the cookie along, SameSite or not.
@pytest.mark.parametrize("host", ["127.0.0.1", "evil.example"])
def test_a_form_from_elsewhere_does_nothing(
    host: str, platform: LocalPlatform, admin: MLPlatform, newcomer: Newcomer, open_browser: Open, attacker: Attacker
) -> None:
    name, _ = newcomer()
    token_id = next(info.id for info in admin.get_project_tokens_info() if info.name == name)
    user = open_browser()
    user.sign_in(platform.admin_token)
    form_token = user.page.locator("input[name=form_token]").first.input_value()
    forms = {
        f"/tokens/{token_id}/delete": "",
        "/tokens/new": "<input name=name value=forged><input name=role value=ADMIN>"
        "<input name=lifetime value=unlimited><input name=nonce value=n>",
        "/sign-out": "",
    }
    for path, fields in forms.items():
        # Even one that has found out the form's token.
        attacker.page = (
            f"<form method=post action='{platform.url}{path}'><input name=form_token value='{form_token}'>"
            f"{fields}<button>Win a prize</button></form>"
        )
        page = user.context.new_page()
        page.goto(f"http://{host}:{attacker.port}/")
        with page.expect_response(f"{platform.url}{path}") as answer:
            page.get_by_role("button").click()
        assert answer.value.status == 403
        page.close()
    names = [info.name for info in admin.get_project_tokens_info()]
    assert name in names
    assert "forged" not in names
    user.page.reload()
    assert user.page.get_by_role("button", name="Sign out").count()


def test_nobody_is_signed_in_by_somebody_else(
    newcomer: Newcomer, platform: LocalPlatform, open_browser: Open, attacker: Attacker
) -> None:
    _, token = newcomer()
    fields = f"<input name=token value='{token}'><button>Go</button>"
    attacker.page = f"<form method=post action='{platform.url}/sign-in'>{fields}</form>"
    user = open_browser()
    user.page.goto(f"http://127.0.0.1:{attacker.port}/")
    user.page.get_by_role("button").click()
    user.page.get_by_role("heading", name="This is not for you to do").wait_for()
    assert user.context.cookies() == []


def test_no_page_can_be_framed(platform: LocalPlatform, open_browser: Open, attacker: Attacker) -> None:
    user = open_browser()
    user.sign_in(platform.admin_token)
    attacker.page = f"<iframe src='{platform.url}/tokens/new' width=800 height=600></iframe>"
    page = user.context.new_page()
    page.goto(f"http://127.0.0.1:{attacker.port}/")
    frame = page.frames[1]
    assert frame.url.startswith("chrome-error://")
    assert frame.get_by_role("button", name="Create").count() == 0


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "🙂" * 64, "'\"><img src=x onerror=alert(1)>", "..", "%2e"]
)
def test_names_are_text(name: str, platform: LocalPlatform, admin: MLPlatform, open_browser: Open) -> None:
    user = open_browser()
    user.sign_in(platform.admin_token)
    user.create(name)
    assert user.page.locator("bdi.named").text_content() == name
    user.page.get_by_role("link", name="Ready").click()
    assert user.row(name).count() == 1
    user.choose(name, "Delete")
    assert user.page.get_by_role("heading", level=1).text_content() == f"Delete {name}?"
    assert user.page.title() == f"Delete {name}? · ML Platform"
    user.page.get_by_role("button", name="Confirm").click()
    user.page.get_by_role("status").get_by_text("was deleted").wait_for()
    user.go("Audit")
    assert name in user.page.locator("bdi").all_text_contents()
    # `open_browser` looks at the end whether a dialog was opened or a script of the page's failed.


def test_another_host_s_name_gets_no_page(platform: LocalPlatform, open_browser: Open) -> None:
    """DNS rebinding: the attacker's name leads to this machine's address."""
    user = open_browser()
    port = urlsplit(platform.url).port
    for path in ("/", "/sign-in", "/tokens"):
        answer = user.page.goto(f"http://rebound.example:{port}{path}")
        assert answer is not None
        assert answer.status == 400
        assert user.page.get_by_label("Access token").count() == 0
    # Chromium complains that such an address is not one of this machine's.
    user.complaints.clear()
    user.page.goto(f"http://localhost:{port}/")
    assert user.page.get_by_label("Access token").count() == 1


def test_the_session_ends_with_its_token(
    platform: LocalPlatform, admin: MLPlatform, newcomer: Newcomer, anybody: User
) -> None:
    name, token = newcomer(role=MLPTokenType.ADMIN)
    anybody.sign_in(token)
    page = anybody.page
    page.get_by_role("link", name="Create access token").click()
    page.get_by_label("Name").fill(next(_names))
    page.get_by_role("radio", name=re.compile("^User")).check()
    admin.delete_token(name)
    page.get_by_role("button", name="Create").click()
    page.get_by_text("what you sent was not done").wait_for()
    page.goto(f"{platform.url}/tokens")
    page.get_by_label("Access token").wait_for()


def test_signing_out_ends_the_session_everywhere(platform: LocalPlatform, anybody: User) -> None:
    anybody.sign_in(platform.admin_token)
    cookies = anybody.context.cookies()
    anybody.page.get_by_role("button", name="Sign out").click()
    anybody.context.add_cookies(cookies)  # type: ignore[arg-type]
    anybody.page.goto(f"{platform.url}/tokens")
    anybody.page.get_by_label("Access token").wait_for()


def test_the_cookie_is_for_the_browser_alone(platform: LocalPlatform, open_browser: Open) -> None:
    user = open_browser()
    user.sign_in(platform.admin_token)
    (cookie,) = user.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert cookie["path"] == "/"
    assert cookie["expires"] == -1
    assert user.page.evaluate("document.cookie") == ""
    # It is a secret of the console's: the API does not take it.
    sent = user.context.request.get(
        f"{platform.url}/v1_0/tokens/self", headers={"Authorization": f"Bearer {cookie['value']}"}
    )
    assert sent.status == 401


def test_a_session_is_never_chosen_by_the_browser(platform: LocalPlatform, open_browser: Open) -> None:
    user = open_browser()
    user.sign_in(platform.admin_token)
    (before,) = user.context.cookies()
    user.page.goto(f"{platform.url}/sign-in")
    user.page.get_by_role("button", name="Sign out").click()
    user.context.add_cookies([before])  # type: ignore[list-item]
    user.sign_in(platform.admin_token)
    (after,) = user.context.cookies()
    assert after["value"] != before["value"]


def test_a_user_cannot_reach_for_what_is_an_administrator_s(
    platform: LocalPlatform, admin: MLPlatform, newcomer: Newcomer, open_browser: Open
) -> None:
    name, token = newcomer()
    infos = {info.name: info for info in admin.get_project_tokens_info()}
    register = admin.create_register_token(next(_names), "1h", token_type=MLPTokenType.USER)
    register_id = next(info.id for info in admin.get_register_tokens_info() if info.state == "WAITING")
    assert register
    user = open_browser()
    user.sign_in(token)
    form_token = user.page.locator("input[name=form_token]").first.input_value()
    pages = [
        "/tokens", "/tokens/new", f"/tokens/{infos['admin'].id}/delete", "/registration-tokens",
        "/registration-tokens/new", f"/registration-tokens/{register_id}/withdraw", "/audit",
        "/audit/export?format=csv",
    ]  # fmt: skip
    for path in pages:
        answer = user.page.goto(platform.url + path)
        assert answer is not None
        assert answer.status == 403, path
        assert "admin" not in user.page.inner_text("main"), path
    fields = {"form_token": form_token, "nonce": "n", "name": "stolen", "role": "ADMIN", "lifetime": "unlimited"}
    forms = [
        "/tokens/new", "/registration-tokens/new", f"/tokens/{infos['admin'].id}/delete",
        f"/tokens/{infos['admin'].id}/rotate", f"/registration-tokens/{register_id}/withdraw",
    ]  # fmt: skip
    for path in forms:
        sent = user.context.request.post(
            platform.url + path,
            form={**fields, "redeem_number": "1", "redeem_unit": "h"},
            headers={"Origin": platform.url},
        )
        assert sent.status == 403, path
    names = [info.name for info in admin.get_project_tokens_info()]
    assert "admin" in names
    assert "stolen" not in names
    assert next(info.state for info in admin.get_register_tokens_info() if info.id == register_id) == "WAITING"
    refusals = admin.get_audit(token=name, outcome="refused")
    assert {entry.action for entry in refusals} >= {"open_page", "send_form"}


def test_after_ready_nothing_shows_the_value_again(platform: LocalPlatform, anybody: User) -> None:
    anybody.sign_in(platform.admin_token)
    anybody.create(next(_names))
    assert TOKEN.fullmatch(anybody.value())
    anybody.page.get_by_role("link", name="Ready").click()
    anybody.page.get_by_role("heading", name="Tokens", level=1).wait_for()
    # The browser shows that it kept nothing, or asks whether to send the form again: that is no page of ours.
    with pytest.raises(Error, match="ERR_CACHE_MISS"):
        anybody.page.go_back()
    anybody.page.wait_for_url("chrome-error://**")
    assert not TOKEN.search(anybody.page.locator("html").inner_html())
    anybody.page.reload()
    anybody.page.get_by_role("heading", name="This token was made already").wait_for()
    assert not TOKEN.search(anybody.page.content())


def test_no_page_is_kept(platform: LocalPlatform, open_browser: Open) -> None:
    user = open_browser()
    seen: dict[str, dict[str, str]] = {}
    user.page.on("response", lambda answer: seen.update({urlsplit(answer.url).path: answer.headers}))
    user.sign_in(platform.admin_token)
    user.create(next(_names))
    user.go("Registration tokens")
    user.go("Audit")
    user.page.get_by_role("link", name="admin").first.click()
    for path, headers in seen.items():
        if path.startswith("/assets/"):
            assert "immutable" in headers["cache-control"]
            continue
        assert headers["cache-control"] == "no-store", path
        if headers.get("content-type", "").startswith("text/html"):
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
    assert {"/tokens", "/tokens/new", "/registration-tokens", "/audit", "/me"} <= seen.keys()


def test_nothing_is_asked_of_another_host(platform: LocalPlatform, open_browser: Open) -> None:
    user = open_browser()
    asked: list[str] = []
    user.page.on("request", lambda request: asked.append(request.url))
    user.sign_in(platform.admin_token)
    user.go("Audit")
    assert asked
    assert all(url.startswith(platform.url + "/") for url in asked)


def test_guessing_is_slowed_and_whoever_has_a_token_is_not(tmp_path: Path, open_browser: Open) -> None:
    with LocalPlatform(tmp_path) as platform:
        user = open_browser(url=platform.url)
        user.page.goto(platform.url)
        statuses = []
        for guess in range(700):
            sent = user.context.request.post(
                f"{platform.url}/sign-in",
                form={"token": f"guess {guess}"},
                headers={"Origin": platform.url, "Accept": "text/html"},
            )
            statuses.append(sent.status)
            if sent.status == 429:
                assert int(sent.headers["retry-after"]) >= 1
                assert "<h1>Too many attempts</h1>" in sent.text()
                break
        assert statuses[-1] == 429
        user.sign_in(platform.admin_token)
        with MLPlatform(platform.admin_token, url=platform.url) as admin:
            rows = list(admin.get_audit(action="sign_in", outcome="refused"))
        # Of all the guesses, one row: strangers do not fill the disk.
        assert len(rows) == 1
