"""The page that a job's `ui_url` leads to, in a real browser. The jobs are shell scripts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsers import Open, User, check_access
from conftest import Newcomer
from jobs import FINAL, manifest, new_cluster, until
from playwright.sync_api import expect

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def cluster(admin: MLPlatform) -> str:
    return new_cluster(admin, "pages")


Submit = Callable[..., str]


@pytest.fixture
def submit(admin: MLPlatform, cluster: str, tmp_path: Path) -> Submit:
    """Submit a script; the address of its page."""

    def send(script: str, ends: bool = True, **spec: Any) -> str:
        name = f"job-{next(_numbers)}"
        program = tmp_path / f"{name}.py"
        program.write_text(script)
        url = admin.spark_submit_job(cluster, manifest(name, **spec), program).ui_url
        if ends:
            until(lambda: admin.spark_job_info(cluster, name).status in FINAL)
        return url

    return send


def test_the_story_of_a_job(platform: LocalPlatform, submit: Submit, anybody: User) -> None:
    url, page = submit("echo Pi is roughly 3.14", executor={"instances": 2, "memory": "1g"}), anybody.page
    page.goto(url)
    page.get_by_label("Access token").fill(platform.admin_token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", level=1).get_by_text("COMPLETED").wait_for()
    assert page.url == url, "signing in leads back to the page"
    assert page.get_by_role("region", name="Log").text_content() == "Pi is roughly 3.14\n"
    pods = page.get_by_role("table", name="Pods")
    expect(pods.get_by_role("row", name="-driver")).to_contain_text("Succeeded")
    expect(pods.get_by_role("row", name="Executors")).to_contain_text("1 GiB")
    reasons = page.get_by_role("table", name="Events").locator("[data-label=Event]").all_text_contents()
    assert reasons == ["SparkDriverCompleted", "Started", "Scheduled", "SparkApplicationAdded"]
    assert page.get_by_role("link", name="Refresh").count() == 0, "nothing will change any more"
    page.get_by_role("link", name="The whole log (19 bytes)").click()
    assert page.locator("pre").text_content() == "Pi is roughly 3.14\n"


def test_a_job_is_watched(platform: LocalPlatform, submit: Submit, anybody: User, tmp_path: Path) -> None:
    gate, page = tmp_path / "gate", anybody.page
    url = submit(f"echo begun; while [ ! -e {gate} ]; do sleep 0.05; done; echo over", ends=False)
    anybody.sign_in(platform.admin_token)

    def begun() -> bool:
        page.goto(url)
        return page.get_by_role("region", name="Log").count() == 1

    until(begun)
    expect(page.get_by_role("heading", level=1)).to_contain_text("RUNNING")
    expect(page.get_by_role("link", name="Refresh", exact=True)).to_be_visible()
    page.get_by_role("link", name="Refresh every 5 seconds").click()
    gate.touch()
    expect(page.get_by_role("region", name="Log")).to_have_text("begun\nover\n")
    expect(page.get_by_role("heading", level=1)).to_contain_text("COMPLETED")
    assert page.get_by_role("link", name="Stop refreshing").count() == 0


def test_what_a_job_prints_is_shown_and_does_nothing(platform: LocalPlatform, submit: Submit, anybody: User) -> None:
    printed = r"<script>alert(1)</script></pre><b>bold</b> &lt; \377\033[31m \342\200\256 \000\n"
    url, page = submit(f"printf '{printed}'; exit 3"), anybody.page
    anybody.sign_in(platform.admin_token)
    page.goto(url)
    shown = "<script>alert(1)</script></pre><b>bold</b> &lt; \\xff\\u{1b}[31m \\u{202e} \\0\n"
    assert page.get_by_role("region", name="Log").text_content() == shown
    why = page.get_by_role("region", name="Why")
    expect(why).to_contain_text("exit code 3")
    expect(why).to_contain_text("What to do:")
    expect(why.get_by_text("<script>alert(1)</script>")).to_be_visible()
    assert page.locator("b").count() == 0
    answer = anybody.context.request.get(url.replace("/jobs/", "/log"))
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.body().endswith(b"&lt; \xff\x1b[31m \xe2\x80\xae \x00\n")


def test_only_the_end_of_a_long_log_is_on_the_page(platform: LocalPlatform, submit: Submit, anybody: User) -> None:
    url, page = submit("seq 1 40000"), anybody.page
    anybody.sign_in(platform.admin_token)
    page.goto(url)
    lines = (page.get_by_role("region", name="Log").text_content() or "").splitlines()
    assert lines == [str(number) for number in range(40001 - len(lines), 40001)]
    assert 64 * 1024 - 6 <= sum(len(line) + 1 for line in lines) <= 64 * 1024
    expect(page.get_by_text("Its last ")).to_be_visible()
    page.get_by_role("link", name="The whole log").click()
    assert len((page.locator("pre").text_content() or "").splitlines()) == 40000


def test_any_user_sees_it_and_nobody_else(newcomer: Newcomer, submit: Submit, open_browser: Open) -> None:
    """As with the API: jobs belong to the project."""
    url = submit("echo seen")
    user = open_browser()
    for address in (url, url.replace("/jobs/", "/log")):
        user.page.goto(address)
        user.page.get_by_label("Access token").wait_for()
        assert "seen" not in user.page.content()
    user.sign_in(newcomer()[1])
    user.page.goto(url)
    assert user.page.get_by_role("region", name="Log").text_content() == "seen\n"


def test_a_link_in_a_notebook_leads_whoever_is_signed_in_to_the_page(
    platform: LocalPlatform, newcomer: Newcomer, submit: Submit, open_browser: Open
) -> None:
    """The cookie is for requests from the platform's own pages, and a notebook is a page of another site."""
    url = submit("echo seen")
    user = open_browser()
    user.context.route(
        "http://notebook.example/",
        lambda route: route.fulfill(content_type="text/html", body=f"<a href='{url}'>ui</a>"),
    )
    user.page.goto("http://notebook.example/")
    user.page.get_by_role("link").click()
    user.page.get_by_label("Access token").fill(newcomer()[1])
    user.page.get_by_role("button", name="Sign in").click()
    user.page.get_by_role("region", name="Log").wait_for()
    user.page.goto("http://notebook.example/")
    visited: list[str] = []
    user.page.on("framenavigated", lambda frame: visited.append(frame.url))
    user.page.get_by_role("link").click()
    user.page.get_by_role("region", name="Log").wait_for()
    assert "/sign-in" in visited[0], "the browser kept the cookie to itself"
    assert user.page.url == url


def test_what_is_not_there(platform: LocalPlatform, cluster: str, anybody: User) -> None:
    page = anybody.page
    anybody.sign_in(platform.admin_token)
    for path in (f"{cluster}/none/jobs/", f"{cluster}/%3Cscript%3Ealert(1)%3C%2Fscript%3E/jobs/", "none/none/jobs/"):
        answer = page.goto(f"{anybody.url}/clusters/{path}")
        assert answer is not None
        assert answer.status == 404
        page.get_by_role("heading", name="No such job").wait_for()
        assert page.locator("script").count() == 1, "the console's own"
    answer = page.goto(f"{anybody.url}/clusters/{cluster}/none/log")
    assert answer is not None
    assert answer.status == 404
    page.get_by_role("heading", name="There is nothing here").wait_for()


def test_a_deleted_job_keeps_its_page(
    platform: LocalPlatform, admin: MLPlatform, cluster: str, submit: Submit, anybody: User
) -> None:
    url, page = submit("echo kept"), anybody.page
    admin.spark_delete_job(cluster, url.split("/")[-3])
    anybody.sign_in(platform.admin_token)
    page.goto(url)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Deleted")
    assert page.get_by_role("region", name="Log").text_content() == "kept\n"


def test_a_job_that_waits_says_why(platform: LocalPlatform, submit: Submit, anybody: User) -> None:
    url, page = submit("exit 0", ends=False, executor={"instances": 100, "memory": "512m"}), anybody.page
    anybody.sign_in(platform.admin_token)

    def told() -> bool:
        page.goto(url)
        return page.get_by_role("region", name="Why").count() == 1

    until(told)
    expect(page.get_by_role("region", name="Why")).to_contain_text("asks for more than the cluster has")


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1920])
def test_axe_finds_nothing(theme: str, width: int, platform: LocalPlatform, submit: Submit, open_browser: Open) -> None:
    user = open_browser(color_scheme=theme, viewport={"width": width, "height": 900})
    user.sign_in(platform.admin_token)
    long = "x" * 500
    for url in (submit(f"echo {long}"), submit(f"echo 'ValueError: {long}'; exit 1"), submit("sleep 60", ends=False)):
        user.page.goto(url)
        check_access(user.page)
    user.page.goto(f"{url}?refresh=1")
    check_access(user.page)
    user.page.goto(f"{user.url}/clusters/none/none/jobs/")
    check_access(user.page)
