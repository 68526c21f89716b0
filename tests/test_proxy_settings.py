"""The environment's proxy settings: what this client, requests and curl do with each, on a real proxy that records."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import requests
import trustme

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import (
    ConfigurationException,
    ConnectionException,
    MLPlatformException,
    TimeoutException,
)
from mlplatform_client.testing._background import Background

# What a client did. `tunnel` and `forward` reached the proxy (with these credentials); `elsewhere` tried a proxy that
# is not there; `direct` tried the platform itself; `error` tried nothing.
TUNNEL, FORWARD, ELSEWHERE, DIRECT, ERROR = "tunnel", "forward", "elsewhere", "direct", "error"


def tunnel(user: str) -> str:
    return f"{TUNNEL} as {user}"


# The columns of curl are those of this release: others differ in details.
CURL = "curl 7.88."

NAME, PLAIN = "https://platform.example", "http://platform.example"
# No client takes these for loopback addresses, though they lead to this machine. Nothing listens there.
V4, V6, MAPPED = "https://0.0.0.0:9", "https://[::]:9", "https://[::ffff:0.0.0.0]:9"
P, DEAD = "http://{proxy}", "http://127.0.0.1:9"
NAMES = ("platform.example", "platform.example.", "xn--e1afmkfd.xn--p1ai")


class Row(NamedTuple):
    settings: dict[str, str]
    url: str
    client: str
    requests: str
    curl: str
    # Where this client is alone, or the two others differ.
    why: str = ""


def value(text: str, client: str, requests: str, curl: str, why: str = "") -> Row:
    return Row({"https_proxy": text}, NAME, client, requests, curl, why)


def exempt(entries: str, url: str, client: str, requests: str, curl: str, why: str = "") -> Row:
    return Row({"https_proxy": P, "no_proxy": entries}, url, client, requests, curl, why)


TABLE = [
    # --- values
    value(P, TUNNEL, TUNNEL, TUNNEL),
    value("{proxy}", TUNNEL, TUNNEL, TUNNEL),
    value("HTTP://{proxy}", TUNNEL, TUNNEL, TUNNEL),
    value("http://{proxy}/", TUNNEL, TUNNEL, TUNNEL),
    value("http://{proxy}/proxy.pac", TUNNEL, TUNNEL, TUNNEL),
    value("http://{proxy}?x", TUNNEL, TUNNEL, TUNNEL),
    value("//{proxy}", ERROR, TUNNEL, ERROR, "there is no host where one belongs"),
    value("http:/{proxy}", ERROR, ERROR, TUNNEL, "read strictly, the host is named http"),
    value("http:{proxy}", ERROR, ERROR, ERROR),
    value("://{proxy}", ERROR, ERROR, ERROR),
    value("http://", ERROR, ERROR, ERROR),
    value("http://:3128", ERROR, ERROR, ERROR),
    value("http://{proxy}\n", ERROR, ERROR, ERROR),
    value("\nhttp://{proxy}", ERROR, ERROR, ERROR),
    value(" http://{proxy}", ERROR, ERROR, ERROR),
    value("http://{proxy} ", ERROR, ERROR, ERROR),
    value("\thttp://{proxy}", ERROR, ERROR, ERROR),
    value(" ", ERROR, ERROR, ERROR),
    value("'http://{proxy}'", ERROR, ELSEWHERE, ERROR, "no host has a quotation mark in its name"),
    value('"http://{proxy}"', ERROR, ELSEWHERE, ERROR, "no host has a quotation mark in its name"),
    value("http://{proxy},http://127.0.0.1:9", ERROR, ERROR, ERROR),
    value("http://{proxy} http://127.0.0.1:9", ERROR, ERROR, ERROR),
    value("http://$PROXY", ERROR, ELSEWHERE, ERROR, "no host has a dollar sign in its name"),
    value("http://127.0.0.1:99999", ERROR, ERROR, ERROR),
    value("http://127.0.0.1:port", ERROR, ERROR, ERROR),
    value("http://127.0.0.1:0", ERROR, ELSEWHERE, ELSEWHERE, "nothing can listen there"),
    value("http://::1:9", ERROR, ERROR, ERROR),
    value("http://[::1]:9", ELSEWHERE, ELSEWHERE, ELSEWHERE),
    value("http://no_such_proxy.invalid:9", ELSEWHERE, ELSEWHERE, ELSEWHERE),
    value("none", ELSEWHERE, ELSEWHERE, ELSEWHERE),
    value(DEAD, ELSEWHERE, ELSEWHERE, ELSEWHERE),
    value("socks://{proxy}", ERROR, ERROR, TUNNEL, "SOCKS is not spoken here, nor by requests without PySocks"),
    value("socks5h://{proxy}", ERROR, ERROR, TUNNEL, "SOCKS is not spoken here, nor by requests without PySocks"),
    value("ftp://{proxy}", ERROR, ERROR, ERROR),
    value("direct://", ERROR, ERROR, ERROR),
    # --- user names and passwords
    value("http://anna:pw@{proxy}", tunnel("anna:pw"), tunnel("anna:pw"), tunnel("anna:pw")),
    value("anna:pw@{proxy}", tunnel("anna:pw"), ERROR, tunnel("anna:pw"), "requests wants the scheme then"),
    value("http://anna@{proxy}", tunnel("anna:"), TUNNEL, tunnel("anna:"), "requests leaves out a name alone"),
    value("http://anna:@{proxy}", tunnel("anna:"), tunnel("anna:"), tunnel("anna:")),
    value("http://:pw@{proxy}", tunnel(":pw"), TUNNEL, tunnel(":pw"), "requests leaves out a password alone"),
    value("http://anna:p:w@{proxy}", tunnel("anna:p:w"), tunnel("anna:p:w"), tunnel("anna:p:w")),
    value("http://anna:p%40w@{proxy}", tunnel("anna:p@w"), tunnel("anna:p@w"), tunnel("anna:p@w")),
    value("http://anna:p@w@{proxy}", tunnel("anna:p@w"), tunnel("anna:p@w"), ERROR, "no host has a '@' in its name"),
    value("http://anna:100%@{proxy}", tunnel("anna:100%"), tunnel("anna:100%"), tunnel("anna:100%")),
    value("http://anna:p%zzw@{proxy}", tunnel("anna:p%zzw"), tunnel("anna:p%zzw"), tunnel("anna:p%zzw")),
    value("http://anna:p%20w@{proxy}", tunnel("anna:p w"), tunnel("anna:p w"), tunnel("anna:p w")),
    value("http://anna:p w@{proxy}", ERROR, tunnel("anna:p w"), ERROR, "white space is a mistake more often"),
    value("http://CORP%5Canna:pw@{proxy}", tunnel("CORP\\anna:pw"), tunnel("CORP\\anna:pw"), tunnel("CORP\\anna:pw")),
    value("http://CORP\\anna:pw@{proxy}", ERROR, ELSEWHERE, tunnel("CORP\\anna:pw"), "to requests, corp is the host"),
    value("http://anna:пароль@{proxy}", tunnel("anna:пароль"), ERROR, tunnel("anna:пароль"), "requests has Latin-1"),
    value("http://anna:%D1%8F@{proxy}", tunnel("anna:я"), ERROR, tunnel("anna:я"), "requests has Latin-1"),
    value("http://anna:p/w@{proxy}", ERROR, ERROR, ERROR),
    value("http://anna:p#w@{proxy}", ERROR, ERROR, ERROR),
    value("http://anna:p?w@{proxy}", ERROR, ERROR, ERROR),
    value("http://anna:p%0Aw@{proxy}", ERROR, tunnel("anna:p\nw"), DIRECT, "RFC 7617 allows none; curl goes direct"),
    value("http://anna:p%00w@{proxy}", ERROR, tunnel("anna:p\0w"), DIRECT, "RFC 7617 allows none; curl goes direct"),
    value("https://{secure}", TUNNEL, TUNNEL, TUNNEL),
    # --- which variable
    Row({}, NAME, DIRECT, DIRECT, DIRECT),
    Row({"HTTPS_PROXY": P}, NAME, TUNNEL, TUNNEL, TUNNEL),
    Row({"https_proxy": P, "HTTPS_PROXY": DEAD}, NAME, TUNNEL, TUNNEL, TUNNEL),
    Row({"https_proxy": DEAD, "HTTPS_PROXY": P}, NAME, ELSEWHERE, ELSEWHERE, ELSEWHERE),
    Row({"https_proxy": P, "HTTPS_PROXY": ""}, NAME, TUNNEL, TUNNEL, TUNNEL),
    Row({"https_proxy": "", "HTTPS_PROXY": P}, NAME, TUNNEL, DIRECT, TUNNEL, "an empty variable is none"),
    Row({"https_proxy": "", "HTTPS_PROXY": ""}, NAME, DIRECT, DIRECT, DIRECT),
    Row({"Https_Proxy": P}, NAME, DIRECT, TUNNEL, DIRECT, "only Python knows this spelling"),
    Row({"all_proxy": P}, NAME, TUNNEL, TUNNEL, TUNNEL),
    Row({"ALL_PROXY": P}, NAME, TUNNEL, TUNNEL, TUNNEL),
    Row({"all_proxy": P, "ALL_PROXY": DEAD}, NAME, TUNNEL, TUNNEL, TUNNEL),
    Row({"https_proxy": "", "ALL_PROXY": P}, NAME, TUNNEL, TUNNEL, TUNNEL),
    Row({"HTTPS_PROXY": P, "all_proxy": DEAD}, NAME, TUNNEL, TUNNEL, TUNNEL),
    Row({"HTTPS_PROXY": P, "ALL_PROXY": "socks5://{proxy}"}, NAME, TUNNEL, TUNNEL, TUNNEL),
    Row({"http_proxy": P}, NAME, DIRECT, DIRECT, DIRECT),
    Row({"http_proxy": "'"}, NAME, DIRECT, DIRECT, DIRECT),
    Row({"https_proxy": P}, PLAIN, DIRECT, DIRECT, DIRECT),
    Row({"http_proxy": P}, PLAIN, FORWARD, FORWARD, FORWARD),
    Row({"http_proxy": "http://anna:pw@{proxy}"}, PLAIN, *[f"{FORWARD} as anna:pw"] * 3),
    Row({"HTTP_PROXY": P}, PLAIN, FORWARD, FORWARD, DIRECT, "curl never reads this one"),
    Row({"http_proxy": "", "HTTP_PROXY": P}, PLAIN, FORWARD, DIRECT, DIRECT, "an empty variable is none"),
    Row({"http_proxy": DEAD}, PLAIN, ELSEWHERE, ELSEWHERE, ELSEWHERE),
    Row({"ALL_PROXY": P}, PLAIN, FORWARD, FORWARD, FORWARD),
    Row({"HTTP_PROXY": P, "REQUEST_METHOD": "GET"}, PLAIN, DIRECT, DIRECT, DIRECT),
    Row({"http_proxy": P, "REQUEST_METHOD": "GET"}, PLAIN, FORWARD, FORWARD, FORWARD),
    Row({"HTTP_PROXY": DEAD, "ALL_PROXY": P, "REQUEST_METHOD": "GET"}, PLAIN, FORWARD, FORWARD, FORWARD),
    Row({"HTTPS_PROXY": P, "REQUEST_METHOD": "GET"}, NAME, TUNNEL, TUNNEL, TUNNEL),
    # --- NO_PROXY
    exempt("*", NAME, DIRECT, DIRECT, DIRECT),
    exempt("*", V4, DIRECT, DIRECT, DIRECT),
    exempt("*", V6, DIRECT, DIRECT, DIRECT),
    exempt("a.example, *", NAME, DIRECT, TUNNEL, TUNNEL, "a '*' can mean nothing else"),
    exempt("*,a.example", V4, DIRECT, TUNNEL, TUNNEL, "a '*' can mean nothing else"),
    exempt("platform.example", NAME, DIRECT, DIRECT, DIRECT),
    exempt("Platform.EXAMPLE", NAME, DIRECT, DIRECT, DIRECT),
    exempt(".platform.example", NAME, DIRECT, DIRECT, DIRECT),
    exempt("example", NAME, DIRECT, DIRECT, DIRECT),
    exempt(".example", NAME, DIRECT, DIRECT, DIRECT),
    exempt("*.example", NAME, DIRECT, TUNNEL, TUNNEL, "so it is written for other programs, and can mean nothing else"),
    exempt("form.example", NAME, TUNNEL, TUNNEL, TUNNEL),
    exempt("localhost", NAME, TUNNEL, TUNNEL, TUNNEL),
    exempt("platform.example.", NAME, DIRECT, TUNNEL, DIRECT, "the dot of the root is no part of a name"),
    exempt("platform.example", "https://platform.example.", DIRECT, TUNNEL, DIRECT, "the same"),
    exempt("platform.example:443", NAME, DIRECT, TUNNEL, TUNNEL, "it is that port, written or not"),
    exempt("platform.example:8443", NAME, TUNNEL, TUNNEL, TUNNEL),
    exempt("platform.example:8443", f"{NAME}:8443", DIRECT, DIRECT, TUNNEL, "curl knows no ports here"),
    exempt(".example:8443", f"{NAME}:8443", DIRECT, DIRECT, TUNNEL, "curl knows no ports here"),
    exempt("platform.example:443", f"{NAME}:8443", TUNNEL, TUNNEL, TUNNEL),
    exempt("a.example platform.example", NAME, DIRECT, TUNNEL, DIRECT, "requests takes the spaces out"),
    exempt(" , ,platform.example,", NAME, DIRECT, DIRECT, DIRECT),
    exempt("https://platform.example", NAME, TUNNEL, TUNNEL, TUNNEL),
    exempt("0.0.0.0", V4, DIRECT, DIRECT, DIRECT),  # noqa: S104 - nothing is bound to it
    exempt("0.0.0.0:9", V4, DIRECT, TUNNEL, TUNNEL, "a port is one with an address, too"),
    exempt("0.0.0.0:8", V4, TUNNEL, TUNNEL, TUNNEL),
    exempt("0.0.0.0/8", V4, DIRECT, DIRECT, DIRECT),
    exempt("0.1.2.3/8", V4, DIRECT, DIRECT, DIRECT),
    exempt("10.0.0.0/8", V4, TUNNEL, TUNNEL, TUNNEL),
    exempt("0.0.0.0/33", V4, TUNNEL, TUNNEL, TUNNEL),
    exempt("0.0.0.0/8", NAME, TUNNEL, TUNNEL, TUNNEL),
    exempt("::", V6, DIRECT, DIRECT, DIRECT),
    exempt("[::]", V6, DIRECT, TUNNEL, TUNNEL, "so an address is called"),
    exempt("[::]:9", V6, DIRECT, TUNNEL, TUNNEL, "a port is one with an address, too"),
    exempt("[::]:8", V6, TUNNEL, TUNNEL, TUNNEL),
    exempt("0:0:0:0:0:0:0:0", V6, DIRECT, TUNNEL, TUNNEL, "another spelling of it"),
    exempt("::/64", V6, DIRECT, TUNNEL, TUNNEL, "networks of IPv6 are networks, too"),
    exempt("fd00::/8", V6, TUNNEL, TUNNEL, TUNNEL),
    exempt("0.0.0.0/8", MAPPED, DIRECT, TUNNEL, TUNNEL, "it is that address"),
    exempt("пример.рф", "https://пример.рф", DIRECT, TUNNEL, TUNNEL, "they compare with the ASCII form"),
    exempt("xn--e1afmkfd.xn--p1ai", "https://пример.рф", DIRECT, DIRECT, DIRECT),
    Row({"https_proxy": P, "NO_PROXY": "platform.example"}, NAME, DIRECT, DIRECT, DIRECT),
    Row({"https_proxy": P, "NO_PROXY": "platform.example", "no_proxy": "a.example"}, NAME, TUNNEL, TUNNEL, TUNNEL),
    Row({"https_proxy": P, "NO_PROXY": "a.example", "no_proxy": "platform.example"}, NAME, DIRECT, DIRECT, DIRECT),
    Row({"https_proxy": P, "NO_PROXY": "", "no_proxy": "platform.example"}, NAME, DIRECT, DIRECT, DIRECT),
    Row({"https_proxy": P, "NO_PROXY": "platform.example", "no_proxy": ""}, NAME, DIRECT, DIRECT, DIRECT),
    Row({"https_proxy": "'", "no_proxy": "platform.example"}, NAME, DIRECT, DIRECT, DIRECT),
    # --- this machine
    Row({"http_proxy": P}, "http://127.0.0.1:9", DIRECT, FORWARD, FORWARD, "nothing of this machine's leaves it"),
    Row({"all_proxy": P}, "http://localhost:9", DIRECT, FORWARD, FORWARD, "nothing of this machine's leaves it"),
    Row({"all_proxy": P}, "https://[::1]:9", DIRECT, TUNNEL, TUNNEL, "nothing of this machine's leaves it"),
    Row({"all_proxy": "'"}, "http://127.0.0.1:9", DIRECT, ELSEWHERE, ERROR, "nothing of this machine's leaves it"),
]


class Recorder(Background):
    """Notes what it is asked, and wants credentials that nobody has: that ends the matter for every client."""

    def __init__(self, seen: list[str], tls: ssl.SSLContext | None = None) -> None:
        self._seen = seen
        super().__init__(tls)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start = await reader.readexactly(1)
        if not start.isalpha():
            # SOCKS.
            self._seen.append(TUNNEL)
            return
        head = (start + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        basic = "proxy-authorization: basic "
        users = [base64.b64decode(line[len(basic) :]).decode() for line in head if line.lower().startswith(basic)]
        kind = TUNNEL if head[0].startswith("CONNECT ") else FORWARD
        self._seen.append(" as ".join([kind, *users]))
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


class Stage(NamedTuple):
    """Two proxies, one of them behind TLS, and what they were asked."""

    seen: list[str]
    plain: Recorder
    secure: Recorder
    authority: Path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    authority, seen = trustme.CA(), list[str]()
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Recorder(seen) as plain, Recorder(seen, context) as secure:
        yield Stage(seen, plain, secure, path)


@pytest.fixture
def stage(shared: Stage, row: Row, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """With the settings of one row in the environment."""
    shared.seen.clear()
    for name, text in row.settings.items():
        there = text.replace("{proxy}", shared.plain.address).replace("{secure}", shared.secure.address)
        monkeypatch.setenv(name, there)
    return shared


def _id(row: Row) -> str:
    settings = " ".join(f"{name}={text!r}" for name, text in row.settings.items())
    return f"{settings or 'nothing'} {row.url}".encode("ascii", "backslashreplace").decode()


rows = pytest.mark.parametrize("row", TABLE, ids=_id)


def test_where_clients_differ_the_reason_is_told() -> None:
    for row in TABLE:
        assert bool(row.why) == (len({row.client, row.requests, row.curl}) > 1), row


@rows
@pytest.mark.filterwarnings("ignore:tokens are sent to")
def test_this_client(row: Row, stage: Stage) -> None:
    # Nothing answers where the platform itself is tried, and another attempt would show nothing more.
    timeout = 0.5 if row.client == DIRECT else 60
    with pytest.raises(MLPlatformException) as caught:
        MLPlatform("a token", url=row.url, allow_http=True, timeout=timeout, ca_bundle=stage.authority).who_am_i()
    error, told = caught.value, f"{caught.value} {caught.value.hint}"
    assert not any(secret in told for secret in ("pw", "p w", "p/w", "p#w", "p?w", "p%0", "CORP\\"))
    variable = next(iter(row.settings), "")
    if isinstance(error, ConfigurationException):
        found = ERROR
        assert f"the environment variable {variable} (its value is masked)" in told
    elif stage.seen:
        found = stage.seen[0]
        assert "user name and password" in told
    elif "the proxy cannot be reached" in told:
        found = ELSEWHERE
        assert f"{variable} names the proxy http" in told
    else:
        found = DIRECT
        assert isinstance(error, (ConnectionException, TimeoutException))
    assert (found, len(stage.seen)) == (row.client, int(row.client.startswith((TUNNEL, FORWARD))))


@rows
def test_requests(row: Row, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _addresses_alone(socket.getaddrinfo))
    try:
        requests.get(row.url, timeout=60, verify=str(stage.authority))
        found = FORWARD
    except requests.exceptions.ProxyError:
        found = ELSEWHERE
    except requests.exceptions.ConnectionError:
        found = DIRECT
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError):
        found = ERROR
    assert (stage.seen[0] if stage.seen else found) == row.requests


def _addresses_alone(resolve: Callable[..., Any]) -> Callable[..., Any]:
    """No name leads anywhere, and no name server is asked."""

    def resolve_address(host: str, *args: Any, **kwargs: Any) -> Any:
        try:
            ipaddress.ip_address(host)
        except ValueError as problem:
            raise socket.gaierror(socket.EAI_NONAME, str(problem)) from None
        return resolve(host, *args, **kwargs)

    return resolve_address


@pytest.fixture(scope="module")
def curl() -> str:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("there is no curl on this machine")
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.split(" (")[0]
    if not version.startswith(CURL):
        pytest.skip(f"the table tells what {CURL}x does, and this is {version}")
    return program


@rows
def test_curl(row: Row, stage: Stage, curl: str) -> None:
    # Names lead to where nobody listens, and no name server is asked.
    names = [f"{name}:{port}:127.0.0.1" for name in NAMES for port in (80, 443, 8443)]
    options = ["--silent", "--show-error", "--output", os.devnull, "--max-time", "60"]
    options += [part for name in names for part in ("--resolve", name)]
    ran = subprocess.run(
        [curl, *options, "--proxy-cacert", stage.authority, row.url], check=False, capture_output=True, text=True
    )
    host = (urlsplit(row.url).hostname or "").encode("idna").decode()
    if stage.seen:
        found = stage.seen[0]
    elif "Could not resolve proxy" in ran.stderr:
        found = ELSEWHERE
    elif "nsupported proxy" in ran.stderr:
        found = ERROR
    else:
        assert "Failed to connect to" in ran.stderr
        found = DIRECT if f"Failed to connect to {host} " in ran.stderr else ELSEWHERE
    assert found == row.curl, ran.stderr


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.filterwarnings("ignore:tokens are sent to")
def test_a_proxy_with_which_no_tls_can_be_spoken_is_to_blame(
    shared: Stage, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    for proxy in (shared.plain, shared.secure):
        monkeypatch.setenv("ALL_PROXY", f"https://{proxy.address}")
        client = MLPlatform("a token", url=f"{scheme}://platform.example", allow_http=True)
        with pytest.raises(ConnectionException, match="the proxy cannot be reached") as caught:
            client.who_am_i()
        assert str(caught.value.hint).startswith(f"ALL_PROXY names the proxy https://{proxy.address}: ")


def test_a_setting_that_is_no_text_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def setenv(name: str, value: bytes) -> None:
        monkeypatch.setenv(name, os.fsdecode(value))

    setenv("https_proxy", b"http://anna:\xff@127.0.0.1:9")
    with pytest.raises(ConfigurationException, match=r"https_proxy .*: it is not UTF-8"):
        MLPlatform("a token", url=NAME)
    setenv("no_proxy", b"\xff, platform.example")
    MLPlatform("a token", url=NAME)
    setenv("MLP_URL", b"https://\xff.example")
    with pytest.raises(ConfigurationException, match="MLP_URL"):
        MLPlatform("a token")
