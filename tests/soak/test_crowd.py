"""More than a platform can serve: a minute of ten times too many, and one stranger with thousands of connections."""

from __future__ import annotations

from figures import Figure
from overload import CALLERS, Overload, beside_a_stranger, exchange, overload, redeem

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

SECONDS = 60.0
STRANGERS = 2000


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


def test_one_stranger_with_thousands_of_connections(figure: Figure) -> None:
    with LocalPlatform() as platform, MLPlatform(platform.admin_token, url=platform.url) as admin:
        alone = beside_a_stranger(platform, exchange(platform.admin_token), 0, 10.0)["other"]
        register_token = admin.create_register_token("anna", "1h", token_type=MLPTokenType.USER)
        admin.create_refresh_token(register_token)
        seen = {
            "secrets that nobody knows": beside_a_stranger(platform, exchange("nobody's"), STRANGERS, 20.0),
            "a registration token that was redeemed": beside_a_stranger(
                platform, redeem(register_token), STRANGERS, 20.0
            ),
        }
        measured = [f"alone: median {_median(alone):.1f} ms"]
        for what, by_address in seen.items():
            other, same = by_address["other"], by_address["same"]
            # Who shares the stranger's address is told to come again, at most; nobody else is told anything.
            assert (other.shed, other.broken, other.others) == (0, 0, {})
            assert same.served
            assert (same.broken, same.others) == (0, {})
            asked = sum(by_address["stranger"].others.values()) + by_address["stranger"].shed
            measured.append(
                f"{what}, {asked} times: another address {_median(other):.1f} ms, "
                f"the same {_median(same):.1f} ms ({same.shed} of {same.shed + len(same.served)} told to come again)"
            )
    figure(f"one stranger with {STRANGERS} connections crowds out nobody", "; ".join(measured))


def _median(seen: Overload) -> float:
    return sorted(seen.served)[len(seen.served) // 2] * 1000
