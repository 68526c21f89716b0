"""The platform behind TLS, with an authority of one's own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from mlplatform_client import MLPlatform, TokenStr
from mlplatform_client.core.exceptions import ConfigurationException, ConnectionException
from mlplatform_client.local import _find_program


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(str(folder / "cert.pem"), append=True)
    return folder


@pytest.fixture(scope="module")
def secure(authority: Path) -> Iterator[tuple[str, TokenStr]]:
    """Address and Administrator's token of a server with TLS."""
    command = [_find_program(), "serve", "--data-dir", str(authority / "data"), "--listen", "127.0.0.1:0"]
    command += ["--tls-cert", str(authority / "cert.pem"), "--tls-key", str(authority / "key.pem")]
    with subprocess.Popen(
        [*command, "--no-jobs", "--exit-on-stdin-eof"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        ready = json.loads(server.stdout.readline())
        yield ready["url"], TokenStr(Path(ready["admin_token_file"]).read_text().strip())
        assert server.stdin is not None
        server.stdin.close()
    assert server.returncode == 0


def test_an_own_authority_is_named_by_argument_or_variable(
    secure: tuple[str, TokenStr], authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, token = secure
    assert url.startswith("https://")
    assert MLPlatform(token, url=url, ca_bundle=authority / "ca.pem").who_am_i().name == "admin"
    monkeypatch.setenv("MLP_CA_BUNDLE", str(authority / "ca.pem"))
    assert MLPlatform(token, url=url).who_am_i().name == "admin"


def test_a_file_without_certificates_is_no_bundle(secure: tuple[str, TokenStr], authority: Path) -> None:
    url, token = secure
    with pytest.raises(ConfigurationException, match="contains no certificate"):
        MLPlatform(token, url=url, ca_bundle=authority / "key.pem").who_am_i()


def test_http_to_it_says_what_to_write(secure: tuple[str, TokenStr]) -> None:
    url, token = secure
    with pytest.raises(ConnectionException) as caught:
        MLPlatform(token, url=url.replace("https", "http")).who_am_i()
    assert "https://" in str(caught.value.hint)
