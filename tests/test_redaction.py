"""Where a token's value may be seen, and where not."""

from __future__ import annotations

import json
import logging
import pprint
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import yaml
from conftest import TOKEN, Newcomer

from mlplatform_client import MLPlatform, TokenStr
from mlplatform_client.core.exceptions import BadRequestException, MLPlatformException
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType


def test_masked_and_plain(newcomer: Newcomer, caplog: pytest.LogCaptureFixture) -> None:
    _, token = newcomer()
    value = str(token)
    assert type(token) is TokenStr
    assert type(value) is str
    logging.getLogger("a notebook").warning("got %r", token)
    masked = [repr(token), f"{token!r}", f"{token=}", repr([token]), repr({"t": token}), pprint.pformat((token,))]
    masked.append("%r" % token)  # noqa: UP031 - this very form is promised
    masked.append(caplog.text)
    for text in masked:
        assert value not in text
        assert value[6:12] not in text
    plain = [f"{token}", "%s" % token, format(token), "".join([token]), token[:], json.loads(json.dumps(token))]  # noqa: UP031
    assert set(plain) == {value}


def test_exact_type_str_is_what_some_libraries_ask_for() -> None:
    """Documented in TokenStr: they refuse it, and take str(token)."""
    token = TokenStr("a token")
    with pytest.raises(yaml.representer.RepresenterError):
        yaml.safe_dump({"token": token})
    assert yaml.safe_dump({"token": str(token)}) == "token: a token\n"


def test_a_traceback_with_locals_shows_none(newcomer: Newcomer, platform: LocalPlatform) -> None:
    name, token = newcomer()
    mlp = MLPlatform(token, url=platform.url)
    try:
        mlp.delete_token(name)
    except MLPlatformException as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        chained = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    assert "token = TokenStr('mlpr_********')" in shown
    assert not TOKEN.search(shown + chained + repr(mlp) + str(mlp))


def test_no_exception_holds_a_token(newcomer: Newcomer, platform: LocalPlatform) -> None:
    _, token = newcomer()
    nowhere = "http://127.0.0.1:9"
    damaged = token[:-1] + "!"
    for call in (
        lambda: MLPlatform(token, url=nowhere).who_am_i(timeout=1),
        lambda: MLPlatform(damaged, url=platform.url).who_am_i(),
        lambda: MLPlatform(url=platform.url).create_refresh_token(damaged.replace("mlpr_", "mlpx_")),
        lambda: MLPlatform(url=platform.url).create_refresh_token(token),
        lambda: MLPlatform(token, url=platform.url, timeout=-1),
        lambda: MLPlatform(token, url=f"http://{token}@127.0.0.1:9"),
        lambda: MLPlatform(token, url=platform.url).create_register_token("x", "1h", token_type=MLPTokenType.USER),
        # Pasted where something else belongs.
        lambda: MLPlatform(url=token),
        lambda: MLPlatform(token, url=platform.url, ca_bundle=token).who_am_i(),
        lambda: MLPlatform(token, url=platform.url).delete_token(token),
        lambda: MLPlatform(token, url=platform.url).delete_token(token + "\n"),
        lambda: MLPlatform(token, url=platform.url).create_register_token(token, "1h", token_type=MLPTokenType.USER),
        lambda: MLPlatform(token, url=platform.url).create_register_token("x", token, token_type=MLPTokenType.USER),
        lambda: MLPlatform(token, url=platform.url).create_register_token("x", "1h", token_type=token),  # type: ignore[arg-type]
        lambda: MLPlatform(token, url=platform.url).delete_token("x", **{str(token): 1.0}),
    ):
        with pytest.raises((MLPlatformException, TypeError)) as caught:
            call()
        texts: list[str] = []
        error: BaseException | None = caught.value
        while error is not None:
            texts += [str(error), repr(error), repr(vars(error))]
            error = error.__cause__
        assert str(token)[5:37] not in " ".join(texts)


def test_a_token_given_as_a_name_reaches_neither_store_nor_log(platform: LocalPlatform, admin: MLPlatform) -> None:
    """The audit keeps the name of a refused deletion, and lists show names: a value must not stand there for ever."""
    # Not the file admin-token, which is there to hold one.
    value = str(admin.create_register_token("for-a-name", "1h", token_type=MLPTokenType.USER))
    for name in (value, f"x {value}", f"{value}\n"):
        with pytest.raises(BadRequestException, match="value of a token"):
            admin.delete_token(name)
        with pytest.raises(BadRequestException, match="value of a token"):
            admin.create_register_token(name, "1h", token_type=MLPTokenType.USER)
    kept = [path.read_bytes() for path in Path(platform.data_dir).rglob("*") if path.is_file()]
    assert not any(value[5:37].encode() in content for content in kept)


def test_an_uncaught_error_in_a_script_shows_none(platform: LocalPlatform, newcomer: Newcomer) -> None:
    _, token = newcomer()
    script = "import sys; from mlplatform_client import MLPlatform; MLPlatform(sys.stdin.read()).delete_token('admin')"
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", script],
        input=token,
        env={"MLP_URL": platform.url, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "does not contain the following scopes" in done.stderr
    if sys.version_info >= (3, 11):
        assert "Hint: this needs a token with the role Administrator" in done.stderr
    assert not TOKEN.search(done.stderr + done.stdout)
