"""Tools for testing code that uses the platform: a pytest plugin and injected faults.

A ``conftest.py`` asks for it; nothing loads otherwise:

>>> pytest_plugins = ["mlplatform_client.testing"]

Then a test has these fixtures: ``mlp_platform``, ``mlp_admin``, ``mlp_user``, ``mlp_environment`` and ``mlp_faults``.
They need ``mlplatform-client[local]`` and pytest. Without its fixtures, `FaultProxy` and the faults serve any
suite; pytest must be installed all the same.

PYTEST_DONT_REWRITE: no assertion stands here, and a ``conftest.py`` may import it before pytest loads it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from mlplatform_client import MLPlatform, TokenStr
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType
from mlplatform_client.testing._faults import delay, hang, http, reset, saying, status
from mlplatform_client.testing._proxy import Exchange, Fault, FaultProxy

__all__ = ["Exchange", "Fault", "FaultProxy", "delay", "hang", "http", "reset", "saying", "status"]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def mlp_platform() -> Iterator[LocalPlatform]:
    """One platform for the whole run, in a temporary folder; a `LocalPlatform`."""
    with LocalPlatform() as platform:
        yield platform


@pytest.fixture
def mlp_faults(mlp_platform: LocalPlatform) -> Iterator[FaultProxy]:
    """A `FaultProxy` in front of the platform, which the other fixtures of the same test use.

    An unused fault of ``fail()`` fails the test.
    """
    with FaultProxy(mlp_platform.url) as proxy:
        yield proxy
        pending = proxy.pending
    if pending:
        pytest.fail(f"{pending} planned faults were met by no request: plan fewer, or call heal()", pytrace=False)


@pytest.fixture
def mlp_admin(request: pytest.FixtureRequest, mlp_platform: LocalPlatform) -> Iterator[MLPlatform]:
    """The platform's first Administrator, as an `MLPlatform`."""
    with _client(mlp_platform.admin_token, _address(request, mlp_platform)) as admin:
        yield admin


@pytest.fixture
def mlp_user(
    request: pytest.FixtureRequest, mlp_platform: LocalPlatform, _mlp_user_token: TokenStr
) -> Iterator[MLPlatform]:
    """A User for this test only, as an `MLPlatform`; its token is deleted afterwards."""
    with _client(_mlp_user_token, _address(request, mlp_platform)) as user:
        yield user


@pytest.fixture
def mlp_environment(
    request: pytest.FixtureRequest, mlp_platform: LocalPlatform, _mlp_user_token: TokenStr
) -> Iterator[None]:
    """Set ``MLP_URL`` and ``MLP_REFRESH_TOKEN`` for the User of this test, so that ``MLPlatform()`` uses them.

    All other settings of the developer are unset.
    """
    with pytest.MonkeyPatch.context() as patch:
        _leave_out_settings(patch)
        patch.setenv("MLP_URL", _address(request, mlp_platform))
        patch.setenv("MLP_REFRESH_TOKEN", str(_mlp_user_token))
        yield


@pytest.fixture
def _mlp_user_token(mlp_platform: LocalPlatform) -> Iterator[TokenStr]:
    """What `mlp_user` and `mlp_environment` share. Never through the faults: they are those of the code under test."""
    name = f"user-{next(_numbers)}"
    with _client(mlp_platform.admin_token, mlp_platform.url) as admin:
        register_token = admin.create_register_token(name, "10m", token_type=MLPTokenType.USER)
        yield admin.create_refresh_token(register_token)
        admin.delete_token(name)


def _address(request: pytest.FixtureRequest, platform: LocalPlatform) -> str:
    """The platform's, or that of its faults where the test asks for them, in whatever order."""
    if "mlp_faults" not in request.fixturenames:
        return platform.url
    faults: FaultProxy = request.getfixturevalue("mlp_faults")
    return faults.url


def _client(token: str, url: str) -> MLPlatform:
    """Settings are read when a client is made: those of the developer's must not count."""
    with pytest.MonkeyPatch.context() as patch:
        _leave_out_settings(patch)
        return MLPlatform(token, url=url)


def _leave_out_settings(patch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("MLP_") and not name.startswith("MLP_SERVER_"):
            patch.delenv(name)
