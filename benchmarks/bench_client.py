"""The client beside others of its kind, on the same route of the same server; the command beside others."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import sysconfig
import time
import urllib.request
from pathlib import Path

from mlplatform_client.local import LocalPlatform

TITLE = "The client"
ROUNDS = 5
CALLS = 1000
THREADS = 8
AT_ONCE = 64
STARTS = 11

# What a child process does: `one()` is a call, made in turns, in threads or at once. It prints processor seconds and
# seconds of the clock for all of them.
HEAD = """
import os, sys, time
url, refresh, session = (os.environ["BENCH_" + name] for name in ("URL", "REFRESH", "SESSION"))
calls = int(os.environ["BENCH_CALLS"])
headers = {"Authorization": "Bearer " + session}
me = url + "/v1_0/tokens/self"
"""
SYNC = """
for _ in range(20):
    one()
began, cpu = time.perf_counter(), time.process_time()
for _ in range(calls):
    one()
print(time.process_time() - cpu, time.perf_counter() - began)
"""
THREADED = f"""
import threading
one()
threads = [threading.Thread(target=lambda: [one() for _ in range(calls // {THREADS})]) for _ in range({THREADS})]
began, cpu = time.perf_counter(), time.process_time()
for thread in threads: thread.start()
for thread in threads: thread.join()
print(time.process_time() - cpu, time.perf_counter() - began)
"""
AT_ONCE_CODE = f"""
import asyncio
async def main():
    async with client() as http:
        async def some(number):
            for _ in range(number):
                await one(http)
        await asyncio.gather(*(some(1) for _ in range({AT_ONCE})))
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(some(calls // {AT_ONCE}) for _ in range({AT_ONCE})))
        print(time.process_time() - cpu, time.perf_counter() - began)
asyncio.run(main())
"""
ONE = {
    "`mlplatform_client`": """
from mlplatform_client import MLPlatform
mlp = MLPlatform(refresh, url=url)
one = mlp.who_am_i
""",
    "urllib3": """
import urllib3
pool = urllib3.PoolManager(maxsize=16)
one = lambda: pool.request("GET", me, headers=headers).json()["name"]
""",
    "httpx": """
import httpx
http = httpx.Client(headers=headers, limits=httpx.Limits(max_connections=100))
one = lambda: http.get(me).json()["name"]
""",
    "requests": """
import requests, threading
local = threading.local()
def one():
    if not hasattr(local, "http"):
        local.http = requests.Session()
        local.http.headers.update(headers)
    return local.http.get(me).json()["name"]
""",
}
ASYNC = {
    "`mlplatform_client.aio`": """
from mlplatform_client.aio import AsyncMLPlatform
client = lambda: AsyncMLPlatform(refresh, url=url)
async def one(http):
    return (await http.who_am_i()).name
""",
    "aiohttp": """
import aiohttp
client = lambda: aiohttp.ClientSession(headers=headers)
async def one(http):
    async with http.get(me) as answer:
        return (await answer.json())["name"]
""",
    "httpx": """
import httpx
client = lambda: httpx.AsyncClient(headers=headers)
async def one(http):
    return (await http.get(me)).json()["name"]
""",
}


SHARED = (
    f"Client and server share this machine's {os.cpu_count()} cores. In threads and with `asyncio` the server limits "
    "the rates, so the processor's time is what tells the clients apart."
)


def _session(platform: LocalPlatform) -> str:
    body = json.dumps({"refresh_token": str(platform.admin_token)}).encode()
    request = urllib.request.Request(  # noqa: S310 - this machine's own platform
        f"{platform.url}/v1_0/sessions", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return str(json.load(answer)["session_token"])


def _measure(ways: dict[str, str], what: str, environment: dict[str, str]) -> dict[str, tuple[float, float]]:
    """Medians of processor microseconds a call and of calls a second."""
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, code in ways.items():
            command = [sys.executable, "-c", HEAD + code + what]
            said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
            cpu, wall = map(float, said.split())
            found[way].append((cpu / CALLS * 1e6, CALLS / wall))
    medians = statistics.median
    return {way: (medians(cpu for cpu, _ in all_), medians(rate for _, rate in all_)) for way, all_ in found.items()}


def _table(head: str, measured: dict[str, tuple[float, float]]) -> str:
    ours = next(iter(measured.values()))
    rows = [
        f"| {way} | {cpu:,.0f} | {rate:,.0f} | {cpu / ours[0]:.1f} × | {ours[1] / rate:.1f} × |"
        for way, (cpu, rate) in measured.items()
    ]
    columns = "| | CPU a call, µs | calls a second | CPU beside ours | ours beside its rate |"
    return "\n".join([f"{head}\n", columns, "| --- | --- | --- | --- | --- |", *rows])


def _starts() -> str:
    scripts = Path(sysconfig.get_path("scripts"))
    ways = {
        "`python -c pass`": [sys.executable, "-c", "pass"],
        "`mlp --version`": [str(scripts / "mlp"), "--version"],
        "`mlp auth describe`": [str(scripts / "mlp"), "auth", "describe"],
        "`hf version` (huggingface_hub)": [str(scripts / "hf"), "version"],
        "`databricks --version` (databricks-cli)": [str(scripts / "databricks"), "--version"],
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(STARTS + 1):
        for way, command in ways.items():
            began = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            if turn:  # the first turn fills the caches
                times[way].append(time.perf_counter() - began)
    rows = "\n".join(f"| {way} | {statistics.median(all_) * 1000:.0f} |" for way, all_ in times.items())
    return f"A whole command, median of {STARTS} interleaved runs.\n\n| | ms |\n| --- | --- |\n{rows}"


def run() -> str:
    with LocalPlatform() as platform:
        environment = {
            **os.environ,
            "BENCH_URL": platform.url,
            "BENCH_REFRESH": str(platform.admin_token),
            "BENCH_SESSION": _session(platform),
            "BENCH_CALLS": str(CALLS),
        }
        one = _measure(ONE, SYNC, environment)
        eight = _measure({way: ONE[way] for way in ("`mlplatform_client`", "requests")}, THREADED, environment)
        at_once = _measure(ASYNC, AT_ONCE_CODE, environment)
    how = f"median of {ROUNDS} interleaved rounds of {CALLS:,} calls, each in a process of its own"
    return "\n\n".join(
        [
            _table(f"`who_am_i` on one connection, one after the other: {how}.", one),
            _table(f"In {THREADS} threads: {how}.", eight),
            _table(f"With `asyncio`, {AT_ONCE} at once: {how}.", at_once),
            SHARED,
            _starts(),
        ]
    )
