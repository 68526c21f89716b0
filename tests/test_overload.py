"""More than it can serve: a platform says so at once, and serves the rest as well as ever."""

from __future__ import annotations

from overload import overload

from mlplatform_client.local import LocalPlatform


def test_ten_times_too_many_are_told_to_come_again() -> None:
    with LocalPlatform() as platform:
        seen = overload(platform, 5.0)
    assert seen.served
    assert seen.shed
    assert (seen.without_retry_after, seen.others) == (0, {})
    # Those 512 share two cores with 5,120 callers: that nobody is left waiting is what counts here.
    assert seen.p99 < 10.0
    assert seen.well_after < 5.0
