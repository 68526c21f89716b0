"""The five token methods against a real platform: every call form, what they return, whom they refuse."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import TOKEN, Newcomer

from mlplatform_client import MLPlatform, TokenStr
from mlplatform_client.core.exceptions import (
    BadRequestException,
    ConfigurationException,
    ConflictException,
    ForbiddenException,
    NotFoundException,
)
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenInfo, MLPTokenType

USER, ADMIN = MLPTokenType.USER, MLPTokenType.ADMIN


@pytest.mark.parametrize(
    "create",
    [
        lambda mlp, name: mlp.create_register_token(name, "2h45m30s", token_type=USER),
        lambda mlp, name: mlp.create_register_token(name, access_ttl="2h45m30s", token_type=USER),
        lambda mlp, name: mlp.create_register_token(client_name=name, access_ttl="2h45m30s", token_type=USER),
        lambda mlp, name: mlp.create_register_token(
            client_name=name, access_ttl="2h45m30s", refresh_ttl="2h", token_type=ADMIN
        ),
        lambda mlp, name: mlp.create_register_token(
            token_type=USER, refresh_ttl=None, access_ttl="90s", client_name=name
        ),
        lambda mlp, name: mlp.create_register_token(name, "1.5h", refresh_ttl="7d", token_type=USER, timeout=30),
        lambda mlp, name: mlp.create_register_token(
            name, datetime.timedelta(minutes=5), refresh_ttl=datetime.timedelta(days=1), token_type=USER
        ),
        lambda mlp, name: mlp.create_register_token(name, 300, refresh_ttl=86400.5, token_type="USER"),
    ],
)
def test_create_register_token_call_forms(
    admin: MLPlatform, create: Callable[[MLPlatform, str], TokenStr], request: pytest.FixtureRequest
) -> None:
    name = f"form {request.node.callspec.indices['create']}"
    register_token = create(admin, name)
    assert isinstance(register_token, str)
    assert TOKEN.fullmatch(register_token)
    assert register_token.startswith("mlpx_")


def test_create_refresh_token_call_forms(admin: MLPlatform, platform: LocalPlatform) -> None:
    """By position and by keyword, without a token, and with white space around what was pasted."""
    nobody = MLPlatform(url=platform.url)
    forms: list[Callable[[str], TokenStr]] = [
        lambda token: nobody.create_refresh_token(token),
        lambda token: nobody.create_refresh_token(register_token=token),
        lambda token: nobody.create_refresh_token(f"  {token}\n"),
    ]
    for number, redeem in enumerate(forms):
        name = f"redeemed {number}"
        refresh_token = redeem(admin.create_register_token(name, "1h", token_type=USER))
        assert TOKEN.fullmatch(refresh_token)
        assert refresh_token.startswith("mlpr_")
        assert MLPlatform(refresh_token=refresh_token, url=platform.url).who_am_i().name == name


def test_redeeming_ignores_the_environment_and_does_not_adopt(
    admin: MLPlatform, platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_token = admin.create_register_token("not adopted", "1h", token_type=USER)
    monkeypatch.setenv("MLP_REFRESH_TOKEN", "mlpr_damaged")
    MLPlatform(url=platform.url).create_refresh_token(register_token)
    monkeypatch.delenv("MLP_REFRESH_TOKEN")
    nobody = MLPlatform(url=platform.url)
    with pytest.raises(ForbiddenException):
        nobody.create_refresh_token(register_token)
    with pytest.raises(ConfigurationException, match="needs an access token") as caught:
        nobody.who_am_i()
    assert "MLP_REFRESH_TOKEN" in str(caught.value.hint)


def test_who_am_i(newcomer: Newcomer, platform: LocalPlatform) -> None:
    before = datetime.datetime.now(datetime.timezone.utc)
    name, token = newcomer(refresh_ttl="2h")
    info = MLPlatform(token, url=platform.url).who_am_i()
    assert (info.name, info.type, info.issuer_name) == (name, USER, "admin")
    assert info.id.startswith("tok_")
    assert info.exp is not None
    assert info.exp.tzinfo is not None
    lifetime = info.exp - info.created_at
    assert lifetime == datetime.timedelta(hours=2)
    assert abs(info.created_at - before) < datetime.timedelta(minutes=1)
    assert str(info) == f"Token {name}:\n\tid: {info.id}\n\ttype: USER\n\tissuer_name: admin\n\texp: {info.exp}"


def test_an_access_token_without_lifetime_never_expires(newcomer: Newcomer, platform: LocalPlatform) -> None:
    name, token = newcomer(ADMIN)
    info = MLPlatform(token, url=platform.url).who_am_i()
    assert info.exp is None
    assert str(info) == f"Token {name}:\n\tid: {info.id}\n\ttype: ADMIN\n\tissuer_name: admin\n\texp: None"


def test_the_list_holds_access_tokens_only(admin: MLPlatform, newcomer: Newcomer) -> None:
    admin.create_register_token("never redeemed", "1h", token_type=USER)
    name, _ = newcomer()
    infos = admin.get_project_tokens_info()
    assert all(isinstance(info, MLPTokenInfo) for info in infos)
    names = [info.name for info in infos]
    assert name in names
    assert "admin" in names
    assert "never redeemed" not in names


@pytest.mark.parametrize("by_keyword", [True, False])
def test_delete_token(admin: MLPlatform, newcomer: Newcomer, platform: LocalPlatform, by_keyword: bool) -> None:
    name, token = newcomer()
    colleague = MLPlatform(token, url=platform.url)
    colleague.who_am_i()
    call: Callable[[], object] = (
        (lambda: admin.delete_token(token_name=name)) if by_keyword else (lambda: admin.delete_token(name))
    )
    assert call() is None
    assert name not in [info.name for info in admin.get_project_tokens_info()]
    with pytest.raises(ForbiddenException) as caught:
        colleague.who_am_i()
    assert caught.value.field == "Forbidden"
    with pytest.raises(NotFoundException):
        admin.delete_token(name)


def test_a_user_is_refused_with_the_documented_text(newcomer: Newcomer, platform: LocalPlatform) -> None:
    name, token = newcomer()
    colleague = MLPlatform(token, url=platform.url)
    calls: list[Callable[[], object]] = [
        lambda: colleague.create_register_token("x", "1h", token_type=USER),
        lambda: colleague.delete_token("admin"),
        lambda: colleague.get_project_tokens_info(),
    ]
    for call in calls:
        with pytest.raises(ForbiddenException) as caught:
            call()
        field = f"{name} token does not contain the following scopes: ['ml-platform:Manage']"
        assert str(caught.value) == (
            '<Response [403]>. Info: {"status":403,"errorCode":"ForbiddenException",'
            f'"errorParams":{{"field":"{field}"}}}}'
        )
        error = caught.value
        assert (error.status, error.error_code, error.field, error.attempts) == (403, "ForbiddenException", field, 1)
        assert str(error.request_id).startswith("req_")
        assert "Administrator" in str(error.hint)


def test_a_second_redeem_says_when_the_first_was(admin: MLPlatform) -> None:
    register_token = admin.create_register_token("redeemed twice", "1h", token_type=USER)
    admin.create_refresh_token(register_token)
    with pytest.raises(
        ForbiddenException, match=r"registration token was already redeemed at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
    ):
        admin.create_refresh_token(register_token)


def test_an_expired_registration_token_is_refused(admin: MLPlatform) -> None:
    register_token = admin.create_register_token("too late", "1s", token_type=USER)
    deadline = time.monotonic() + 1.1
    threading.Event().wait(max(0.0, deadline - time.monotonic()))
    with pytest.raises(ForbiddenException) as caught:
        admin.create_refresh_token(register_token)
    assert caught.value.field == "Forbidden"
    assert "token has expired" in str(caught.value.hint)


def test_an_expired_access_token_is_refused(newcomer: Newcomer, platform: LocalPlatform) -> None:
    _, token = newcomer(refresh_ttl="1s")
    with MLPlatform(token, url=platform.url) as colleague:
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up:
            try:
                colleague.who_am_i()
            except ForbiddenException as error:
                assert error.field == "Forbidden"
                assert "token has expired" in str(error.hint)
                return
    pytest.fail("a token with a lifetime of one second still works after a minute")


def test_names_of_living_tokens_are_unique(admin: MLPlatform, newcomer: Newcomer) -> None:
    early = admin.create_register_token("the same", "1h", token_type=USER)
    late = admin.create_register_token("the same", "1h", token_type=USER)
    admin.create_refresh_token(early)
    with pytest.raises(ConflictException):
        admin.create_register_token("the same", "1h", token_type=USER)
    with pytest.raises(ConflictException):
        admin.create_refresh_token(late)
    admin.delete_token("the same")
    admin.create_refresh_token(late)  # the conflict did not use it up


@pytest.mark.parametrize("name", ["..", "a/b", "Анна", "<script>alert(1)</script>", "🙂" * 64, "100% & more?#"])
def test_any_visible_name_can_be_used_and_deleted(admin: MLPlatform, platform: LocalPlatform, name: str) -> None:
    token = admin.create_refresh_token(admin.create_register_token(name, "1h", token_type=USER))
    assert MLPlatform(token, url=platform.url).who_am_i().name == name
    admin.delete_token(name)
    assert name not in [info.name for info in admin.get_project_tokens_info()]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"client_name": ""}, "must not be empty"),
        ({"client_name": "x" * 65}, "at most 64"),
        ({"client_name": "a\u200bb"}, "U\\+200B"),
        ({"access_ttl": "2"}, "'2' is not a lifetime: a unit is missing"),
        ({"access_ttl": "0s"}, "at least one second"),
        ({"access_ttl": "-2h"}, "at least one second"),
        ({"access_ttl": 0.5}, "at least one second"),
        ({"refresh_ttl": "300y"}, "'300y' is not a lifetime"),
        ({"refresh_ttl": "9999999h"}, "about 292 years"),
        ({"token_type": "admin"}, "'admin' is not a role"),
        ({"timeout": -1}, "above 0"),
    ],
)
def test_bad_values_are_told_before_anything_is_sent(
    admin: MLPlatform, arguments: dict[str, object], said: str
) -> None:
    given: dict[str, object] = {"client_name": "good", "access_ttl": "1h", "token_type": USER, **arguments}
    with pytest.raises(BadRequestException, match=said) as caught:
        admin.create_register_token(**given)  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError)
    assert (caught.value.status, caught.value.attempts) == (None, 0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda mlp: mlp.create_register_token("a", "1h", refesh_ttl="2h", token_type=USER),
            "'refesh_ttl'; did you mean 'refresh_ttl'",
        ),
        (lambda mlp: mlp.create_refresh_token("x", tiemout=1), "did you mean 'timeout'"),
        (lambda mlp: mlp.delete_token("x", tokenname="x"), "did you mean 'token_name'"),
        (lambda mlp: mlp.who_am_i(zzz=1), "unexpected keyword argument 'zzz'; it knows timeout"),
        (lambda mlp: mlp.create_register_token("a", True, token_type=USER), "not bool"),
        (lambda mlp: mlp.create_register_token("a", ["1h"], token_type=USER), "not list"),
        (lambda mlp: mlp.create_register_token("a", "1h", token_type=1), "MLPTokenType.USER or"),
        (lambda mlp: mlp.create_register_token("a", "1h"), "token_type"),
    ],
)
def test_wrong_calls_are_type_errors(admin: MLPlatform, call: Callable[[MLPlatform], object], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        call(admin)


def test_stop_ignores_and_names_what_it_does_not_know(platform: LocalPlatform) -> None:
    mlp = MLPlatform(platform.admin_token, url=platform.url)
    with pytest.warns(UserWarning, match="stop\\(\\) ignores the keyword argument 'force'"):
        mlp.stop(force=True)
    assert mlp.who_am_i().name == "admin"  # it connects anew


def test_a_mistyped_or_wrong_kind_of_token_is_told_before_it_is_sent(
    admin: MLPlatform, newcomer: Newcomer, platform: LocalPlatform
) -> None:
    _, token = newcomer()
    swapped = token[:-1] + ("a" if token[-1] != "a" else "b")
    for bad in (swapped, token[:-3], token + "x"):
        with pytest.raises(BadRequestException, match="at least one character is wrong or missing"):
            MLPlatform(bad, url=platform.url).who_am_i()
    register_token = admin.create_register_token("never redeemed", "1h", token_type=USER)
    with pytest.raises(BadRequestException, match="redeem it with create_refresh_token"):
        MLPlatform(register_token, url=platform.url).who_am_i()
    with pytest.raises(BadRequestException, match="this is an access token"):
        admin.create_refresh_token(token)


@pytest.mark.parametrize("unknown", ["somebody else's token", "mlpr_" + "0" * 32 + "0cuwx1"])
def test_an_unknown_token_is_refused_with_the_documented_text(platform: LocalPlatform, unknown: str) -> None:
    """Opaque values are passed on as they are; a well-formed one that nobody made gets the same answer."""
    if unknown.startswith("mlpr_"):
        unknown = _well_formed("mlpr_" + "0" * 32)
    with pytest.raises(ForbiddenException) as caught:
        MLPlatform(unknown, url=platform.url).who_am_i()
    assert str(caught.value) == (
        '<Response [403]>. Info: {"status":403,"errorCode":"ForbiddenException","errorParams":{"field":"Forbidden"}}'
    )


def _well_formed(body: str) -> str:
    """The checksum as SECURITY.md publishes it, written a second time."""
    import zlib

    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = alphabet[digit] + digits
    return body + digits


def test_1024_redeems_from_32_threads_give_one_token(admin: MLPlatform, platform: LocalPlatform) -> None:
    register_token = admin.create_register_token("raced for", "1h", token_type=USER)
    nobody = MLPlatform(url=platform.url)
    start = threading.Barrier(32)

    def redeem(_: int) -> list[str]:
        start.wait()
        outcomes = []
        for _ in range(32):
            try:
                nobody.create_refresh_token(register_token)
                outcomes.append("redeemed")
            except ForbiddenException as error:
                outcomes.append(str(error.field)[:38])
        return outcomes

    with ThreadPoolExecutor(32) as pool:
        outcomes = [outcome for outcomes in pool.map(redeem, range(32)) for outcome in outcomes]
    assert len(outcomes) == 1024
    assert outcomes.count("redeemed") == 1
    assert (
        outcomes.count("registration token was already redeemed")
        + outcomes.count("registration token was already redeeme")
        == 1023
    )
    assert [info.name for info in admin.get_project_tokens_info()].count("raced for") == 1


def test_a_hundred_threads_make_one_exchange(newcomer: Newcomer, platform: LocalPlatform) -> None:
    """Seen in the server's access log."""
    _, token = newcomer()
    colleague = MLPlatform(token, url=platform.url)
    log = f"{platform.data_dir}/server.log"

    def exchanges() -> int:
        with open(log, encoding="utf-8") as file:
            return sum("/v1_0/sessions" in line for line in file)

    before = exchanges()
    start = threading.Barrier(100)

    def ask(_: int) -> str:
        start.wait()
        return colleague.who_am_i().name

    with ThreadPoolExecutor(100) as pool:
        assert len(set(pool.map(ask, range(100)))) == 1
    assert exchanges() - before == 1
