"""Every byte at which the answer that carries a secret can be lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from faults.lost import SECRET, Losses
from figures import Figure

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform

# Most of the time is the pause before the second attempt.
AT_A_TIME = 8


@pytest.mark.parametrize("method", SECRET)
def test_the_answer_is_cut_at_every_byte(
    platform: LocalPlatform, admin: MLPlatform, method: str, figure: Figure
) -> None:
    with Losses(platform, admin, method) as losses:
        length = losses.lose(0)

    def lose(first: int) -> int:
        with Losses(platform, admin, method) as losses:
            return sum(losses.lose(cut) > 0 for cut in range(first, length, AT_A_TIME))

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        tried = sum(pool.map(lose, range(AT_A_TIME)))
    assert tried == length
    figure(
        f"`{method}`: an answer cut at any byte ends with one token that works, and no secret is sent twice",
        f"{tried} of {length} bytes, each",
    )
