"""What stands between client and platform: certificates, proxies, redirects, waits. And what users read about it."""

from __future__ import annotations

import datetime
import email.utils
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from conftest import TOKEN
from faults import ConnectProxy, FaultProxy, TlsFront, hang, portal, redirect, reset, saying, unavailable
from faults import http as answer

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import (
    ConfigurationException,
    ConnectionException,
    MLPlatformException,
    ServiceUnavailableException,
    TimeoutException,
    UnexpectedAnswerException,
)
from mlplatform_client.local import LocalPlatform

AUTHORITY, OTHERS = trustme.CA(), trustme.CA()
DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PEM files: the authority, a client's certificate with and without its key, and what is not right."""
    folder = tmp_path_factory.mktemp("pem")
    mine, another = AUTHORITY.issue_cert("anna@example.com"), AUTHORITY.issue_cert("boris@example.com")
    AUTHORITY.cert_pem.write_to_path(folder / "ca.pem")
    mine.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    mine.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    mine.private_key_pem.write_to_path(folder / "key.pem")
    another.private_key_pem.write_to_path(folder / "another-key.pem")
    OTHERS.issue_cert("eve@example.com").private_key_and_cert_chain_pem.write_to_path(folder / "others.pem")
    (folder / "empty.pem").write_text("nothing\n")
    sealed = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
    (folder / "sealed-key.pem").write_text(sealed)
    return folder


def _tls(certificate: trustme.LeafCert | None = None, demanding: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (certificate or AUTHORITY.issue_cert("127.0.0.1", "platform.example")).configure_cert(context)
    if demanding:
        AUTHORITY.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture(scope="module")
def secure(platform: LocalPlatform) -> Iterator[FaultProxy]:
    """The platform behind TLS."""
    with FaultProxy(platform.url, tls=_tls()) as front:
        yield front


def _with_causes(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *_with_causes(error.__cause__)]


# --- client certificates


@pytest.fixture(scope="module")
def demanding(platform: LocalPlatform) -> Iterator[TlsFront]:
    """The platform behind TLS that lets in only whom the authority has certified."""
    with TlsFront(platform.url, _tls(demanding=True)) as front:
        yield front


def test_a_client_certificate_opens_the_door(
    demanding: TlsFront, platform: LocalPlatform, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLP_URL", demanding.url)
    monkeypatch.setenv("MLP_CA_BUNDLE", str(files / "ca.pem"))
    token = platform.admin_token
    assert MLPlatform(token, client_cert=files / "both.pem").who_am_i().name == "admin"
    assert MLPlatform(token, client_cert=files / "cert.pem", client_key=files / "key.pem").who_am_i().name == "admin"
    # The key is the one that is named, also when the other file holds one.
    with pytest.raises(ConfigurationException, match="does not match the certificate"):
        MLPlatform(token, client_cert=files / "both.pem", client_key=files / "another-key.pem").who_am_i()
    monkeypatch.setenv("MLP_CLIENT_CERT", str(files / "cert.pem"))
    monkeypatch.setenv("MLP_CLIENT_KEY", str(files / "key.pem"))
    assert MLPlatform(token).who_am_i().name == "admin"


@pytest.mark.parametrize("given", [None, "others.pem"])
def test_without_the_right_one_it_is_told_which_setting_is_missing(
    demanding: TlsFront, platform: LocalPlatform, files: Path, given: str | None
) -> None:
    certificate = None if given is None else files / given
    client = MLPlatform(platform.admin_token, url=demanding.url, ca_bundle=files / "ca.pem", client_cert=certificate)
    with pytest.raises(ConnectionException, match="client certificate") as caught:
        client.who_am_i()
    assert "MLP_CLIENT_CERT" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("cert", "key", "said"),
    [
        ("nowhere.pem", None, "No such file"),
        ("empty.pem", None, "contains no certificate"),
        ("cert.pem", None, r"contains no readable private key.*client_key= or MLP_CLIENT_KEY"),
        ("cert.pem", "nowhere.pem", r"client_key is .*No such file"),
        ("cert.pem", "empty.pem", "contains no readable private key"),
        ("cert.pem", "another-key.pem", "does not match the certificate"),
        ("cert.pem", "sealed-key.pem", "its private key is encrypted"),
        (None, "key.pem", "a key needs its certificate"),
    ],
)
def test_files_that_cannot_be_meant(files: Path, cert: str | None, key: str | None, said: str) -> None:
    with pytest.raises(ConfigurationException, match=said):
        MLPlatform(
            "a token",
            url="https://platform.example",
            client_cert=None if cert is None else files / cert,
            client_key=None if key is None else files / key,
        ).who_am_i(timeout=5)


# --- authorities


def test_the_store_of_the_system_is_asked(
    secure: FaultProxy, platform: LocalPlatform, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(files / "ca.pem"))
    assert MLPlatform(platform.admin_token, url=secure.url).who_am_i().name == "admin"


def test_a_machine_without_a_store_has_the_bundled_authorities(
    secure: FaultProxy, platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They do not know ours: the connection is refused for that reason, and not because there are none."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")
    with pytest.raises(ConnectionException, match="no known authority has signed it"):
        MLPlatform(platform.admin_token, url=secure.url).who_am_i()
    assert MLPlatform(platform.admin_token, url=platform.url).who_am_i().name == "admin"


# --- proxies; which of them is asked: test_proxy_settings.py


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("user", [None, "anna:pa:ss@w0rd"])
def test_a_proxy_is_asked_for_a_tunnel(
    secure: FaultProxy,
    platform: LocalPlatform,
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    user: str | None,
) -> None:
    with ConnectProxy(secure.port, user) as proxy:
        credentials = "anna:pa%3Ass%40w0rd@" if user else ""
        monkeypatch.setenv(variable, f"http://{credentials}{proxy.address}")
        client = MLPlatform(platform.admin_token, url="https://platform.example", ca_bundle=files / "ca.pem")
        assert client.who_am_i().name == "admin"
        client.stop()
    # More than once where the second request leaves before the first one's connection is free again.
    assert (set(proxy.asked), set(proxy.credentials)) == ({"platform.example:443"}, {user or ""})


def test_the_password_of_a_proxy_is_never_shown(
    secure: FaultProxy, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with ConnectProxy(secure.port, "anna:right") as proxy:
        for address, said in (
            (proxy.address, "requires a user name and password"),
            ("127.0.0.1:9", "cannot be reached"),
        ):
            monkeypatch.setenv("HTTPS_PROXY", f"http://anna:hunter2@{address}")
            client = MLPlatform("a token", url="https://platform.example")
            with pytest.raises(ConnectionException, match=said) as caught:
                client.who_am_i()
            shown = f"{client!r} {caught.value.hint} {caught.value.__dict__} {_with_causes(caught.value)!r}"
            assert "hunter2" not in shown
            assert "YW5uYT" not in shown
    assert proxy.credentials == ["anna:hunter2"]
    assert "hunter2" not in "".join(capfd.readouterr())


# --- redirects and waits


def test_a_redirect_is_not_followed_and_nothing_goes_along(platform: LocalPlatform) -> None:
    with FaultProxy(platform.url) as elsewhere, FaultProxy(platform.url) as proxy:
        proxy.always(redirect(f"{elsewhere.url}/v1_0/sessions"))
        client = MLPlatform(platform.admin_token, url=proxy.url)
        with pytest.raises(UnexpectedAnswerException, match="redirects elsewhere"):
            client.who_am_i()
        assert (elsewhere.connections, proxy.requests) == (0, 1)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_server_that_asks_for_a_pause_gets_it(platform: LocalPlatform, form: str) -> None:
    with FaultProxy(platform.url) as proxy:
        # A date has whole seconds: two ahead are at least one.
        wait = "1" if form == "seconds" else email.utils.formatdate(time.time() + 2, usegmt=True)
        proxy.fail(unavailable(wait))
        began = time.monotonic()
        assert MLPlatform(platform.admin_token, url=proxy.url).who_am_i().name == "admin"
        assert time.monotonic() - began >= 0.9
        assert proxy.requests == 3


@pytest.mark.parametrize("form", ["seconds", "more than a number holds", "date"])
def test_a_pause_beyond_the_deadline_is_told_at_once(form: str) -> None:
    body = b'{"status":503,"errorCode":"ServiceUnavailableException","errorParams":{"field":"busy"}}'
    later = email.utils.formatdate(time.time() + 121, usegmt=True)
    wait = {"seconds": "120", "more than a number holds": "1" * 30, "date": later}[form]
    with FaultProxy("http://127.0.0.1:9") as proxy:
        proxy.always(saying(answer("503 Service Unavailable", body, f"Retry-After: {wait}")))
        began = time.monotonic()
        with pytest.raises(ServiceUnavailableException) as caught:
            MLPlatform("a token", url=proxy.url).who_am_i(timeout=60)
        # The deadline is a minute.
        assert time.monotonic() - began < 45
        assert (proxy.requests, caught.value.attempts) == (1, 1)
        assert "retry after 1" in str(caught.value.hint)


def test_when_time_runs_out_the_failure_before_is_told(platform: LocalPlatform) -> None:
    with FaultProxy(platform.url) as proxy:
        proxy.fail(reset)
        proxy.always(hang)
        with pytest.raises(
            TimeoutException, match=r"no answer within 10 s .*attempt 2.*: the connection broke"
        ) as caught:
            MLPlatform(platform.admin_token, url=proxy.url).who_am_i(timeout=10)
    assert caught.value.attempts == 2
    assert "firewalls" in str(caught.value.hint)


# --- what a user reads


@pytest.mark.parametrize(
    ("leaf", "said", "hints"),
    [
        (OTHERS.issue_cert("127.0.0.1"), "no known authority has signed it", "MLP_CA_BUNDLE"),
        (AUTHORITY.issue_cert("127.0.0.1", not_after=NOW - DAY, not_before=NOW - 2 * DAY), "it has expired", "renew"),
        (AUTHORITY.issue_cert("127.0.0.1", not_before=NOW + DAY), "it is not valid yet", "clock"),
        (AUTHORITY.issue_cert("other.example"), "it was issued for another host", "MLP_URL"),
    ],
    ids=["unknown authority", "expired", "not yet valid", "another host"],
)
def test_a_certificate_that_is_not_trusted(
    platform: LocalPlatform, files: Path, leaf: trustme.LeafCert, said: str, hints: str
) -> None:
    with FaultProxy(platform.url, tls=_tls(leaf)) as front:
        client = MLPlatform(platform.admin_token, url=front.url, ca_bundle=files / "ca.pem")
        with pytest.raises(ConnectionException) as caught:
            client.who_am_i()
        assert (front.requests, caught.value.attempts) == (0, 1)
    assert str(caught.value) == f"{front.url}: its certificate is not trusted: {said}"
    assert hints in str(caught.value.hint)
    assert not TOKEN.search(repr(caught.value.__dict__))


def test_an_authority_is_no_server(platform: LocalPlatform, files: Path) -> None:
    """What the usual recipe for a self-signed certificate makes may sign others, and TLS lets no server show it."""
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with AUTHORITY.cert_pem.tempfile() as certificate, AUTHORITY.private_key_pem.tempfile() as key:
        own.load_cert_chain(certificate, key)
    with FaultProxy(platform.url, tls=own) as front, pytest.raises(ConnectionException) as caught:
        MLPlatform(platform.admin_token, url=front.url, ca_bundle=files / "ca.pem").who_am_i()
    assert str(caught.value).endswith(
        "its certificate is not trusted: it is the certificate of an authority, not of a server"
    )
    assert "CA:FALSE" in str(caught.value.hint)


def test_the_names_of_a_certificate_for_another_host_are_told(platform: LocalPlatform, files: Path) -> None:
    with FaultProxy(platform.url, tls=_tls(AUTHORITY.issue_cert("other.example"))) as front:
        with pytest.raises(ConnectionException) as caught:
            MLPlatform(platform.admin_token, url=front.url, ca_bundle=files / "ca.pem").who_am_i()
        assert "other.example" in " ".join(map(str, _with_causes(caught.value)))


def test_https_to_a_platform_without_tls(platform: LocalPlatform) -> None:
    with pytest.raises(ConnectionException, match="does not speak TLS") as caught:
        MLPlatform(platform.admin_token, url=platform.url.replace("http", "https")).who_am_i()
    assert caught.value.attempts == 1
    assert "http://" in str(caught.value.hint)


def test_http_to_a_platform_with_tls(secure: FaultProxy, platform: LocalPlatform) -> None:
    with pytest.raises(ConnectionException) as caught:
        MLPlatform(platform.admin_token, url=secure.url.replace("https", "http")).who_am_i()
    assert "https://" in str(caught.value.hint)


def test_a_portal_in_front_of_tls(files: Path) -> None:
    """It signs with its own authority, as airports and companies do."""
    with FaultProxy("http://127.0.0.1:9", tls=_tls(OTHERS.issue_cert("127.0.0.1"))) as front:
        front.always(portal)
        with pytest.raises(MLPlatformException) as caught:
            MLPlatform("a token", url=front.url, ca_bundle=files / "ca.pem").who_am_i()
    assert "a proxy that inspects TLS" in str(caught.value.hint)
    assert front.requests == 0
