"""What goes wrong between a client and a platform, on demand: `FaultProxy` does it, `faults` are what it does.

with FaultProxy(platform.url) as proxy:
    proxy.fail(reset, cut_answer(20), on="POST /v1_0/tokens")
    MLPlatform(token, url=proxy.url).create_refresh_token(register_token)   # its third attempt comes through
    assert proxy.requests == 4
"""

from faults.connect import ConnectProxy
from faults.faults import (
    HTML,
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
    hold_back,
    http,
    portal,
    redirect,
    reset,
    reset_after,
    saying,
    silent,
    swallow,
    throttle,
    trickle,
    unavailable,
)
from faults.front import TlsFront
from faults.proxy import Exchange, Fault, FaultProxy

__all__ = [
    "HTML",
    "ConnectProxy",
    "Exchange",
    "Fault",
    "FaultProxy",
    "TlsFront",
    "cut_answer",
    "cut_request",
    "delay",
    "empty",
    "endless",
    "endless_head",
    "endless_log",
    "garbage",
    "garbage_body",
    "half_close",
    "hold_back",
    "http",
    "portal",
    "redirect",
    "reset",
    "reset_after",
    "saying",
    "silent",
    "swallow",
    "throttle",
    "trickle",
    "unavailable",
]
