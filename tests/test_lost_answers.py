"""The answer that carries a secret is lost: repetition ends with one token that works, and no secret is sent twice."""

from __future__ import annotations

import threading

import pytest
from faults import FaultProxy, hold_back
from faults.calls import CALLS, count, fresh_name, redeemed
from faults.lost import SECRET, Losses

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform

# tests/soak cuts at every byte; of some 700 these are enough to see head and body.
STRIDE = 37


@pytest.mark.slow
@pytest.mark.parametrize("method", SECRET)
def test_the_answer_is_cut_somewhere(platform: LocalPlatform, admin: MLPlatform, method: str) -> None:
    with Losses(platform, admin, method) as losses:
        length = losses.lose(0)
        for cut in [*range(STRIDE, length, STRIDE), length - 8]:
            losses.lose(cut)


@pytest.mark.parametrize("method", SECRET)
def test_answers_are_lost_again_and_again(platform: LocalPlatform, admin: MLPlatform, method: str) -> None:
    with Losses(platform, admin, method) as losses:
        losses.lose(0, 300, 20)
        assert len(losses.exchanges()) == 4


@pytest.mark.parametrize("method", sorted(name for name, call in CALLS.items() if call.made))
def test_a_first_attempt_that_arrives_last_does_no_harm(
    platform: LocalPlatform, admin: MLPlatform, method: str
) -> None:
    call, name = CALLS[method], fresh_name()
    assert call.made is not None
    given, release = call.prepare(admin, name, platform), threading.Event()
    with FaultProxy(platform.url) as proxy, MLPlatform(platform.admin_token, url=proxy.url) as client:
        proxy.fail(hold_back(release), on=method)
        result = call.run(client, given)
        proxy.wait_for(lambda: proxy.answered == proxy.requests - 1)
        release.set()
        proxy.wait_for(lambda: proxy.answered == proxy.requests)
        late, *_ = [exchange for exchange in proxy.exchanges if exchange.method == method]
    assert count(platform, call.made, name) == 1
    if method in SECRET:
        assert late.answer.startswith(b"HTTP/1.1 409 ")
        assert b"mlp" not in late.answer.split(b"\r\n\r\n", 1)[1]
    if isinstance(result, str) and method == "create_refresh_token":
        assert MLPlatform(result, url=platform.url).who_am_i().name == name


def test_a_late_deletion_does_not_reach_a_namesake(platform: LocalPlatform, admin: MLPlatform) -> None:
    name, release = fresh_name(), threading.Event()
    redeemed(admin, name)
    with FaultProxy(platform.url) as proxy, MLPlatform(platform.admin_token, url=proxy.url) as client:
        proxy.fail(hold_back(release), on="delete_token")
        client.delete_token(name)
        token = redeemed(admin, name)
        proxy.wait_for(lambda: proxy.answered == proxy.requests - 1)
        release.set()
        proxy.wait_for(lambda: proxy.answered == proxy.requests)
    assert MLPlatform(token, url=platform.url).who_am_i().name == name
