"""Small versions of what tests/soak does at length: many calls, many kills."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.kill import kill_often
from faults.leaks import watch

from mlplatform_client.local import LocalPlatform

pytestmark = pytest.mark.slow


def test_calls_leave_nothing_behind() -> None:
    with LocalPlatform() as platform:
        report = watch(platform, 200, 600)
    for before, after in (report.client, report.server):
        assert after.files <= before.files + 3
        assert after.threads <= before.threads + 1
        assert after.memory <= before.memory + 32 * 1024
    assert report.succeeded > 500
    assert report.failed > 0


def test_a_killed_platform_has_lost_nothing_and_its_clients_go_on(tmp_path: Path) -> None:
    ledger, _ = kill_often(tmp_path, 5)
    assert not ledger.failures
    assert ledger.living
    assert ledger.dead
