"""How long `import mlplatform_client` takes over a bare interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

TITLE = "Import"
RUNS = 15
WHAT = ["pass", "import mlplatform_client", "import requests"]


def _seconds(statement: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - began


def run() -> str:
    times: dict[str, list[float]] = {what: [] for what in WHAT}
    for turn in range(RUNS + 1):
        for what in WHAT:
            seconds = _seconds(what)
            if turn:  # the first turn fills the caches
                times[what].append(seconds)
    medians = {what: statistics.median(times[what]) * 1000 for what in WHAT}
    bare = medians["pass"]
    rows = [f"| `{what}` | {medians[what]:.1f} | {medians[what] - bare:+.1f} |" for what in WHAT]
    head = f"A whole interpreter, median of {RUNS} runs.\n\n| | ms | over a bare one, ms |\n| --- | --- | --- |\n"
    return head + "\n".join(rows)
