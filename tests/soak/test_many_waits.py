"""A thousand waits for a thousand jobs, from one event loop and from fifty threads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import stand_in
from figures import Figure
from jobs import manifest

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform

JOBS = 1000

MEASURES = """
import asyncio, json, os, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from mlplatform_client import MLPlatform
from mlplatform_client.aio import AsyncMLPlatform
how, token, url, cluster, count = sys.argv[1:]
names = [f"job-{number}" for number in range(int(count))]
def connections():
    links = []
    for entry in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{entry}"))
        except OSError:
            pass
    # The two of the loop's bridge and the two of the loop itself are no connections.
    return sum(link.startswith("socket:") for link in links)
def memory():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) // 1024
most = 0
def watch():
    global most
    while not over.wait(0.1):
        most = max(most, connections())
over = threading.Event()
threading.Thread(target=watch, daemon=True).start()
said = {}
seen = set()
def note(info):
    seen.add(info.job_name)
def say_idle():
    before = time.process_time()
    time.sleep(20)
    said["idle"] = (time.process_time() - before) / 20
def go_on():
    print("waiting", flush=True)
    sys.stdin.readline()
async def main():
    async with AsyncMLPlatform(token, url=url) as mlp:
        waits = [asyncio.ensure_future(mlp.wait_for_spark_job(cluster, name, on_update=note)) for name in names]
        while len(seen) < len(names):
            await asyncio.sleep(0.1)
        await asyncio.to_thread(say_idle)
        await asyncio.to_thread(go_on)
        return [info.status for info in await asyncio.gather(*waits)]
if how == "loop":
    statuses = asyncio.run(main())
else:
    mlp = MLPlatform(token, url=url)
    with ThreadPoolExecutor(50) as pool:
        waits = [pool.submit(mlp.wait_for_spark_job, cluster, name, on_update=note) for name in names]
        while len(seen) < 50:
            time.sleep(0.1)
        say_idle()
        go_on()
        statuses = [wait.result().status for wait in waits]
over.set()
assert statuses == ["COMPLETED"] * len(names), set(statuses)
said.update(cpu=time.process_time(), memory=memory(), connections=most)
print(json.dumps(said))
"""


@pytest.mark.timeout(3600)
def test_a_thousand_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    monkeypatch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(tmp_path)))
    gate, program = tmp_path / "gate", tmp_path / "job.py"
    program.write_text(f"while ! [ -e '{gate}' ]; do sleep 0.2; done\n")
    with LocalPlatform(tmp_path / "data") as platform:
        mlp = MLPlatform(platform.admin_token, url=platform.url)
        cluster = mlp.get_clusters()[0].id
        for number in range(JOBS):
            mlp.spark_submit_job(cluster, manifest(f"job-{number}"), program)
        arguments = [str(platform.admin_token), platform.url, cluster, str(JOBS)]
        children = {
            how: subprocess.Popen(
                [sys.executable, "-c", MEASURES, how, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for how in ("loop", "threads")
        }
        for child in children.values():
            assert child.stdout is not None
            assert child.stdout.readline() == "waiting\n"
        gate.touch()
        told = {}
        for how, child in children.items():
            output, _ = child.communicate("go on\n")
            assert child.returncode == 0
            told[how] = json.loads(output)
        for how, measured in told.items():
            print(how, measured)
            assert measured["idle"] < 0.05
            assert measured["memory"] < 150
            assert measured["connections"] < 40
    text = "; ".join(
        f"{how}: {said['connections']} sockets at most, {said['memory']} MiB, {said['cpu']:.1f} s of CPU in all, "
        f"{said['idle'] * 100:.2f} % of a core while nothing happens"
        for how, said in told.items()
    )
    figure(f"{JOBS} waits for {JOBS} jobs, from one event loop and from 50 threads, take next to nothing", text)
