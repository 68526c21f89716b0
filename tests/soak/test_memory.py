"""What one client can take of a server's memory, and what everybody else notices of it."""

from __future__ import annotations

import pytest
from exhaustion import ATTACKS, served, watch
from figures import Figure


@pytest.mark.parametrize("name", ATTACKS, ids=lambda name: ATTACKS[name].__name__)
def test_what_one_client_can_take(name: str, figure: Figure) -> None:
    with served() as server:
        idle = server.memory("VmRSS")
        seen = watch(server, ATTACKS[name], patience=100.0)
    assert seen.peak < 512
    assert not seen.refused
    figure(f"one client cannot take the server's memory: {name}", f"idle {idle} MiB; {seen}")
