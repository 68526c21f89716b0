"""Ten thousand calls through success and faults leave no socket, no thread and no memory behind."""

from __future__ import annotations

from faults.leaks import Footprint, watch
from figures import Figure

from mlplatform_client.local import LocalPlatform

CALLS = 10_000


def test_ten_thousand_calls_leave_nothing_behind(figure: Figure) -> None:
    with LocalPlatform() as platform:
        report = watch(platform, 1000, CALLS)
    for before, after in (report.client, report.server):
        assert after.files <= before.files + 3
        assert after.threads <= before.threads + 1
        assert after.memory <= before.memory + 48 * 1024

    def told(before: Footprint, after: Footprint) -> str:
        return (
            f"files {before.files} → {after.files}, threads {before.threads} → {after.threads}, "
            f"memory {before.memory / 1024:.0f} → {after.memory / 1024:.0f} MiB"
        )

    figure(
        "calls through success and faults leave no socket, thread or memory behind",
        f"{report.succeeded} succeeded and {report.failed} failed; "
        f"client: {told(*report.client)}; server: {told(*report.server)}",
    )
