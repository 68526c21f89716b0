"""Interpreters that end while calls are in flight: what `test_exit.py`, the packages' tests and `make soak` share."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from jobs import FINAL, manifest, new_cluster, until

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

# Every kind of work that a thread does under a frame of ours: answers, errors, warnings, arguments, texts.
KINDS = {
    "value": "mlp.who_am_i()",
    "enumerations": "mlp.get_register_tokens_info()",
    "list": "mlp.get_project_tokens_info()",
    "refusal": "mlp.delete_token('nobody')",
    "timeout": "mlp.who_am_i(timeout=0.0001)",
    "warning": "mlp.get_clusters(nonsense=1)",
    "expiry": "MLPlatform(world['expiring'], url=world['url']).who_am_i()",
    "log": "mlp.spark_job_logs(world['cluster'], world['job'], wait=0)",
    "audit": "mlp.get_audit(limit=20, since=datetime.timedelta(hours=1))",
    "events": "mlp.spark_events(world['cluster'])",
    "application": "mlp.describe_spark_job(world['cluster'], world['job']).status",
    "arguments": "mlp.create_cluster(world['spec'])",
    "manifest": "mlp.get_default_manifest(world['cluster'], 'job').to_dict()",
    "wait": "mlp.wait_for_spark_job(world['cluster'], world['job'], on_update=str)",
    "waiting": "mlp.wait_for_spark_job(world['cluster'], world['endless'], timeout=0.05)",
    "follow": "list(mlp.spark_job_logs(world['cluster'], world['job'], follow=True))",
    "following": "list(mlp.spark_job_logs(world['cluster'], world['endless'], follow=True, timeout=0.05))",
    "save": "mlp.save_spark_job_logs(world['cluster'], world['job'], own_file())",
    "awaited": "asyncio.run(awaited())",
    "awaited updates": "asyncio.run(waited())",
    "awaited lines": "asyncio.run(lines())",
    "text": "[(str(info), repr(info), hash(info), info == infos[-1]) for info in infos]",
}
# Milliseconds after which the main thread ends.
DELAYS = [0, 1, 5, 10, 20]
# From the start of the threads (the first calls are in flight, nothing was imported yet), or from the first answer.
SINCE = ["start", "answer"]

# The main thread prints, the others do not: what a thread of the user's prints is the user's to bring home.
CHILD = """
import asyncio, atexit, concurrent.futures, datetime, json, os, sys, threading, time, warnings
world = json.loads(sys.argv[1])
warnings.simplefilter("always")
answers = []
atexit.register(lambda: print("answers", sorted(answers), flush=True))
if world["handlers"]:
    atexit.register(lambda: print("before", mlp.who_am_i().name, flush=True))
from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import MLPlatformException
mlp = MLPlatform(world["token"], url=world["url"])
from mlplatform_client.aio import AsyncMLPlatform
amlp = AsyncMLPlatform(world["token"], url=world["url"])
def own_file():
    return f"{world['folder']}/{os.getpid()}-{threading.get_ident()}"
async def awaited():
    await asyncio.gather(*(amlp.who_am_i() for _ in range(3)))
async def waited():
    await amlp.wait_for_spark_job(world["cluster"], world["endless"], timeout=0.05, on_update=str)
async def lines():
    async for line in await amlp.spark_job_logs(world["cluster"], world["endless"], follow=True, timeout=0.05):
        pass
answered = threading.Event()
if world["kind"] == "text":
    infos = mlp.get_project_tokens_info()
def call():
    try:
        {call}
    except MLPlatformException:
        pass
def loop():
    while True:
        call()
        answered.set()
def once(number):
    call()
    answers.append(number)
for _ in range(world["threads"]):
    threading.Thread(target=loop, daemon=True).start()
executor = concurrent.futures.ThreadPoolExecutor(4)
for number in range(world["executor"]):
    executor.submit(once, number)
if world["handlers"]:
    atexit.register(lambda: print("after", mlp.who_am_i().name, flush=True))
if world["since"] == "answer":
    answered.wait()
time.sleep(world["delay"])
"""


class World(NamedTuple):
    """What the calls are about."""

    url: str
    token: str
    expiring: str
    cluster: str
    job: str
    endless: str
    folder: str
    spec: dict[str, str]


def world(platform: LocalPlatform, admin: MLPlatform) -> World:
    """A cluster, a job that has ended, and a token that ends soon. The platform's jobs are shell scripts."""
    name = f"exits-{os.urandom(4).hex()}"
    # A cluster of its own, which ends with the next world: a job without end would keep room from other tests' jobs.
    for old in admin.get_clusters():
        if old.name.startswith("exits-"):
            admin.delete_cluster(old.id)
    cluster = admin.get_cluster_info(new_cluster(admin, name))
    register_token = admin.create_register_token(name, "1h", refresh_ttl="2d", token_type=MLPTokenType.USER)
    expiring = admin.create_refresh_token(register_token)
    program = Path(platform.data_dir) / f"{name}.py"
    program.write_text("seq 1000\n")
    admin.spark_submit_job(cluster.id, manifest(name), str(program))
    until(lambda: admin.spark_job_info(cluster.id, name).status in FINAL)
    endless = f"{name}-endless"
    program.write_text("while sleep 0.01; do date; done\n")
    admin.spark_submit_job(cluster.id, manifest(endless), str(program))
    admin.wait_for_spark_job(cluster.id, endless, "running")
    folder = Path(platform.data_dir) / f"{name}-saved"
    folder.mkdir()
    spec = {"name": cluster.name}
    token = str(platform.admin_token)
    return World(platform.url, token, str(expiring), cluster.id, name, endless, str(folder), spec)


def leave(python: str | Path, about: World, number: int, environment: dict[str, str] | None = None) -> str | None:
    """One interpreter that ends with calls of one kind in flight; what was wrong with its end."""
    kind = list(KINDS)[number % len(KINDS)]
    delay = DELAYS[number // len(KINDS) % len(DELAYS)]
    since = SINCE[number // (len(KINDS) * len(DELAYS)) % len(SINCE)]
    executor = number % 5
    # Handlers that call, too, before and after the one of ours; they give the threads time to come back.
    handlers = number % 3 == 0
    told = {
        **about._asdict(),
        "kind": kind,
        "delay": delay / 1000,
        "since": since,
        "threads": 30 if since == "start" else 10,
        "executor": executor,
        "handlers": handlers,
    }
    command = [str(python), "-c", CHILD.replace("{call}", KINDS[kind]), json.dumps(told)]
    what = f"{kind}, {delay} ms after the {since}: "
    try:
        done = subprocess.run(
            command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, timeout=100, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{what}it does not end"
    printed = f"answers {list(range(executor))}\n"
    if handlers:
        printed = f"after admin\nbefore admin\n{printed}"
    noise = [] if kind in ("warning", "expiry") else done.stderr.splitlines()
    if (done.returncode, done.stdout, noise) != (0, printed, []):
        return f"{what}code {done.returncode}, {done.stdout!r}, {done.stderr[-2000:]}"
    return None


def leave_often(
    python: str | Path, about: World, times: int, at_once: int = 4, environment: dict[str, str] | None = None
) -> list[str]:
    """Many of them, some side by side; what was wrong with each that was wrong."""
    with ThreadPoolExecutor(at_once) as pool:
        told = pool.map(lambda number: leave(python, about, number, environment), range(times))
        return [wrong for wrong in told if wrong]


@contextlib.contextmanager
def busy_machine(processes: int) -> Iterator[None]:
    """Processes that do nothing but keep the machine's cores from everybody else."""
    with contextlib.ExitStack() as stack:
        for _ in range(processes):
            loop = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
            stack.callback(loop.wait)
            stack.callback(loop.kill)
        yield
