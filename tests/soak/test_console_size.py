"""The console stays quick and small when a platform has grown."""

from __future__ import annotations

from pathlib import Path

from benchmarks.bench_console import TOKENS, measure, seed
from figures import Figure

from mlplatform_client.local import LocalPlatform

FIRST_BYTE_MS = 50
LARGEST_BYTES = 100_000


def test_every_page_with_many_tokens(tmp_path: Path, figure: Figure) -> None:
    with LocalPlatform(tmp_path) as platform:
        seed(platform.data_dir)
        measured = measure(platform)
    slowest = max(measured, key=lambda page: measured[page][0])
    largest = max(measured, key=lambda page: measured[page][1])
    assert measured[slowest][0] < FIRST_BYTE_MS, (slowest, measured[slowest])
    assert measured[largest][1] < LARGEST_BYTES, (largest, measured[largest])
    figure(
        f"with {TOKENS:,} tokens every page of the console begins within {FIRST_BYTE_MS} ms and has under 100 KB",
        f"slowest {measured[slowest][0]:.1f} ms (`{slowest}`), "
        f"largest {measured[largest][1] / 1000:.0f} KB (`{largest}`)",
    )
