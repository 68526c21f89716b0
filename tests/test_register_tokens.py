"""Registration tokens through their whole life: waiting, redeemed, expired, withdrawn; replays shown to the issuer."""

from __future__ import annotations

import datetime
import pickle
from collections.abc import Callable

import pytest
from conftest import TOKEN, Newcomer

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import (
    BadRequestException,
    ConflictException,
    ForbiddenException,
    NotFoundException,
)
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPRegisterTokenInfo, MLPRegisterTokenState, MLPTokenType

USER, ADMIN = MLPTokenType.USER, MLPTokenType.ADMIN
State = MLPRegisterTokenState


def of(admin: MLPlatform, name: str) -> MLPRegisterTokenInfo:
    """The newest one that makes a token of that name."""
    return [info for info in admin.get_register_tokens_info() if info.client_name == name][-1]


def test_waiting(admin: MLPlatform) -> None:
    before = datetime.datetime.now(datetime.timezone.utc)
    admin.create_register_token("waiting", "2h", refresh_ttl="1.5h", token_type=ADMIN)
    info = of(admin, "waiting")
    assert (info.type, info.issuer_name, info.state) == (ADMIN, "admin", State.WAITING)
    assert type(info.state) is State
    assert info.refresh_ttl == datetime.timedelta(hours=1, minutes=30)
    assert info.exp - info.created_at == datetime.timedelta(hours=2)
    assert abs(info.created_at - before) < datetime.timedelta(minutes=1)
    assert (info.redeemed_at, info.redeemed_address, info.withdrawn_at, info.replay_count) == (None, None, None, 0)
    assert str(info) == (
        f"Register token waiting:\n\tid: {info.id}\n\ttype: ADMIN\n\tissuer_name: admin\n\texp: {info.exp}\n"
        "\trefresh_ttl: 1:30:00\n\tstate: WAITING"
    )
    assert not TOKEN.search(repr(info))
    assert repr(info) == f"<MLPRegisterTokenInfo client_name='waiting' type='ADMIN' state='WAITING' exp={info.exp}>"


def test_redeemed_by_whom_and_a_second_redeem_that_was_tried(admin: MLPlatform, platform: LocalPlatform) -> None:
    register_token = admin.create_register_token("seen twice", "1h", token_type=USER)
    token = admin.create_refresh_token(register_token)
    whoever = MLPlatform(token, url=platform.url).who_am_i()
    info = of(admin, "seen twice")
    assert (info.state, info.redeemed_address) == (State.REDEEMED, "127.0.0.1")
    assert (info.redeemed_token_id, info.redeemed_token_name) == (whoever.id, "seen twice")
    assert info.redeemed_at == whoever.created_at
    assert (info.replay_count, info.last_replay_at, info.refresh_ttl) == (0, None, None)
    for _ in range(2):
        with pytest.raises(ForbiddenException, match="already redeemed"):
            admin.create_refresh_token(register_token)
    info = of(admin, "seen twice")
    assert info.replay_count == 2
    assert info.last_replay_at is not None
    assert info.redeemed_at is not None
    assert info.last_replay_at > info.redeemed_at
    assert str(info).endswith(
        f"\n\tstate: REDEEMED\n\tredeemed_at: {info.redeemed_at}\n\tredeemed_address: 127.0.0.1"
        f"\n\treplay_count: 2\n\tlast_replay_at: {info.last_replay_at}"
    )


@pytest.mark.parametrize("by_keyword", [True, False])
def test_withdrawing(admin: MLPlatform, by_keyword: bool) -> None:
    name = f"withdrawn {by_keyword}"
    register_token = admin.create_register_token(name, "1h", token_type=USER)
    token_id = of(admin, name).id
    withdraw: Callable[[], object] = (
        (lambda: admin.delete_register_token(token_id=token_id))
        if by_keyword
        else (lambda: admin.delete_register_token(token_id))
    )
    assert withdraw() is None
    info = of(admin, name)
    assert info.state == "WITHDRAWN"
    assert info.withdrawn_at is not None
    assert str(info).endswith(f"\n\tstate: WITHDRAWN\n\twithdrawn_at: {info.withdrawn_at}")
    with pytest.raises(ForbiddenException) as caught:
        admin.create_refresh_token(register_token)
    assert caught.value.field == "Forbidden"
    assert withdraw() is None  # once more is no error, and changes nothing
    assert of(admin, name) == info


def test_withdrawing_what_cannot_be(admin: MLPlatform) -> None:
    with pytest.raises(NotFoundException, match="'tok_nobody'"):
        admin.delete_register_token("tok_nobody")
    register_token = admin.create_register_token("too late to withdraw", "1h", token_type=USER)
    with pytest.raises(BadRequestException, match="this is the value of a token") as caught:
        admin.delete_register_token(register_token)
    assert caught.value.attempts == 0
    admin.create_refresh_token(register_token)
    with pytest.raises(ConflictException, match="delete_token ends the access token 'too late to withdraw'"):
        admin.delete_register_token(of(admin, "too late to withdraw").id)
    with pytest.raises(TypeError, match="did you mean 'token_id'"):
        admin.delete_register_token("tok_1", tokenid="tok_1")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="did you mean 'timeout'"):
        admin.get_register_tokens_info(time_out=1)  # type: ignore[call-arg]


def test_they_end_with_their_issuer(admin: MLPlatform, newcomer: Newcomer, platform: LocalPlatform) -> None:
    name, token = newcomer(ADMIN)
    issuer = MLPlatform(token, url=platform.url)
    issuer.create_register_token("a door left open", "1h", token_type=ADMIN)
    assert of(admin, "a door left open").state == State.WAITING
    admin.delete_token(name)
    info = of(admin, "a door left open")
    assert (info.state, info.issuer_name) == (State.WITHDRAWN, name)


def test_a_user_is_refused(newcomer: Newcomer, platform: LocalPlatform) -> None:
    name, token = newcomer()
    user = MLPlatform(token, url=platform.url)
    calls: list[Callable[[], object]] = [
        lambda: user.get_register_tokens_info(),
        lambda: user.delete_register_token("tok_1"),
    ]
    for call in calls:
        with pytest.raises(ForbiddenException) as caught:
            call()
        assert caught.value.field == f"{name} token does not contain the following scopes: ['ml-platform:Manage']"


def test_infos_are_values_and_newer_values_stay_texts() -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    rest = (None, None, None, None, None, 0, None)
    info = MLPRegisterTokenInfo("tok_1", "anna", "OBSERVER", "admin", now, now, None, "FROZEN", *rest)
    same = MLPRegisterTokenInfo("tok_1", "anna", "OBSERVER", "admin", now, now, None, "FROZEN", *rest)
    other = MLPRegisterTokenInfo("tok_1", "anna", "OBSERVER", "admin", now, now, None, "THAWED", *rest)
    assert info == same
    assert hash(info) == hash(same)
    assert info != other
    assert info != "anna"
    assert pickle.loads(pickle.dumps(info)) == info
    assert (info.type, info.state) == ("OBSERVER", "FROZEN")
