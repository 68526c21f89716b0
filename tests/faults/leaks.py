"""Calls through success and faults, and what they leave behind."""

from __future__ import annotations

import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from faults.calls import fresh_name, redeemed
from faults.faults import cut_answer, endless_head, garbage, half_close, portal, swallow

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import MLPlatformException
from mlplatform_client.local import LocalPlatform
from mlplatform_client.testing import FaultProxy, hang, reset

AT_A_TIME = 8
# What a call that gets no answer takes; far more than one that gets one.
TIMEOUT = 10
_FAULTS = [reset, swallow, portal, garbage, half_close(40), cut_answer(300), endless_head, hang]


@dataclass(frozen=True)
class Footprint:
    """What a process holds."""

    files: int
    threads: int
    memory: int

    @classmethod
    def of(cls, process: int) -> Footprint:
        folder = Path("/proc") / str(process)
        status = dict(line.split(":", 1) for line in (folder / "status").read_text(encoding="ascii").splitlines())
        files = len(os.listdir(folder / "fd"))
        return cls(files, int(status["Threads"]), int(status["VmRSS"].split()[0]))


def calls(platform: LocalPlatform, number: int) -> tuple[int, int]:
    """So many calls, each tenth through a fault, some with an own client; gives how many succeeded and failed."""
    with FaultProxy(platform.url) as proxy, MLPlatform(platform.admin_token, url=proxy.url, timeout=TIMEOUT) as shared:

        def call(index: int) -> bool:
            if index % 10 == 9:
                proxy.fail(_FAULTS[index // 10 % len(_FAULTS)])
            try:
                if index % 50 == 0:
                    name = fresh_name()
                    redeemed(shared, name)
                    shared.delete_token(name)
                elif index % 7 == 0:
                    with MLPlatform(platform.admin_token, url=proxy.url, timeout=TIMEOUT) as own:
                        own.who_am_i()
                else:
                    shared.who_am_i()
            except MLPlatformException:
                return False
            return True

        with ThreadPoolExecutor(AT_A_TIME) as pool:
            done = [*pool.map(call, range(number))]
    return done.count(True), done.count(False)


@dataclass(frozen=True)
class Report:
    """What was there before and after, here and in the platform."""

    succeeded: int
    failed: int
    client: tuple[Footprint, Footprint]
    server: tuple[Footprint, Footprint]


def watch(platform: LocalPlatform, warm_up: int, number: int) -> Report:
    """The first calls make what is kept (pools, caches, arenas of the allocator); the others must add nothing."""
    calls(platform, warm_up)
    before = _settled(), Footprint.of(platform.pid)
    succeeded, failed = calls(platform, number)
    after = _settled(), Footprint.of(platform.pid)
    return Report(succeeded, failed, (before[0], after[0]), (before[1], after[1]))


def _settled() -> Footprint:
    gc.collect()
    assert all(thread.name.startswith(("MainThread", "pytest")) for thread in threading.enumerate())
    return Footprint.of(os.getpid())
