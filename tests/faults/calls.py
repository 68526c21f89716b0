"""Every method of `MLPlatform` that asks the platform something: how it is called, and how it is seen what it has done.

A method that is not here fails `test_faults.py`: add its line. `made` counts, in the platform's own books, what one
call may do once and no oftener; a method that only reads makes nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlplatform_client import MLPlatform
from mlplatform_client._native import contract
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

_numbers = itertools.count(1)


def fresh_name() -> str:
    return f"subject-{next(_numbers)}"


def count(platform: LocalPlatform, query: str, *values: str) -> int:
    """A number out of the platform's store."""
    store = (Path(platform.data_dir) / "platform.sqlite3").as_uri()
    with contextlib.closing(sqlite3.connect(f"{store}?mode=ro", uri=True)) as connection:
        number: int = connection.execute(query, values).fetchone()[0]
        return number


def register(admin: MLPlatform, name: str) -> str:
    return admin.create_register_token(name, "10m", token_type=MLPTokenType.USER)


def redeemed(admin: MLPlatform, name: str) -> str:
    return admin.create_refresh_token(register(admin, name))


def _named(admin: MLPlatform, name: str) -> str:
    redeemed(admin, name)
    return name


def _waiting(admin: MLPlatform, name: str) -> str:
    """The id of a registration token of that name."""
    register(admin, name)
    return next(info.id for info in admin.get_register_tokens_info() if info.client_name == name)


@dataclass(frozen=True)
class Call:
    run: Callable[[MLPlatform, str], object]
    # What `run` gets: the name, or what was made for it beforehand.
    prepare: Callable[[MLPlatform, str], str] = lambda _admin, name: name
    # Counts by the name.
    made: str | None = None


CALLS: dict[str, Call] = {
    "create_session": Call(lambda mlp, _: mlp.who_am_i()),
    "create_register_token": Call(
        register,
        made="SELECT count(*) FROM register_tokens "
        "WHERE client_name = ? AND redeemed_at IS NULL AND withdrawn_at IS NULL",
    ),
    "get_register_tokens_info": Call(lambda mlp, _: mlp.get_register_tokens_info()),
    "delete_register_token": Call(
        lambda mlp, token_id: mlp.delete_register_token(token_id),
        prepare=_waiting,
        made="SELECT count(*) FROM audit WHERE action = 'delete_register_token' AND outcome = 'done' "
        "AND subject = (SELECT id FROM register_tokens WHERE client_name = ?)",
    ),
    "create_refresh_token": Call(
        lambda mlp, token: mlp.create_refresh_token(token),
        prepare=register,
        made="SELECT count(*) FROM tokens WHERE name = ? AND deleted_at IS NULL",
    ),
    "delete_token": Call(
        lambda mlp, name: mlp.delete_token(name),
        prepare=_named,
        made="SELECT count(*) FROM audit WHERE action = 'delete_token' AND outcome = 'done' "
        "AND subject = (SELECT id FROM tokens WHERE name = ?)",
    ),
    "who_am_i": Call(lambda mlp, _: mlp.who_am_i()),
    "get_project_tokens_info": Call(lambda mlp, _: mlp.get_project_tokens_info()),
}


def line(method: str) -> str:
    """How the method's request begins: `POST /v1_0/tokens`."""
    verb, path = next((verb, path) for name, verb, path, *_ in contract()["routes"] if name == method)
    return f"{verb} {path.split('{', 1)[0]}"
