"""One client that is after the server's memory: the worst of what was found, against a real process."""

from __future__ import annotations

import pytest
from exhaustion import Attack, many_values, served, stalled_bodies, unread_documents, watch

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("attack", [unread_documents, stalled_bodies, many_values], ids=lambda attack: attack.__name__)
def test_one_client_takes_no_more_than_its_share(attack: Attack) -> None:
    with served() as server:
        seen = watch(server, attack, seconds=8.0)
    # Each took more than a gigabyte once.
    assert seen.peak < 512
    assert seen.times
    assert not seen.refused
