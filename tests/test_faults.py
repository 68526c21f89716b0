"""Every method through every fault: the right exception, or success after safe repetition; nothing done twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import TOKEN
from faults import (
    Fault,
    FaultProxy,
    cut_answer,
    cut_request,
    delay,
    empty,
    endless,
    endless_head,
    endless_log,
    garbage,
    garbage_body,
    half_close,
    hang,
    portal,
    redirect,
    reset,
    reset_after,
    swallow,
    throttle,
    trickle,
    unavailable,
)
from faults.calls import CALLS, ELSEWHERE, count, fresh_name

from mlplatform_client import MLPlatform
from mlplatform_client._native import contract
from mlplatform_client.core.exceptions import (
    ConnectionException,
    MLPlatformException,
    TimeoutException,
    UnexpectedAnswerException,
)
from mlplatform_client.local import LocalPlatform

# All is well in the end, without another attempt.
SLOW: dict[str, Fault] = {"delay": delay(0.1), "throttle": throttle(100)}
# Another attempt helps.
BROKEN: dict[str, Fault] = {
    "request cut in its head": cut_request(40),
    "request cut late": cut_request(200),
    "answer swallowed": swallow,
    "answer cut in its head": cut_answer(40),
    "answer cut before its end": cut_answer(-3),
    "reset": reset,
    "reset after the work": reset_after,
    "half-close": half_close(-3),
    "garbage": garbage,
    "endless head": endless_head,
    "unavailable": unavailable("0"),
}
# Another attempt would get the same.
FOREIGN: dict[str, Fault] = {
    "portal": portal,
    "redirect": redirect("http://127.0.0.1:9/"),
    "garbage as a body": garbage_body,
    "nothing": empty,
    "endless": endless,
}
# There is never a whole answer.
WAITING: dict[str, Fault] = {"silence": hang, "trickle": trickle}

METHODS = sorted(CALLS)
# Beyond the deadline: what a machine under load may add.
PATIENCE = 60.0


def test_no_method_is_forgotten() -> None:
    """A new route needs a line in faults/calls.py."""
    not_called = {"healthz", "readyz", "metrics", "openapi"} | ELSEWHERE
    assert set(CALLS) == {name for name, *_ in contract()["routes"]} - not_called


class Story:
    """One method, called once through a proxy of its own while a fault is at work."""

    def __init__(self, platform: LocalPlatform, admin: MLPlatform, method: str) -> None:
        self.call, self.platform, self.method = CALLS[method], platform, method
        self.name = fresh_name()
        self.given = self.call.prepare(admin, self.name, platform)
        self.proxy = FaultProxy(platform.url)

    def run(self, timeout: float) -> MLPlatformException | None:
        began = time.monotonic()
        try:
            with MLPlatform(self.platform.admin_token, url=self.proxy.url, timeout=timeout) as client:
                self.call.run(client, self.given)
        except MLPlatformException as error:
            assert error.hint
            assert not TOKEN.search(f"{error} {error.__dict__}")
            self.check(1)
            return error
        finally:
            assert time.monotonic() - began < timeout + PATIENCE
        self.check(1, at_least=1)
        return None

    @property
    def attempts(self) -> int:
        return sum(exchange.method == self.method for exchange in self.proxy.exchanges)

    def check(self, at_most: int, at_least: int = 0) -> None:
        """How often the platform has done it."""
        if self.call.made is not None:
            done = count(self.platform, self.call.made, self.name)
            assert at_least <= done <= at_most, f"done {done} times"


# One fault at work, and what is to be seen.
Scene = Callable[[Story, Fault], None]
Stage = Callable[[Scene, dict[str, Fault]], None]


@pytest.fixture
def stage(platform: LocalPlatform, admin: MLPlatform, method: str) -> Stage:
    """Plays a scene with each fault, all at the same time: most of it is waiting."""

    def play(scene: Scene, name: str, fault: Fault) -> str | None:
        story = Story(platform, admin, method)
        with story.proxy:
            try:
                scene(story, fault)
            except AssertionError as problem:
                return f"{method}, {name}: {problem}"
        return None

    def play_all(scene: Scene, faults: dict[str, Fault]) -> None:
        with ThreadPoolExecutor(len(faults)) as pool:
            problems = [*pool.map(lambda item: play(scene, *item), faults.items())]
        assert not any(problems), [problem for problem in problems if problem]

    return play_all


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_slowness_is_borne(stage: Stage) -> None:
    def scene(story: Story, fault: Fault) -> None:
        story.proxy.fail(fault, on=story.method)
        error = story.run(30)
        assert (error, story.attempts) == (None, 1)

    stage(scene, SLOW)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_break_is_mended_by_another_attempt(stage: Stage) -> None:
    def scene(story: Story, fault: Fault) -> None:
        story.proxy.fail(fault, on=story.method)
        error = story.run(30)
        assert (error, story.attempts) == (None, 2)

    stage(scene, BROKEN)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_break_that_lasts_is_told(stage: Stage) -> None:
    def scene(story: Story, fault: Fault) -> None:
        story.proxy.always(fault, on=story.method)
        error = story.run(30)
        assert isinstance(error, (ConnectionException, UnexpectedAnswerException)), error
        # One may go into a connection that the proxy is just closing.
        assert 2 <= story.attempts <= error.attempts <= 5, (error.attempts, story.attempts, error)

    stage(scene, BROKEN)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_platform_that_is_gone_is_told(platform: LocalPlatform, admin: MLPlatform, method: str) -> None:
    story = Story(platform, admin, method)
    with story.proxy, story.proxy.refusing():
        error = story.run(30)
    assert isinstance(error, ConnectionException)
    assert error.attempts == 5
    assert "nothing listens there" in str(error)
    story.check(0)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_somebody_else_is_told_at_once(stage: Stage) -> None:
    def scene(story: Story, fault: Fault) -> None:
        story.proxy.always(fault, on=story.method)
        error = story.run(30)
        assert isinstance(error, UnexpectedAnswerException), error
        assert "MLP_URL" in str(error.hint)
        assert story.attempts == error.attempts == 1, (story.attempts, error)
        story.check(0)

    stage(scene, FOREIGN)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_waiting_has_an_end(stage: Stage) -> None:
    def scene(story: Story, fault: Fault) -> None:
        story.proxy.always(fault, on=story.method)
        calls = 0
        for seconds in (1, 4, 16):
            calls += 1
            error = story.run(seconds)
            assert isinstance(error, TimeoutException), error
            # On a busy machine, the time may be over before the request is sent, or before the proxy has read it.
            if story.attempts:
                break
        assert 1 <= story.attempts <= calls

    stage(scene, WAITING)


def _peak_memory() -> int:
    """The most that this process has had in memory, in KiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:", 1)[1].split()[0])


@pytest.mark.parametrize("fault", [endless, endless_head])
def test_an_endless_answer_is_not_kept(platform: LocalPlatform, fault: Fault) -> None:
    """It is read up to 32 MiB; nowhere near ten times that is ever held."""
    before = _peak_memory()
    with FaultProxy(platform.url) as proxy:
        proxy.always(fault)
        with pytest.raises(MLPlatformException):
            MLPlatform(platform.admin_token, url=proxy.url, timeout=5).who_am_i()
    assert _peak_memory() - before < 160 * 1024


def test_an_endless_log_is_held_up_to_its_limit(platform: LocalPlatform) -> None:
    """512 MiB of it are, and the remedy is told."""
    before = _peak_memory()
    with FaultProxy(platform.url) as proxy:
        proxy.always(endless_log, on="spark_job_logs")
        with pytest.raises(UnexpectedAnswerException, match="longer than 512 MiB") as caught:
            MLPlatform(platform.admin_token, url=proxy.url, timeout=300).spark_job_logs("c", "j", wait=0)
    assert "tail=1000" in str(caught.value.hint)
    assert caught.value.attempts == 1
    assert _peak_memory() - before < (512 + 160) * 1024


def test_many_calls_share_one_session_through_breaks(platform: LocalPlatform) -> None:
    with FaultProxy(platform.url) as proxy, MLPlatform(platform.admin_token, url=proxy.url) as client:
        client.who_am_i()
        threads = [threading.Thread(target=client.who_am_i) for _ in range(8)]
        proxy.fail(reset, reset_after, swallow, on="who_am_i")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        exchanges = [exchange for exchange in proxy.exchanges if exchange.method == "create_session"]
        assert len(exchanges) == 1
