"""What users are told when the platform cannot be reached, or is not one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from faults import HTML, FaultProxy, endless, hang, http, reset, saying

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import (
    ConfigurationException,
    ConnectionException,
    TimeoutException,
    UnexpectedAnswerException,
)
from mlplatform_client.local import LocalPlatform


@pytest.fixture
def elsewhere() -> Iterator[FaultProxy]:
    """An address where no platform is."""
    with FaultProxy("http://127.0.0.1:9") as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (http("200 OK", HTML, "Content-Type: text/html"), 200, "web page"),
        (http("302 Found", b"", "Location: http://portal.example/"), 302, "redirects are not followed"),
        (http("404 Not Found", b'{"message": "no"}', "Content-Type: application/json"), 404, "JSON in another format"),
        (http("403 Forbidden", HTML), 403, "web page"),
        (http("201 Created", b'{"session": 1}', "Content-Type: application/json"), 201, "JSON in another format"),
        (http("500 Internal Server Error"), 500, "sent an empty answer"),
        (http("407 Proxy Authentication Required", b"who?"), 407, "proxy requires"),
        (http("504 Gateway Timeout", HTML, "Retry-After: 99"), 504, "load balancer"),
    ],
)
def test_somebody_else_answers(elsewhere: FaultProxy, answer: bytes, status: int, said: str) -> None:
    elsewhere.always(saying(answer))
    with pytest.raises(UnexpectedAnswerException, match=said) as caught:
        MLPlatform("a token", url=elsewhere.url).who_am_i()
    assert caught.value.status == status
    assert elsewhere.url in str(caught.value)
    assert "MLP_URL" in str(caught.value.hint)
    assert "airport" not in str(caught.value)


def test_a_captive_portal_with_an_endless_answer_is_given_up(elsewhere: FaultProxy) -> None:
    elsewhere.always(endless)
    with pytest.raises(UnexpectedAnswerException, match="its answer is longer than"):
        MLPlatform("a token", url=elsewhere.url).who_am_i()


def test_not_http_at_all(elsewhere: FaultProxy) -> None:
    elsewhere.always(saying(b"SSH-2.0-OpenSSH_9.2\r\n"))
    with pytest.raises(ConnectionException, match="does not speak HTTP") as caught:
        MLPlatform("a token", url=elsewhere.url).who_am_i()
    assert caught.value.__cause__ is not None


def test_a_server_that_comes_back_is_reached_again(elsewhere: FaultProxy) -> None:
    """The first two connections break before an answer; the third brings one."""
    refusal = http("403 Forbidden", b'{"status":403,"errorCode":"ForbiddenException"}')
    elsewhere.fail(reset, saying(b""), saying(refusal))
    with pytest.raises(PermissionError) as caught:
        MLPlatform("a token", url=elsewhere.url).who_am_i()
    assert (elsewhere.requests, caught.value.attempts) == (3, 3)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("url", "said", "hint"),
    [
        ("http://127.0.0.1:9", "nothing listens there", "check that the platform runs"),
        ("https://no-such-host.invalid", "cannot be resolved", "spelling"),
    ],
)
def test_nobody_is_there(url: str, said: str, hint: str) -> None:
    with pytest.raises(ConnectionException, match=said) as caught:
        MLPlatform("a token", url=url).who_am_i()
    assert hint in str(caught.value.hint)
    assert isinstance(caught.value, ConnectionError)
    assert isinstance(caught.value.__cause__, OSError)


def test_a_dead_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(ConnectionException, match="proxy cannot be reached") as caught:
        MLPlatform("a token", url="https://platform.example").who_am_i()
    assert "NO_PROXY" in str(caught.value.hint)


def test_loopback_never_goes_through_a_proxy(monkeypatch: pytest.MonkeyPatch, platform: LocalPlatform) -> None:
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert MLPlatform(platform.admin_token, url=platform.url).who_am_i().name == "admin"


def test_the_timeout_holds_for_the_whole_call(elsewhere: FaultProxy) -> None:
    elsewhere.always(hang)
    calls: list[Callable[[], object]] = [
        lambda: MLPlatform("a token", url=elsewhere.url, timeout=0.5).who_am_i(),
        lambda: MLPlatform("a token", url=elsewhere.url).who_am_i(timeout=0.5),
    ]
    for call in calls:
        began = time.monotonic()
        with pytest.raises(TimeoutException, match=r"no answer within 0\.5 s") as caught:
            call()
        # Without it, a minute.
        assert 0.4 < time.monotonic() - began < 30
        assert "MLP_TIMEOUT" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"MLP_URL": "127.0.0.1:8765"}, r"url is '127.0.0.1:8765' \(from the environment variable MLP_URL\)"),
        ({"MLP_URL": "http://platform.example"}, "unencrypted"),
        ({"MLP_TIMEOUT": "soon"}, r"timeout is 'soon' \(from the environment variable MLP_TIMEOUT\)"),
        ({"MLP_ALLOW_HTTP": "maybe"}, "write 1 or 0"),
    ],
)
def test_settings_say_where_they_came_from(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationException, match=said):
        MLPlatform("a token")


def test_a_missing_ca_bundle_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLP_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(ConfigurationException, match=r"MLP_CA_BUNDLE.*PEM"):
        MLPlatform("a token", url="https://platform.example").who_am_i()


def test_plain_http_is_allowed_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="unencrypted"):
        MLPlatform("a token", url="http://platform.example", allow_http=True)
