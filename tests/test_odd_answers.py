"""What a platform that is broken, or hostile, may send: numbers, times, cursors and offsets that nobody expects."""

from __future__ import annotations

import datetime
import itertools
import json
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import TOKEN
from faults import Exchange, Fault, FaultProxy, saying
from faults import http as answer

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import MLPlatformException, UnexpectedAnswerException
from mlplatform_client.local import LocalPlatform


def _json(value: Any, status: str = "200 OK", *headers: str) -> Fault:
    return saying(answer(status, json.dumps(value).encode(), "Content-Type: application/json", *headers))


def _session(expires_in: Any) -> Fault:
    return _json({"session_token": "s", "expires_in": expires_in}, "201 Created")


@pytest.fixture
def proxy(platform: LocalPlatform) -> Iterator[FaultProxy]:
    with FaultProxy(platform.url) as proxy:
        yield proxy


@pytest.fixture
def client(platform: LocalPlatform, proxy: FaultProxy) -> Iterator[MLPlatform]:
    with MLPlatform(platform.admin_token, url=proxy.url, timeout=30) as client:
        yield client


@pytest.mark.parametrize("seconds", [0, 10**12, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_session_of_any_length(proxy: FaultProxy, client: MLPlatform, seconds: int) -> None:
    """It is taken as given, up to a day; the answer to it is that it is unknown, and that heals."""
    proxy.fail(_session(seconds), on="create_session")
    assert client.who_am_i().name == "admin"
    assert client.who_am_i().name == "admin"


@pytest.mark.parametrize("seconds", [-1, 2**64, 1.5, "600", None])
def test_a_session_of_no_length(proxy: FaultProxy, client: MLPlatform, seconds: Any) -> None:
    proxy.fail(_session(seconds), on="create_session")
    with pytest.raises(UnexpectedAnswerException, match="JSON in another format"):
        client.who_am_i()
    assert client.who_am_i().name == "admin"


@pytest.mark.parametrize("cursors", ["aa", "abab", "abcb", "abcabc"])
@pytest.mark.parametrize(
    ("method", "ask"),
    [
        ("get_project_tokens_info", lambda client: client.get_project_tokens_info()),
        ("get_audit", lambda client: client.get_audit(limit=None)),
    ],
)
def test_pages_that_lead_in_a_circle(
    proxy: FaultProxy, client: MLPlatform, cursors: str, method: str, ask: Callable[[MLPlatform], Any]
) -> None:
    proxy.fail(*(_json({"items": [], "next_cursor": cursor}) for cursor in cursors), on=method)
    with pytest.raises(UnexpectedAnswerException, match="refers back to an earlier page"):
        ask(client)
    asked = [exchange for exchange in proxy.exchanges if exchange.method == method]
    assert len(asked) == len(set(cursors)) + 1


@pytest.mark.parametrize("year", [-9999, 0])
def test_a_time_before_all_calendars(proxy: FaultProxy, client: MLPlatform, year: int) -> None:
    given = f"{year:07d}-01-02T03:04:05Z" if year else "0000-01-02T03:04:05Z"
    token = {"id": "tok_1", "name": "n", "type": "USER", "issuer_name": "i", "exp": None, "created_at": given}
    proxy.fail(_json(token), on="who_am_i")
    with pytest.raises(UnexpectedAnswerException, match="Python cannot represent: the time"):
        client.who_am_i()


def test_the_last_moment(proxy: FaultProxy, client: MLPlatform) -> None:
    last = datetime.datetime(9999, 12, 30, 22, 0, 0, 999999, tzinfo=datetime.timezone.utc)
    token = {"id": "tok_1", "name": "n", "type": "USER", "issuer_name": "i", "exp": last.isoformat()}
    proxy.fail(_json({**token, "created_at": "0001-01-01T00:00:00Z"}), on="who_am_i")
    assert client.who_am_i().exp == last


@pytest.mark.parametrize("length", [4097, 7_000_000])
def test_a_cursor_that_no_address_can_hold(proxy: FaultProxy, client: MLPlatform, length: int) -> None:
    proxy.fail(_json({"items": [], "next_cursor": "x" * length}), on="get_clusters")
    with pytest.raises(UnexpectedAnswerException, match=f"next page has {length} bytes"):
        client.get_clusters()


def _log(text: bytes, offset: int, *, announced: int | None = None) -> Fault:
    length = len(text) if announced is None else announced
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nX-Log-Offset: {offset}\r\nX-Log-Final: true\r\n\r\n"
    return saying(head.encode() + text)


@pytest.mark.parametrize("age", ["1e308", "-1e308", "1e-308"])
def test_the_log_of_a_job_of_any_age(proxy: FaultProxy, client: MLPlatform, age: str) -> None:
    """It is asked for how young the job is: a young one's log is waited for."""
    job = {"job_name": "j", "status": "RUNNING", "created_at": "2026-01-01T00:00:00Z", "ui_url": "", "age": 0}
    body = json.dumps(job).replace('"age": 0', f'"age": {age}').encode()
    proxy.fail(_log(b"text", 0), on="spark_job_logs")
    proxy.fail(saying(answer("200 OK", body, "Content-Type: application/json")), on="spark_job_info")
    assert client.spark_job_logs("c", "j").logs == "text"


def test_a_log_goes_on_where_it_broke(proxy: FaultProxy, client: MLPlatform) -> None:
    proxy.fail(_log(b"one ", 0, announced=8), _log(b"two", 4), on="spark_job_logs")
    assert client.spark_job_logs("c", "j", wait=0).logs == "one two"


def test_another_part_of_the_log_than_was_asked_for(proxy: FaultProxy, client: MLPlatform) -> None:
    proxy.fail(_log(b"one ", 0, announced=8), _log(b"three", 9), on="spark_job_logs")
    with pytest.raises(UnexpectedAnswerException, match="another part of the log"):
        client.spark_job_logs("c", "j", wait=0)


def test_offsets_at_the_end_of_all_numbers(proxy: FaultProxy, client: MLPlatform) -> None:
    proxy.always(_log(b"text", 2**64 - 2, announced=8), on="spark_job_logs")
    with pytest.raises(UnexpectedAnswerException, match="another part of the log"):
        client.spark_job_logs("c", "j", wait=0)


def test_a_log_that_announces_too_much_is_not_read(proxy: FaultProxy, client: MLPlatform) -> None:
    proxy.fail(_log(b"text", 0, announced=512 * 1024 * 1024 + 1), on="spark_job_logs")
    with pytest.raises(UnexpectedAnswerException, match="longer than 512 MiB"):
        client.spark_job_logs("c", "j", wait=0)


def _token(number: int) -> dict[str, Any]:
    times = {"exp": None, "created_at": "2026-01-01T00:00:00Z"}
    return {"id": f"tok_{number}", "name": f"name-{number}", "type": "USER", "issuer_name": "i", **times}


TOKENS = json.dumps([_token(number) for number in range(1000)])
# A page of the list, with its number in the cursor.
ENDLESS = {
    "a million tokens and more": f'{{"items": {TOKENS}, "next_cursor": "%d"}}',
    "long names": f'{{"items": [{json.dumps({**_token(1), "name": "x" * 7_000_000})}], "next_cursor": "%d"}}',
    "what nobody reads": '{"items": [], "more": "' + "x" * 7_000_000 + '", "next_cursor": "%d"}',
}
# Prints what became of it, and the most memory that this process ever had, in KiB.
ASK = """
import resource, sys
from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import UnexpectedAnswerException
try:
    eval(sys.argv[1], {"mlp": MLPlatform(sys.stdin.read(), url=sys.argv[2], timeout=110)})
except UnexpectedAnswerException as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is counted otherwise elsewhere")
@pytest.mark.parametrize(
    ("pages", "method", "call"),
    [(pages, "get_project_tokens_info", "mlp.get_project_tokens_info()") for pages in ENDLESS]
    + [("what nobody reads", "get_audit", "mlp.get_audit(limit=None)")],
)
def test_pages_without_an_end(platform: LocalPlatform, proxy: FaultProxy, pages: str, method: str, call: str) -> None:
    """They are given up after a million items or 256 MiB. Before, all that came within the timeout was held."""
    numbers = itertools.count(1)

    async def page(exchange: Exchange) -> None:
        body = ENDLESS[pages] % next(numbers)
        await exchange.stream(answer("200 OK", body.encode(), "Content-Type: application/json"))

    proxy.always(page, on=method)
    command = [sys.executable, "-c", ASK, call, proxy.url]
    done = subprocess.run(command, input=platform.admin_token, capture_output=True, text=True, check=True)
    told, peak = done.stdout.splitlines()
    assert "longer than 1000000 items or 256 MiB of JSON" in told
    assert int(peak) < 1024 * 1024
    assert proxy.sent < 300 * 1024 * 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is counted otherwise elsewhere")
def test_an_answer_that_unfolds(platform: LocalPlatform, proxy: FaultProxy) -> None:
    """A number of one digit takes two bytes on the way, and sixteen times as many in memory."""
    body = b"[" + b"0," * 3_900_000 + b"0]"

    async def unfolding(exchange: Exchange) -> None:
        await exchange.stream(answer("200 OK", body, "Content-Type: application/json"))

    proxy.always(unfolding, on="describe_spark_job")
    call = "mlp.describe_spark_job('c', 'j')"
    command = [sys.executable, "-c", ASK, call, proxy.url]
    done = subprocess.run(command, input=platform.admin_token, capture_output=True, text=True, check=False)
    assert int(done.stdout.splitlines()[-1]) < 1024 * 1024, done.stderr


@pytest.mark.parametrize("status", ["403 Forbidden", "500 Internal Server Error"])
def test_a_refusal_without_an_end(proxy: FaultProxy, client: MLPlatform, status: str) -> None:
    text = json.dumps({"status": int(status[:3]), "errorCode": "x", "errorParams": {"field": "x" * 1_100_000}})
    proxy.always(saying(answer(status, text.encode(), "Content-Type: application/json")), on="who_am_i")
    with pytest.raises(UnexpectedAnswerException, match="is longer than 1 MiB"):
        client.who_am_i()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 418, 429, 500, 503])
def test_a_token_that_is_sent_back_is_shown_nowhere(
    platform: LocalPlatform, proxy: FaultProxy, client: MLPlatform, status: int
) -> None:
    """By a platform, or whoever answers in its place: it is masked in every part of the exception."""
    value = str(platform.admin_token)
    params = {"field": f"no: {value}", value: 1, "more": [{"deep": {value: value}}, value]}
    body = json.dumps({"status": status, "errorCode": f"{value}Exception", "errorParams": params})
    headers = ("Content-Type: application/json", f"X-Request-Id: {value}", f"X-{value[:4]}: {value}")
    proxy.always(saying(answer(f"{status} {value}", body.encode(), *headers)), on="who_am_i")
    with pytest.raises(MLPlatformException) as caught:
        client.who_am_i(timeout=3)
    error = caught.value
    assert error.status == status
    assert error.field == "no: mlpr_***"
    assert error.request_id == "mlpr_***"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), vars(again)) == (str(error), vars(error))
    chain: list[BaseException] = [error, again]
    for one in chain:
        chain += [other for other in (one.__cause__, one.__context__) if other is not None]
    shown = [text for one in chain for text in (str(one), repr(one), repr(one.args), repr(vars(one)))]
    shown += traceback.format_exception(type(error), error, error.__traceback__)
    shown.append(pickle.dumps(error).decode("latin-1"))
    assert not TOKEN.search("".join(shown))
    assert "mlpr_***" in str(error)


def test_a_token_that_is_sent_back_as_a_name_is_not_warned_of(platform: LocalPlatform, proxy: FaultProxy) -> None:
    value = str(platform.admin_token)
    ends = {**_token(1), "name": value, "created_at": "2026-01-01T00:00:00Z", "exp": "2026-03-01T00:00:00Z"}
    session = {"session_token": "s", "expires_in": 600, "token": ends, "now": "2026-02-27T00:00:00Z"}
    proxy.always(_json(session, "201 Created"), on="create_session")
    proxy.always(_json(ends), on="who_am_i")
    with MLPlatform(value, url=proxy.url) as client, pytest.warns(UserWarning, match="expires in 2 days") as told:
        client.who_am_i()
    assert not TOKEN.search("".join(str(warning.message) for warning in told))
