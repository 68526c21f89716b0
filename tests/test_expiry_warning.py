"""Who is told that its token will end, when, and how often."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest
from server_clock import ServerClock

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import NotFoundException
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

DAY = 86_400


def make(platform: LocalPlatform, name: str, lifetime: str | None, role: MLPTokenType = MLPTokenType.USER) -> str:
    admin = MLPlatform(platform.admin_token, url=platform.url)
    return admin.create_refresh_token(admin.create_register_token(name, "1h", refresh_ttl=lifetime, token_type=role))


def warned(platform: LocalPlatform, token: str) -> list[str]:
    """What a fresh object says in this process."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            MLPlatform(token, url=platform.url).who_am_i()
    for warning in caught:
        assert warning.category is UserWarning
        assert warning.filename == __file__
    return [str(warning.message) for warning in caught]


def test_once_within_14_days_of_the_end(moved_platform: LocalPlatform, clock: ServerClock) -> None:
    token = make(moved_platform, "monthly", "30d")
    assert warned(moved_platform, token) == []
    clock.advance(16.5 * DAY)
    (text,) = warned(moved_platform, token)
    end = MLPlatform(token, url=moved_platform.url).who_am_i().exp
    assert end is not None
    assert text.startswith(
        f"the access token 'monthly' expires in 13 days, at {end:%Y-%m-%d %H:%M} UTC: before then, ask an Admin"
    )
    assert "create_register_token" in text
    clock.advance(10 * DAY)
    assert warned(moved_platform, token) == []  # once in a process
    other = make(moved_platform, "another", "30d", MLPTokenType.ADMIN)
    clock.advance(17 * DAY)
    (text,) = warned(moved_platform, other)
    assert "'another'" in text
    assert "create a registration token for a new one" in text


def test_by_a_call_that_tells_of_its_progress_too(moved_platform: LocalPlatform, clock: ServerClock) -> None:
    token = make(moved_platform, "waits", "30d")
    clock.advance(20 * DAY)
    mlp = MLPlatform(token, url=moved_platform.url)
    (cluster,) = MLPlatform(moved_platform.admin_token, url=moved_platform.url).get_clusters()
    with pytest.warns(UserWarning, match="the access token 'waits' expires in"), pytest.raises(NotFoundException):
        mlp.wait_for_spark_job(cluster.id, "none", on_update=print)


@pytest.mark.parametrize(("lifetime", "days"), [("2h", 0), ("14d", 13.9), (None, 1000)])
def test_never_for_what_is_short_or_has_no_end(
    moved_platform: LocalPlatform, clock: ServerClock, lifetime: str | None, days: float
) -> None:
    token = make(moved_platform, f"quiet {lifetime}", lifetime)
    clock.advance(days * DAY)
    assert warned(moved_platform, token) == []


SCRIPT = """
import os, sys, warnings
from mlplatform_client import MLPlatform
mlp = MLPlatform()
mlp.who_am_i()
mlp.who_am_i()
sys.stderr.flush()
if hasattr(os, "fork"):
    child = os.fork()
    mlp.who_am_i()
    MLPlatform().who_am_i()
    if child:
        os.waitpid(child, 0)
"""


def run(platform: LocalPlatform, token: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MLP_URL": platform.url, "MLP_REFRESH_TOKEN": str(token)}
    command = [sys.executable, *options, "-c", SCRIPT]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_a_script_is_told_once_and_its_forked_child_once_more(
    moved_platform: LocalPlatform, clock: ServerClock
) -> None:
    token = make(moved_platform, "forked", "30d")
    clock.advance(20 * DAY)
    done = run(moved_platform, token, "-W", "always")
    assert done.returncode == 0
    assert done.stderr.count("UserWarning: the access token 'forked' expires in 9 days") == 2


def test_warnings_as_errors_do_not_swallow_an_answer(moved_platform: LocalPlatform, clock: ServerClock) -> None:
    """It may hold a secret that is shown once."""
    token = make(moved_platform, "strict", "30d")
    clock.advance(20 * DAY)
    done = run(moved_platform, token, "-W", "error")
    assert done.returncode == 0
    assert "UserWarning: the access token 'strict' expires in 9 days" in done.stderr
