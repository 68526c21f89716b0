"""rotate_token: a new secret for the same token, with and without an overlap, and what becomes of the old one."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import stores
from conftest import TOKEN, Newcomer
from faults import FaultProxy
from faults.faults import cut_answer
from server_clock import ServerClock

from mlplatform_client import MLPlatform, TokenStr
from mlplatform_client.core.exceptions import BadRequestException, ForbiddenException, NotFoundException
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType


def works(platform: LocalPlatform, token: str) -> bool:
    with MLPlatform(token, url=platform.url) as mlp:
        try:
            mlp.who_am_i()
        except ForbiddenException as error:
            assert error.field == "Forbidden"
            return False
    return True


@pytest.mark.parametrize(
    "rotate",
    [
        lambda mlp, name: mlp.rotate_token(name),
        lambda mlp, name: mlp.rotate_token(token_name=name, overlap=None, timeout=30),
        lambda mlp, name: mlp.rotate_token(name, overlap="1h"),
        lambda mlp, name: mlp.rotate_token(name, overlap=datetime.timedelta(hours=1)),
        lambda mlp, name: mlp.rotate_token(name, overlap=3600),
    ],
)
def test_call_forms(
    admin: MLPlatform,
    newcomer: Newcomer,
    platform: LocalPlatform,
    rotate: Callable[[MLPlatform, str], TokenStr],
    request: pytest.FixtureRequest,
) -> None:
    name, old = newcomer(refresh_ttl="2h")
    before = MLPlatform(old, url=platform.url).who_am_i()
    new = rotate(admin, name)
    assert type(new) is TokenStr
    assert TOKEN.fullmatch(new)
    assert new != old
    after = MLPlatform(new, url=platform.url).who_am_i()
    assert (after.id, after.name, after.type, after.exp) == (before.id, before.name, before.type, before.exp)
    assert works(platform, old) is (request.node.callspec.indices["rotate"] >= 2)


def test_without_an_overlap_a_session_under_way_ends_too(
    admin: MLPlatform, newcomer: Newcomer, platform: LocalPlatform
) -> None:
    name, old = newcomer()
    colleague = MLPlatform(old, url=platform.url)
    colleague.who_am_i()
    admin.rotate_token(name)
    with pytest.raises(ForbiddenException) as caught:
        colleague.who_am_i()
    assert "rotate" in str(caught.value.hint)


def test_an_overlap_ends_by_the_clock(moved_platform: LocalPlatform, clock: ServerClock) -> None:
    admin = MLPlatform(moved_platform.admin_token, url=moved_platform.url)
    old = admin.create_refresh_token(admin.create_register_token("anna", "1h", token_type=MLPTokenType.USER))
    anna = MLPlatform(old, url=moved_platform.url)
    anna.who_am_i()
    new = admin.rotate_token("anna", overlap="1h")
    clock.advance(3_590)
    anna.who_am_i()
    assert works(moved_platform, new)
    clock.advance(10)
    with pytest.raises(ForbiddenException):
        anna.who_am_i()
    assert not works(moved_platform, old)
    assert works(moved_platform, new)


def test_a_user_rotates_its_own_and_no_other(newcomer: Newcomer, platform: LocalPlatform) -> None:
    name, old = newcomer()
    other, _ = newcomer()
    user = MLPlatform(old, url=platform.url)
    for refused in (other, "admin", "nobody of that name"):
        with pytest.raises(ForbiddenException) as caught:
            user.rotate_token(refused)
        assert caught.value.field == f"{name} token does not contain the following scopes: ['ml-platform:Manage']"
    new = user.rotate_token(name)
    assert not works(platform, old)
    assert MLPlatform(new, url=platform.url).who_am_i().name == name
    with pytest.raises(ForbiddenException):
        user.who_am_i()  # the object does not adopt the new one


def test_deleting_ends_every_secret(admin: MLPlatform, newcomer: Newcomer, platform: LocalPlatform) -> None:
    name, old = newcomer()
    new = admin.rotate_token(name, overlap="1h")
    assert works(platform, old)
    assert works(platform, new)
    admin.delete_token(name)
    assert not works(platform, old)
    assert not works(platform, new)
    with pytest.raises(NotFoundException, match=name):
        admin.rotate_token(name)


def test_racing_rotates_leave_one_usable_secret(admin: MLPlatform, newcomer: Newcomer, platform: LocalPlatform) -> None:
    name, old = newcomer()
    start = threading.Barrier(16)

    def rotate(_: int) -> TokenStr:
        start.wait()
        return admin.rotate_token(name)

    with ThreadPoolExecutor(16) as pool:
        tokens = list(pool.map(rotate, range(16)))
    assert len(set(tokens)) == 16
    assert sum(works(platform, token) for token in [old, *tokens]) == 1


def test_wrong_calls(admin: MLPlatform, newcomer: Newcomer, platform: LocalPlatform) -> None:
    name, token = newcomer()
    calls: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (TypeError, "did you mean 'overlap'", lambda: admin.rotate_token(name, overlapp="1h")),  # type: ignore[call-arg]
        (TypeError, "positional", lambda: admin.rotate_token(name, "1h")),  # type: ignore[call-arg]
        (BadRequestException, "overlap: '1' is not a lifetime", lambda: admin.rotate_token(name, overlap="1")),
        (BadRequestException, "overlap: .* too short", lambda: admin.rotate_token(name, overlap="0s")),
        (BadRequestException, "token_name: ", lambda: admin.rotate_token("")),
    ]
    for exception, said, call in calls:
        with pytest.raises(exception, match=said):
            call()
    assert works(platform, token)


@pytest.mark.parametrize("overlap", [None, "1h"])
@pytest.mark.parametrize("own", [True, False])
def test_lost_answers_end_with_one_usable_secret(
    newcomer: Newcomer, platform: LocalPlatform, own: bool, overlap: str | None
) -> None:
    """Also of a token's own rotation, which ends the session that it is asked with."""
    name, old = newcomer()
    with FaultProxy(platform.url) as proxy:
        proxy.fail(cut_answer(0), cut_answer(300), on="rotate_token")
        with MLPlatform(old if own else platform.admin_token, url=proxy.url) as mlp:
            new = mlp.rotate_token(name, overlap=overlap)
    assert works(platform, new)
    assert works(platform, old) is (overlap is not None)
    made = (
        "SELECT count(*), count(*) - count(s.ends_at) FROM token_secrets s JOIN tokens t ON t.id = s.token_id "
        "WHERE name = ?"
    )
    assert stores.query(platform.data_dir, made, name) == ["4|1"]
