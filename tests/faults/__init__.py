"""What goes wrong between a client and a platform, on demand: more than `mlplatform_client.testing` has.

with FaultProxy(platform.url) as proxy:
    proxy.fail(reset, cut_answer(20), on="create_refresh_token")
    MLPlatform(token, url=proxy.url).create_refresh_token(register_token)   # its third attempt comes through
    assert proxy.requests == 4
"""

from faults.connect import ConnectProxy
from faults.faults import (
    HTML,
    cut_answer,
    cut_request,
    empty,
    endless,
    endless_head,
    endless_log,
    garbage,
    garbage_body,
    half_close,
    hold_back,
    portal,
    redirect,
    reset_after,
    swallow,
    throttle,
    trickle,
    unavailable,
)
from faults.front import TlsFront

from mlplatform_client.testing import Exchange, Fault, FaultProxy, delay, hang, http, reset, saying

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
    "hang",
    "hold_back",
    "http",
    "portal",
    "redirect",
    "reset",
    "reset_after",
    "saying",
    "swallow",
    "throttle",
    "trickle",
    "unavailable",
]
