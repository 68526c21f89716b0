"""`kill -9` at random moments under load, and the start with a full store."""

from __future__ import annotations

import statistics
from pathlib import Path

from faults.kill import Server, kill_often
from figures import Figure

KILLS = 60
# What the client makes of a call at most.
ATTEMPTS = 5
TOKENS = 100_000


def test_a_platform_killed_often_has_lost_nothing(tmp_path: Path, figure: Figure) -> None:
    ledger, starts = kill_often(tmp_path, KILLS)
    # Who is hit by another kill at each of its attempts is told so; everybody else goes on.
    assert {failure.attempts for failure in ledger.failures} <= {ATTEMPTS}
    assert len(ledger.failures) < KILLS / 10
    figure(
        "`kill -9` under load loses no acknowledged token, brings none back, leaves the audit chain whole, and clients "
        "go on",
        f"{KILLS} kills; {len(ledger.living)} living and {len(ledger.dead)} deleted tokens as acknowledged; "
        f"{len(ledger.failures)} calls met a kill at each of {ATTEMPTS} attempts; "
        f"start: median {statistics.median(starts) * 1000:.0f} ms, "
        f"longest {max(starts) * 1000:.0f} ms",
    )


def test_the_start_is_quick_with_a_full_store(tmp_path: Path, figure: Figure) -> None:
    with Server(tmp_path) as server:
        server.start()
        server.stop()
        server.seed(TOKENS)
        took = server.start()
        server.kill()
        after_kill = server.start()
    assert max(took, after_kill) < 2
    figure(
        f"the platform starts in under 2 s with {TOKENS} tokens",
        f"{took * 1000:.0f} ms, and {after_kill * 1000:.0f} ms after `kill -9`",
    )
