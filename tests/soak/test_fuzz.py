"""What strangers can send, for minutes each: tokens, lifetimes, names, envelopes, headers."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from conftest import ROOT
from figures import Figure

TARGETS = ["token", "lifetime", "name", "envelope", "credential"]
SECONDS = int(float(os.environ.get("MLP_SOAK_MINUTES", "10")) * 60)


@pytest.mark.timeout(len(TARGETS) * SECONDS + 1800)
def test_nothing_that_is_sent_crashes_a_reader(figure: Figure) -> None:
    command = ["cargo", "test", "--release", "--locked", "-p", "mlplatform-api", "--lib", "fuzz::"]
    command += ["--", "--ignored", "--nocapture", "--test-threads", "2"]
    environment = {**os.environ, "MLP_FUZZ_SECONDS": str(max(1, SECONDS))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    # Two targets run at a time, and the harness writes the end of its own line before theirs.
    found = dict.fromkeys(TARGETS, "")
    for name, cases, seconds in re.findall(r"fuzz (\w+) (\d+) (\d+)$", done.stdout, flags=re.MULTILINE):
        found[name] = f"{name}: {int(cases):,} cases in {seconds} s ({int(cases) // max(1, int(seconds)):,}/s)"
    assert all(found.values()), done.stdout
    figure("No text, body or header that anybody sends crashes what reads it", "; ".join(found.values()))
