"""What Python says twice is held against the protocol of the Rust core."""

from __future__ import annotations

import enum
import inspect

import pytest

from mlplatform_client import MLPlatform
from mlplatform_client._native import contract
from mlplatform_client.core import exceptions
from mlplatform_client.core.exceptions import (
    BY_ERROR_CODE,
    ConnectionException,
    ForbiddenException,
    MLPlatformException,
    TimeoutException,
    UnauthorizedException,
    from_native,
)
from mlplatform_client.serializers.auth import MLPRegisterTokenState, MLPTokenType
from mlplatform_client.v2.spark.cluster import SparkCluster


@pytest.mark.parametrize(("cls", "table"), [(MLPTokenType, "roles"), (MLPRegisterTokenState, "register_token_states")])
def test_enumerations_are_texts(cls: type[enum.Enum], table: str) -> None:
    assert [member.value for member in cls] == contract()[table]
    assert issubclass(cls, str)
    for member in cls:
        assert f"{member}" == str(member) == "%s" % member == member.value == member  # noqa: UP031
        assert f"{member:>9}" == member.value.rjust(9)


def test_every_error_code_is_a_class() -> None:
    codes = dict(contract()["error_codes"])
    assert set(BY_ERROR_CODE) == set(codes)
    for code, status in codes.items():
        details = {"status": status, "error_code": code, "field": "x"}
        error = from_native("refused", "text", details, [])
        assert type(error).__name__ == code
        assert error.status == status


def test_a_newer_platform_s_error_code_is_found_by_its_status() -> None:
    newer = from_native("refused", "text", {"status": 403, "error_code": "QuotaException", "field": "x"}, [])
    assert type(newer) is ForbiddenException
    assert newer.error_code == "QuotaException"
    unheard = from_native("refused", "text", {"status": 418, "error_code": "TeapotException", "field": "x"}, [])
    assert type(unheard) is MLPlatformException


def test_one_base_class_and_the_natural_builtins() -> None:
    for _, cls in inspect.getmembers(exceptions, inspect.isclass):
        assert issubclass(cls, MLPlatformException)
    assert issubclass(UnauthorizedException, ForbiddenException)
    assert issubclass(ForbiddenException, PermissionError)
    assert issubclass(TimeoutException, TimeoutError)
    assert issubclass(ConnectionException, ConnectionError)


def test_the_cause_chain_is_kept() -> None:
    error = from_native("connection", "text", {"attempts": 2}, ["outer", "inner"])
    assert [str(error.__cause__), str(error.__cause__.__cause__)] == ["outer", "inner"]  # type: ignore[union-attr]


def test_every_route_is_a_method_of_its_name() -> None:
    """One verb, one name, from the route to Python; those that the client or an operator calls are nobody's method."""
    verbs = {name for name, *_ in contract()["routes"]}
    verbs -= {"healthz", "readyz", "metrics", "openapi", "create_session", "create_oauth_token"}
    of_v2 = {"top_nodes_info"}
    assert verbs - of_v2 <= set(dir(MLPlatform))
    assert of_v2 <= set(dir(SparkCluster))


def test_settings_are_arguments() -> None:
    arguments = list(inspect.signature(MLPlatform).parameters)
    names = [name for name, *_ in contract()["settings"]]
    assert sorted(arguments) == sorted(names)
