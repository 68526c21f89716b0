"""What a notebook shows by itself: tables, short texts, completion. What others chose is text in them and no more."""

from __future__ import annotations

import copy
import datetime
import html.parser
import json
import pickle
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from browsers import check_access
from conftest import TOKEN, Newcomer
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser

from mlplatform_client import MLPlatform
from mlplatform_client.core.lists import InfoList
from mlplatform_client.serializers.audit import MLPAuditEntry
from mlplatform_client.serializers.auth import MLPRegisterTokenInfo, MLPRegisterTokenState, MLPTokenInfo, MLPTokenType
from mlplatform_client.serializers.spark_proxy import (
    K8sClusterInfo,
    K8sSparkEvent,
    K8sSparkEventsList,
    K8sSparkJobInfo,
    K8sSparkJobInfoDetail,
    K8sSparkJobLogs,
    K8sSparkJobsInfoList,
)

UTC = datetime.timezone.utc
AT = datetime.datetime(2026, 11, 28, 21, 30, 5, 123456, tzinfo=UTC)
CREATED = "2026-11-28T21:30:05.123456+00:00"


def token(name: str = "anna", exp: datetime.datetime | None = AT) -> MLPTokenInfo:
    return MLPTokenInfo("tok_1", name, MLPTokenType.USER, "admin", exp, AT, None, None, None)


def job(number: int = 1, status: str = "RUNNING", url: str = "https://ml.example/jobs/1") -> K8sSparkJobInfo:
    return K8sSparkJobInfo(f"pi-{number}", status, CREATED, url)


def event(message: str = "Pod started", time: Any = AT) -> K8sSparkEvent:
    return K8sSparkEvent(time, "pi-1", "pi-1-driver", "NORMAL", "Started", message)


def audit(name: str = "anna", detail: dict[str, Any] | None = None) -> MLPAuditEntry:
    return MLPAuditEntry(7, AT, "delete_token", "refused", "tok_1", name, "tok_2", None, "::1", "req_1", detail or {})


REGISTER = MLPRegisterTokenInfo(
    "tok_3",
    "bob",
    MLPTokenType.USER,
    "admin",
    created_at=AT,
    exp=AT,
    refresh_ttl=None,
    state=MLPRegisterTokenState.WAITING,
    redeemed_at=None,
    redeemed_address=None,
    redeemed_token_id=None,
    redeemed_token_name=None,
    withdrawn_at=None,
    replay_count=0,
    last_replay_at=None,
)
CLUSTER = K8sClusterInfo("c-1", "local", None, "SHUTOFF", None, None, "r-1", "https://h.example/x", 3, None, 60)
DETAIL = K8sSparkJobInfoDetail(
    "pi-1", "FAILED", CREATED, "https://ml.example/jobs/1", "Failed", None, None, "Error", "x"
)


class Reader(html.parser.HTMLParser):
    """A table as a browser reads it: its rows of texts, and whatever else is in it."""

    TAGS = frozenset({"table", "caption", "thead", "tbody", "tr", "th", "td", "time", "span", "a"})
    ATTRIBUTES = frozenset(
        {"class", "style", "scope", "colspan", "title", "aria-hidden", "href", "target", "rel"},
    )

    def __init__(self, source: str | None) -> None:
        super().__init__()
        self.caption, self.rows, self.links, self.titles, self.styles = "", [], [], [], set()  # type: ignore[var-annotated]
        self.open: list[str] = []
        assert source is not None
        self.feed(source)
        self.close()
        assert self.open == [], "what was opened is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.TAGS
        assert {name for name, _ in attrs} <= self.ATTRIBUTES
        self.open.append(tag)
        given = dict(attrs)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
        elif tag == "a":
            assert given["rel"] == "noopener noreferrer"
            self.links.append(given["href"])
        elif tag == "time":
            self.titles.append(given["title"])
        if "style" in given:
            self.styles.add(given["style"])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] == "caption":
            self.caption += data
        else:
            self.rows[-1][-1] += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl}")


def read(shown: Any) -> Reader:
    return Reader(shown._repr_html_())


@pytest.fixture(autouse=True)
def _tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kernel's clock: far from UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def test_access_tokens() -> None:
    table = read(InfoList([token(), token("bob", None)]))
    assert table.caption == "2 access tokens"
    assert table.rows == [
        ["Name", "Role", "Ends", "Issuer", "Created", "Id"],
        ["anna", "USER", "2026-11-29 06:30:05+09:00", "admin", "2026-11-29 06:30:05+09:00", "tok_1"],
        ["bob", "USER", "never", "admin", "2026-11-29 06:30:05+09:00", "tok_1"],
    ], "local times; columns in which nothing stands are left out"
    assert set(table.titles) == {str(AT)}


def test_registration_tokens() -> None:
    table = read(InfoList([REGISTER]))
    assert table.caption == "1 registration token"
    assert dict(zip(*table.rows)) == {
        "For": "bob",
        "Role": "USER",
        "State": "● WAITING",
        "Redeem before": "2026-11-29 06:30:05+09:00",
        "Lifetime": "unlimited",
        "Issuer": "admin",
        "Id": "tok_3",
    }


def test_clusters() -> None:
    table = read(InfoList([CLUSTER]))
    assert dict(zip(*table.rows)) == {
        "Name": "local",
        "State": "● SHUTOFF",
        "Inactive (min)": "3",
        "Suspended after (min)": "never",
        "Deleted after (min)": "60",
        "History server": "https://h.example/x",
        "Id": "c-1",
    }
    assert table.links == ["https://h.example/x"]


def test_jobs_and_events() -> None:
    jobs = read(K8sSparkJobsInfoList([job(), job(2, "FAILED", "")]))
    assert jobs.rows == [
        ["Job", "State", "Submitted"],
        ["pi-1", "● RUNNING", "2026-11-29 06:30:05+09:00"],
        ["pi-2", "● FAILED", "2026-11-29 06:30:05+09:00"],
    ]
    assert jobs.links == ["https://ml.example/jobs/1"]
    colours = [style for style in jobs.styles if "color" in style]
    assert len(colours) == 2
    assert all(re.fullmatch(r"color:var\(--jp-\w+-color1,#\w{6}\)", colour) for colour in colours)
    events = read(K8sSparkEventsList([event()]))
    assert dict(zip(*events.rows)) == {
        "Time": "2026-11-29 06:30:05+09:00",
        "Job": "pi-1",
        "Type": "NORMAL",
        "Reason": "Started",
        "Message": "Pod started",
    }


def test_the_audit() -> None:
    table = read(InfoList([audit(), audit(detail={"reason": "expired"})]))
    assert table.caption == "2 audit entries"
    row = dict(zip(table.rows[0], table.rows[1]))
    assert (row["Who"], row["Whom"], row["Outcome"], row["Detail"]) == ("anna", "tok_2", "● refused", "")
    assert table.rows[2][table.rows[0].index("Detail")] == "{'reason': 'expired'}"


@pytest.mark.parametrize("value", [token(), REGISTER, CLUSTER, job(), DETAIL, event(), audit()])
def test_one_object_is_shown_with_all_its_fields(value: Any) -> None:
    table = read(value)
    assert table.caption == type(value).__name__
    assert [row[0] for row in table.rows] == list(value.to_dict())
    addresses = [text for field, text in value.to_dict().items() if field.endswith("_url")]
    assert table.links == addresses


def test_what_is_no_table() -> None:
    for items in ([], [1], [token(), job()], [job(), "text"], [MLPTokenInfo]):
        assert InfoList(items)._repr_html_() is None
        assert set(InfoList(items)._repr_mimebundle_()) == {"text/plain"}
    assert K8sSparkEventsList([])._repr_html_() is None  # type: ignore[attr-defined]
    assert K8sSparkJobLogs("text")._repr_html_() is None  # type: ignore[attr-defined]

    class MLPTokenInfoOfAnother:
        name = "anna"

    MLPTokenInfoOfAnother.__name__ = "MLPTokenInfo"
    assert InfoList([MLPTokenInfoOfAnother()])._repr_html_() is None


def test_a_long_list_is_bounded() -> None:
    many = [job(number) for number in range(10_000)]
    for items in (InfoList(many), K8sSparkJobsInfoList(many)):
        bundle: dict[str, str] = items._repr_mimebundle_()  # type: ignore[union-attr]
        table = Reader(bundle["text/html"])
        assert table.caption == "10000 jobs"
        assert len(table.rows) == 1 + 50 + 1 + 50 + 1
        assert [row[0] for row in table.rows[1:51]] == [f"pi-{number}" for number in range(50)]
        assert table.rows[51] == ["⋮ 9900 more"]
        assert [row[0] for row in table.rows[52:-1]] == [f"pi-{number}" for number in range(9950, 10_000)]
        assert table.rows[-1] == ["100 of 10000 are shown: slice the list or iterate over it to see the others"]
        assert len(bundle["text/html"]) < 64_000
        assert len(bundle["text/plain"]) < 16_000
        assert bundle["text/plain"].count("\n") == 100
        assert "… 9900 more …" in bundle["text/plain"]
    assert len(repr(K8sSparkJobsInfoList(many))) < 16_000
    assert len(read(InfoList(many[:100])).rows) == 101


def test_a_long_text_is_bounded() -> None:
    assert len(read(InfoList([event("x" * 1_000_000)])).rows[1][-1]) == 301
    assert len(repr(K8sSparkJobLogs("x" * 1_000_000))) < 120
    assert len(repr(audit(detail={"x": "y" * 1_000_000}))) < 300


HOSTILE = [
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    "\" onmouseover=\"alert(1)",
    "' autofocus onfocus='alert(1)",
    "&lt;b&gt;",
    "<!-- ",
    "<![CDATA[",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_is_text(text: str) -> None:
    for items in ([token(text)], [audit(text, {text: text})], [event(text)], [job(url=f"https://x.example/{text}")]):
        read(InfoList(items))
        read(items[0])
    assert read(InfoList([token(text)])).rows[1][0] == text
    assert read(InfoList([event(text)])).rows[1][-1] == text


@given(text=st.text(alphabet=st.characters(exclude_categories=[]), max_size=400))
def test_any_text_is_text(text: str) -> None:
    """`Reader` refuses whatever is not the table's own."""
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair: no field but one made in Python can hold it.
        read(InfoList([audit(detail={"x": text})]))
        return
    shown = read(InfoList([event(text)])).rows[1][-1]
    if len(text) <= 300 and text.isprintable() and "mlp" not in text:
        assert shown == text


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "file:///etc/passwd",
        "//ml.example/",
        "https:ml.example",
        "https://ml.example/a b",
        "https://ml.example/\u202egpj.exe",
        "https://ml.example/" + "x" * 3000,
        "",
    ],
)
def test_only_web_addresses_are_links(url: str) -> None:
    assert read(InfoList([job(url=url)])).links == []
    assert read(job(url=url)).links == []
    assert read(InfoList([job(url="HTTP://ml.example/")])).links == ["HTTP://ml.example/"]


def test_what_turns_text_around_is_shown() -> None:
    shown = read(InfoList([token("nimda\u202e\x00\x1b[2J")])).rows[1][0]
    assert shown == r"nimda\u{202e}\u{0}\u{1b}[2J"


def test_a_token_in_the_wrong_place_is_masked(newcomer: Newcomer) -> None:
    _, value = newcomer()
    for shown in (
        token(str(value)),
        audit(str(value), {"x": str(value)}),
        event(f"PASSWORD={value}"),
        job(url=f"https://x/{value}"),
    ):
        bundle = InfoList([shown])._repr_mimebundle_()
        assert not TOKEN.search("".join(bundle.values()) + repr(shown) + (shown._repr_html_() or ""))  # type: ignore[union-attr]
        assert "mlpr_***" in bundle["text/html"] + repr(shown)
    assert not TOKEN.search(repr(K8sSparkJobLogs("x" * 60 + str(value))))


@pytest.mark.parametrize(
    "at",
    [
        datetime.datetime.min,
        datetime.datetime.max.replace(tzinfo=UTC),
        datetime.datetime(1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=14))),
        datetime.datetime(2026, 11, 28),
        "yesterday",
        None,
        7,
    ],
)
def test_odd_times(at: Any) -> None:
    assert "Pod started" in read(InfoList([event(time=at)])).rows[1]


def test_the_lists_are_lists(admin: MLPlatform, newcomer: Newcomer) -> None:
    newcomer()
    lists: list[list[Any]] = [
        admin.get_project_tokens_info(),
        admin.get_register_tokens_info(),
        admin.get_clusters(),
        admin.get_audit(limit=3),
    ]
    for items in lists:
        assert isinstance(items, list)
        plain = [*items]
        assert type(plain) is list
        assert items == plain
        assert plain == items
        assert items != plain[1:]
        assert repr(items) == repr(plain)
        assert json.dumps([item.to_dict() for item in items], default=str).startswith("[{")
        assert json.dumps(items, default=str) == json.dumps(plain, default=str)
        for other in (
            pickle.loads(pickle.dumps(items)),
            copy.copy(items),
            copy.deepcopy(items),
            items[:],
            items[0 : len(items)],
        ):
            assert type(other) is type(items)
            assert other == plain
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(items, protocol)) == plain
        assert items[0] is plain[0]
        assert items[-1:] == plain[-1:]
        assert sorted(items, key=str) == sorted(plain, key=str)
        assert items + plain == plain + plain
        assert [*reversed(items)] == plain[::-1]
        with pytest.raises(IndexError):
            items[len(items)]
        with pytest.raises(TypeError):
            items["0"]  # type: ignore[call-overload]
        items.append(1)
        assert len(items) == len(plain) + 1
        items.clear()
        assert not items
    assert read(admin.get_audit()[:2]).caption == "2 audit entries"
    assert K8sSparkJobsInfoList([job(), job(2)])[1:]._repr_html_()  # type: ignore[attr-defined]


def test_short_texts() -> None:
    assert repr(token()) == f"<MLPTokenInfo name='anna' type='USER' exp={AT}>"
    assert repr(token("it's", None)) == """<MLPTokenInfo name="it's" type='USER' exp=None>"""
    assert repr(REGISTER) == f"<MLPRegisterTokenInfo client_name='bob' type='USER' state='WAITING' exp={AT}>"
    assert repr(CLUSTER) == "<K8sClusterInfo name='local' status='SHUTOFF' id='c-1'>"
    assert repr(job()) == f"<K8sSparkJobInfo job_name='pi-1' status='RUNNING' created_at='{CREATED}'>"
    assert repr(event()) == f"<K8sSparkEvent time={AT} job_name='pi-1' type='NORMAL' reason='Started'>"
    assert repr(audit()) == (
        f"<MLPAuditEntry seq=7 at={AT} actor_name='anna' action='delete_token' outcome='refused' subject_name=None>"
    )
    assert repr(K8sSparkJobLogs("a\nb")) == r"K8sSparkJobLogs(logs='a\nb')"
    assert repr(K8sSparkJobsInfoList([job()])) == f"K8sSparkJobsInfoList([{job()!r}])"
    assert "\n" not in repr(token("a\nb"))


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_page_without_styles_of_its_own(chromium: Browser, scheme: Any) -> None:
    """No frontend's variables: the fallbacks. Nothing runs, nothing is fetched, and it can be read."""
    context = chromium.new_context(color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append(dialog.message))
    lists: list[Any] = [
        InfoList([token(text) for text in HOSTILE]),
        InfoList([REGISTER, REGISTER]),
        InfoList([CLUSTER]),
        K8sSparkJobsInfoList([job(), job(2, "FAILED"), job(3, "SUBMITTED")]),
        K8sSparkEventsList([event(text) for text in HOSTILE]),
        InfoList([audit(text) for text in HOSTILE]),
    ]
    tables = "".join(items._repr_html_() or "" for items in lists)
    page.set_content(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>A notebook</title><style>:root{color-scheme:light dark}"
        "body{overflow:auto;background:light-dark(#fff,#111);color:light-dark(#000,#eee)}</style>"
        f"<main><h1>Tables</h1>{tables}</main></html>"
    )
    page.get_by_text(f"{len(HOSTILE)} access tokens").wait_for()
    check_access(page)
    for row in page.get_by_role("row").all():
        row.hover()
    assert asked == []
    context.close()


@pytest.mark.slow
def test_in_a_kernel(platform: Any, admin: MLPlatform) -> None:
    """What a real kernel sends: table and text, completion, and the documentation that `?` shows."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", env={"PATH": "/usr/bin:/bin", "TZ": "Asia/Tokyo"})
    try:
        shown: list[dict[str, Any]] = []

        def run(code: str) -> dict[str, Any]:
            shown.clear()

            def keep(message: dict[str, Any]) -> None:
                if message["msg_type"] in ("execute_result", "stream", "error"):
                    shown.append(message["content"])

            reply = client.execute_interactive(code, timeout=60, output_hook=keep, allow_stdin=False)
            assert reply["content"]["status"] == "ok", shown
            return shown[-1] if shown else {}

        run(
            "import os, mlplatform_client\nfrom mlplatform_client import MLPlatform\n"
            f"mlp = MLPlatform(open({str(platform.data_dir) + '/admin-token'!r}).read(), url={platform.url!r})"
        )
        data = run("mlp.get_project_tokens_info()[:1]")["data"]
        assert read_html(data).rows[1][0] == "admin"
        assert data["text/plain"].startswith("[<MLPTokenInfo name='admin'")
        assert read_html(run("mlp.who_am_i()")["data"]).caption == "MLPTokenInfo"
        assert run("print(mlp.who_am_i())")["text"].startswith("Token admin:\n\tid: tok_")

        def completions(code: str) -> list[str]:
            reply = client.complete(code, len(code), reply=True, timeout=60)
            return list(reply["content"]["matches"])

        assert {".get_audit", ".get_clusters", ".get_project_tokens_info"} <= {
            "." + match.rpartition(".")[2] for match in completions("mlp.get_")
        }
        assert any(match.endswith("login") for match in completions("mlplatform_client.lo"))
        assert "client_name=" in completions("mlp.create_register_token(cl")
        told = client.inspect("mlp.get_audit", len("mlp.get_audit"), reply=True, timeout=60)["content"]["data"][
            "text/plain"
        ]
        plain = re.sub(r"\x1b\[[0-9;]*m", "", told)
        assert "mlp.get_audit(" in plain
        assert "The audit log of the platform, newest first." in plain
        assert "Parameters" in plain
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def read_html(data: dict[str, str]) -> Reader:
    return Reader(data["text/html"])
