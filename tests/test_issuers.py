"""What one issuer made, ended at once; the operator's policy; when and from where a token was used."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Newcomer

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import (
    BadRequestException,
    ConflictException,
    ForbiddenException,
    MLPlatformException,
    NotFoundException,
)
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenInfo, MLPTokenType

USER, ADMIN = MLPTokenType.USER, MLPTokenType.ADMIN


def made_by(issuer: MLPlatform, *names: str) -> None:
    for name in names:
        issuer.create_refresh_token(issuer.create_register_token(name, "1h", token_type=USER))


@pytest.mark.parametrize(
    "delete",
    [
        lambda mlp, info: mlp.delete_issuer_tokens(info.name),
        lambda mlp, info: mlp.delete_issuer_tokens(issuer_name=info.name, issuer_id=None, timeout=30),
        lambda mlp, info: mlp.delete_issuer_tokens(info.name, issuer_id=info.id),
    ],
)
@pytest.mark.parametrize("gone", [True, False])
def test_delete_issuer_tokens(
    admin: MLPlatform,
    newcomer: Newcomer,
    platform: LocalPlatform,
    delete: Callable[[MLPlatform, MLPTokenInfo], list[MLPTokenInfo]],
    gone: bool,
) -> None:
    name, token = newcomer(ADMIN)
    issuer = MLPlatform(token, url=platform.url)
    info = issuer.who_am_i()
    made_by(issuer, f"{name}'s first", f"{name}'s second")
    if gone:
        admin.delete_token(name)
    deleted = delete(admin, info)
    assert [(one.name, one.issuer_id) for one in deleted] == [
        (f"{name}'s first", info.id),
        (f"{name}'s second", info.id),
    ]
    left = [one.name for one in admin.get_project_tokens_info()]
    assert not {one.name for one in deleted} & set(left)
    assert (name in left) is not gone
    assert delete(admin, info) == []


def test_an_issuer_whose_name_was_taken_by_another(
    admin: MLPlatform, newcomer: Newcomer, platform: LocalPlatform
) -> None:
    name, token = newcomer(ADMIN)
    first = MLPlatform(token, url=platform.url)
    first_id = first.who_am_i().id
    made_by(first, f"{name} I")
    admin.delete_token(name)
    token = admin.create_refresh_token(admin.create_register_token(name, "1h", token_type=ADMIN))
    second = MLPlatform(token, url=platform.url)
    made_by(second, f"{name} II")
    with pytest.raises(ConflictException, match=f"{first_id}.*{second.who_am_i().id}"):
        admin.delete_issuer_tokens(name)
    assert [info.name for info in admin.delete_issuer_tokens(name, issuer_id=first_id)] == [f"{name} I"]
    assert [info.name for info in admin.delete_issuer_tokens(name)] == [f"{name} II"]


def test_whom_it_refuses(admin: MLPlatform, newcomer: Newcomer, platform: LocalPlatform) -> None:
    name, token = newcomer()
    with pytest.raises(ForbiddenException, match="ml-platform:Manage"):
        MLPlatform(token, url=platform.url).delete_issuer_tokens("admin")
    with pytest.raises(NotFoundException, match="no token named 'nobody ever'"):
        admin.delete_issuer_tokens("nobody ever")
    with pytest.raises(NotFoundException, match="tok_nobody"):
        admin.delete_issuer_tokens("admin", issuer_id="tok_nobody")
    with pytest.raises(BadRequestException, match="issuer_id: this is the value of a token"):
        admin.delete_issuer_tokens("admin", issuer_id=token)
    with pytest.raises(TypeError, match="did you mean 'issuer_id'"):
        admin.delete_issuer_tokens("admin", issuerid="tok_1")  # type: ignore[call-arg]
    assert name in [info.name for info in admin.get_project_tokens_info()]


def test_the_policy_of_the_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLP_SERVER_LONGEST_REGISTER_TOKEN", "1d")
    monkeypatch.setenv("MLP_SERVER_LONGEST_ACCESS_TOKEN", "30d")
    monkeypatch.setenv("MLP_SERVER_TOKENS_PER_ISSUER", "2")
    with LocalPlatform(tmp_path) as platform:
        admin = MLPlatform(platform.admin_token, url=platform.url)
        with pytest.raises(BadRequestException, match=r"access_ttl: .*'48h'.*'24h': give '24h' or less"):
            admin.create_register_token("anna", "2d", refresh_ttl="1h", token_type=USER)
        with pytest.raises(BadRequestException, match=r"refresh_ttl: .*'744h'.*give '720h' or less"):
            admin.create_register_token("anna", "1h", refresh_ttl="31d", token_type=USER)
        with pytest.raises(BadRequestException, match=r"refresh_ttl: .*that never expires"):
            admin.create_register_token("anna", "1h", token_type=USER)
        for name in ("anna", "boris"):
            admin.create_register_token(name, "1d", refresh_ttl="30d", token_type=USER)
        with pytest.raises(ConflictException, match=r"'admin' has issued.*are 2.*allows 2"):
            admin.create_register_token("clara", "1d", refresh_ttl="30d", token_type=USER)
    monkeypatch.setenv("MLP_SERVER_LONGEST_REGISTER_TOKEN", "for ever")
    with pytest.raises(MLPlatformException, match="'for ever' is not a lifetime"):
        LocalPlatform(tmp_path)


def test_last_used(admin: MLPlatform, newcomer: Newcomer, platform: LocalPlatform) -> None:
    def of(name: str) -> MLPTokenInfo:
        return next(info for info in admin.get_project_tokens_info() if info.name == name)

    name, token = newcomer()
    unused = of(name)
    assert (unused.last_used_at, unused.last_used_address) == (None, None)
    before = datetime.datetime.now(datetime.timezone.utc)
    MLPlatform(token, url=platform.url).who_am_i()
    used = of(name)
    assert used.last_used_at is not None
    assert before - datetime.timedelta(seconds=1) < used.last_used_at
    assert used.last_used_address == "127.0.0.1"
    assert str(used) == str(unused)  # the printed form is the reference's


def test_last_used_outlives_a_restart(tmp_path: Path) -> None:
    with LocalPlatform(tmp_path) as platform:
        admin = MLPlatform(platform.admin_token, url=platform.url)
        admin.who_am_i()
        used = admin.get_project_tokens_info()[0]
    with LocalPlatform(tmp_path) as platform:
        admin = MLPlatform(platform.admin_token, url=platform.url)
        again = admin.who_am_i()
    assert used.last_used_at is not None
    assert again.last_used_at is not None
    assert used.last_used_at <= again.last_used_at
