"""A minute of ten times what a platform can serve."""

from __future__ import annotations

from figures import Figure
from overload import CALLERS, overload

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform

SECONDS = 60.0


def test_a_minute_of_ten_times_too_many(figure: Figure) -> None:
    with LocalPlatform() as platform:
        seen = overload(platform, SECONDS)
        assert seen.served
        assert seen.shed
        assert (seen.without_retry_after, seen.others) == (0, {})
        assert seen.p99 < 10.0
        assert seen.well_after < 5.0
        with MLPlatform(platform.admin_token, url=platform.url) as admin:
            assert [token.name for token in admin.get_project_tokens_info()] == [admin.who_am_i().name]
    figure(f"overload sheds with 503 and Retry-After, and passes: {CALLERS} callers at once", str(seen))
