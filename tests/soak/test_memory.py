"""What one client can take of a server's memory, and what everybody else notices of it."""

from __future__ import annotations

import os

import pytest
from exhaustion import ATTACKS, served, watch
from figures import Figure

# Another server program, such as that of an older version, to be measured beside the present one.
BEFORE = os.environ.get("MLP_SERVER_BEFORE")


@pytest.mark.parametrize("name", ATTACKS, ids=lambda name: ATTACKS[name].__name__)
def test_what_one_client_can_take(name: str, figure: Figure) -> None:
    measured = ""
    if BEFORE:
        with served(BEFORE) as server:
            measured = f"before: {watch(server, ATTACKS[name])}; now: "
    with served() as server:
        idle = server.memory("VmRSS")
        seen = watch(server, ATTACKS[name], patience=90.0)
    assert seen.peak < 512
    assert not seen.refused
    figure(f"one client cannot take the server's memory: {name}", f"{measured}{seen}; idle {idle} MiB")
