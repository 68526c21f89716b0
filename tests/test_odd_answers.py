"""What a platform that is broken, or hostile, may send: numbers, times, cursors and offsets that nobody expects."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faults import Fault, FaultProxy, saying
from faults import http as answer
from faults.calls import line

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import UnexpectedAnswerException
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
    proxy.fail(_session(seconds), on=line("create_session"))
    assert client.who_am_i().name == "admin"
    assert client.who_am_i().name == "admin"


@pytest.mark.parametrize("seconds", [-1, 2**64, 1.5, "600", None])
def test_a_session_of_no_length(proxy: FaultProxy, client: MLPlatform, seconds: Any) -> None:
    proxy.fail(_session(seconds), on=line("create_session"))
    with pytest.raises(UnexpectedAnswerException, match="JSON of another form"):
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
    proxy.fail(*(_json({"items": [], "next_cursor": cursor}) for cursor in cursors), on=line(method))
    with pytest.raises(UnexpectedAnswerException, match="lead back to one that was read already"):
        ask(client)
    asked = [exchange for exchange in proxy.exchanges if exchange.line == line(method)]
    assert len(asked) == len(set(cursors)) + 1


@pytest.mark.parametrize("year", [-9999, 0])
def test_a_time_before_all_calendars(proxy: FaultProxy, client: MLPlatform, year: int) -> None:
    given = f"{year:07d}-01-02T03:04:05Z" if year else "0000-01-02T03:04:05Z"
    token = {"id": "tok_1", "name": "n", "type": "USER", "issuer_name": "i", "exp": None, "created_at": given}
    proxy.fail(_json(token), on=line("who_am_i"))
    with pytest.raises(UnexpectedAnswerException, match="Python cannot hold: the time"):
        client.who_am_i()


def test_the_last_moment(proxy: FaultProxy, client: MLPlatform) -> None:
    last = datetime.datetime(9999, 12, 30, 22, 0, 0, 999999, tzinfo=datetime.timezone.utc)
    token = {"id": "tok_1", "name": "n", "type": "USER", "issuer_name": "i", "exp": last.isoformat()}
    proxy.fail(_json({**token, "created_at": "0001-01-01T00:00:00Z"}), on=line("who_am_i"))
    assert client.who_am_i().exp == last


def _log(text: bytes, offset: int, *, announced: int | None = None) -> Fault:
    length = len(text) if announced is None else announced
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nX-Log-Offset: {offset}\r\nX-Log-Final: true\r\n\r\n"
    return saying(head.encode() + text)


LOGS = "GET /v1_0/magnum/c/jobs/j/logs"


@pytest.mark.parametrize("age", ["1e308", "-1e308", "1e-308"])
def test_the_log_of_a_job_of_any_age(proxy: FaultProxy, client: MLPlatform, age: str) -> None:
    """It is asked for how young the job is: a young one's log is waited for."""
    job = {"job_name": "j", "status": "RUNNING", "created_at": "2026-01-01T00:00:00Z", "ui_url": "", "age": 0}
    body = json.dumps(job).replace('"age": 0', f'"age": {age}').encode()
    proxy.fail(_log(b"text", 0), on=LOGS)
    proxy.fail(saying(answer("200 OK", body, "Content-Type: application/json")), on=LOGS.removesuffix("/logs"))
    assert client.spark_job_logs("c", "j").logs == "text"


def test_a_log_goes_on_where_it_broke(proxy: FaultProxy, client: MLPlatform) -> None:
    proxy.fail(_log(b"one ", 0, announced=8), _log(b"two", 4), on=LOGS)
    assert client.spark_job_logs("c", "j", wait=0).logs == "one two"


def test_another_part_of_the_log_than_was_asked_for(proxy: FaultProxy, client: MLPlatform) -> None:
    proxy.fail(_log(b"one ", 0, announced=8), _log(b"three", 9), on=LOGS)
    with pytest.raises(UnexpectedAnswerException, match="another part of the log"):
        client.spark_job_logs("c", "j", wait=0)


def test_offsets_at_the_end_of_all_numbers(proxy: FaultProxy, client: MLPlatform) -> None:
    proxy.always(_log(b"text", 2**64 - 2, announced=8), on=LOGS)
    with pytest.raises(UnexpectedAnswerException, match="another part of the log"):
        client.spark_job_logs("c", "j", wait=0)


def test_a_log_that_announces_too_much_is_not_read(proxy: FaultProxy, client: MLPlatform) -> None:
    proxy.fail(_log(b"text", 0, announced=512 * 1024 * 1024 + 1), on=LOGS)
    with pytest.raises(UnexpectedAnswerException, match="longer than 512 MiB"):
        client.spark_job_logs("c", "j", wait=0)
