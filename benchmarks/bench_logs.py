"""A followed log line by line, and a log saved to a file, beside other clients on the same route of the same server."""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks.bench_spark import MIB, manifest

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform

TITLE = "Logs"
ROUNDS = 5
LINE = "0123456789abcdef" * 4 + "\n"
LINES = 1_500_000
SIZE = LINES * len(LINE)
ROOT = Path(__file__).parent.parent

WHY = (
    "Reading line by line is slower than with requests, although the transfer is not: each line crosses from Rust to "
    "Python as an object of its own, while `bytes.splitlines` makes all lines of a chunk in one call of C. For large "
    "logs, save the file."
)

HEAD = """
import os, sys
platform, cluster, url, refresh, session = (
    os.environ["BENCH_" + name] for name in ("PLATFORM", "CLUSTER", "URL", "REFRESH", "SESSION")
)
headers = {"Authorization": "Bearer " + session}
"""
BY_LINE = {
    "`spark_job_logs(follow=True)`": """
from mlplatform_client import MLPlatform
lines = MLPlatform(refresh, url=platform).spark_job_logs(cluster, "loud", follow=True)
print(sum(1 for line in lines))
""",
    "requests, `iter_lines(chunk_size=65536)`": """
import requests
answer = requests.get(url, headers=headers, stream=True, timeout=300)
print(sum(1 for line in answer.iter_lines(chunk_size=65536)))
""",
    "httpx, `iter_lines()`": """
import httpx
with httpx.stream("GET", url, headers=headers, timeout=300) as answer:
    print(sum(1 for line in answer.iter_lines()))
""",
}
TO_FILE = {
    "`save_spark_job_logs`": """
from mlplatform_client import MLPlatform
print(MLPlatform(refresh, url=platform).save_spark_job_logs(cluster, "loud", sys.argv[1]))
""",
    "requests, `iter_content(65536)`": """
import requests
with open(sys.argv[1], "wb") as file:
    answer = requests.get(url, headers=headers, stream=True, timeout=300)
    print(sum(file.write(chunk) for chunk in answer.iter_content(65536)))
""",
}


def _plain_reqwest() -> list[str] | None:
    """The program of `crates/client/examples/plain_reqwest.rs`; `None` without a Rust toolchain."""
    if not shutil.which("cargo"):
        return None
    target = ROOT / ".cache" / "plain-reqwest"
    command = ["cargo", "build", "--quiet", "--release", "--locked", "--target-dir", str(target)]
    command += ["--package", "mlplatform-client", "--example", "plain_reqwest"]
    # As a program of its own would be built.
    profile = {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}
    subprocess.run(command, cwd=ROOT, env={**os.environ, **profile}, check=True)
    return [str(target / "release" / "examples" / "plain_reqwest")]


def _measure(
    ways: dict[str, list[str]], expected: int, environment: dict[str, str], files: Path
) -> dict[str, tuple[float, float]]:
    """Medians of processor seconds and of MiB a second, each of a whole process."""
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for turn in range(ROUNDS + 1):
        for number, (way, command) in enumerate(ways.items()):
            file = files / f"{turn}-{number}.log"
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            filled = [str(file) if argument == "FILE" else argument for argument in command]
            config = f'header = "Authorization: Bearer {environment["BENCH_SESSION"]}"\n'
            done = subprocess.run(filled, input=config, env=environment, capture_output=True, text=True, check=True)
            wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
            assert int(done.stdout) == expected, (way, done.stdout)
            file.unlink(missing_ok=True)
            if turn:  # the first turn fills the caches
                cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                found[way].append((cpu, SIZE / MIB / wall))
    medians = statistics.median
    return {way: (medians(cpu for cpu, _ in all_), medians(rate for _, rate in all_)) for way, all_ in found.items()}


def _table(head: str, measured: dict[str, tuple[float, float]]) -> str:
    ours = next(iter(measured.values()))
    rows = [
        f"| {way} | {cpu:.2f} | {rate:,.0f} | {cpu / ours[0]:.2f} × | {ours[1] / rate:.2f} × |"
        for way, (cpu, rate) in measured.items()
    ]
    columns = "| | CPU, s | MiB/s | CPU relative to ours | our rate relative to it |"
    return "\n".join([f"{head}\n", columns, "| --- | --- | --- | --- | --- |", *rows])


def run() -> str:
    plain = _plain_reqwest()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stand_in, program = folder / "stand-in", folder / "loud.py"
        stand_in.write_text('#!/bin/sh\nshift 2\nexec sh "$@"\n')
        stand_in.chmod(0o755)
        program.write_text(f"yes {LINE.strip()} | head -n {LINES}\n")
        os.environ["MLP_SERVER_SPARK_SUBMIT"] = str(stand_in)
        try:
            platform = LocalPlatform()
        finally:
            del os.environ["MLP_SERVER_SPARK_SUBMIT"]
        with platform:
            mlp = MLPlatform(platform.admin_token, url=platform.url)
            cluster = mlp.get_clusters()[0].id
            mlp.spark_submit_job(cluster, manifest("loud"), program)
            mlp.wait_for_spark_job(cluster, "loud", progress=False)
            body = json.dumps({"refresh_token": str(platform.admin_token)}).encode()
            request = urllib.request.Request(  # noqa: S310 - this machine's own platform
                f"{platform.url}/v1_0/sessions", data=body, headers={"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                session = str(json.load(answer)["session_token"])
            url = f"{platform.url}/v1_0/magnum/{cluster}/jobs/loud/logs"
            environment = {
                **os.environ,
                "BENCH_PLATFORM": platform.url,
                "BENCH_CLUSTER": cluster,
                "BENCH_URL": url,
                "BENCH_REFRESH": str(platform.admin_token),
                "BENCH_SESSION": session,
                "MLP_PROGRESS": "0",
            }
            by_line = {way: [sys.executable, "-c", HEAD + code] for way, code in BY_LINE.items()}
            to_file = {way: [sys.executable, "-c", HEAD + code, "FILE"] for way, code in TO_FILE.items()}
            if plain:
                by_line["plain reqwest (Rust)"] = [*plain, "lines", url]
                to_file["plain reqwest (Rust)"] = [*plain, "save", url, "FILE"]
            if shutil.which("curl"):
                curl = ["curl", "--silent", "--fail", "--config", "-", "--output", "FILE"]
                to_file["curl"] = [*curl, "--write-out", "%{size_download}", url]
            lines = _measure(by_line, LINES, environment, folder)
            files = _measure(to_file, SIZE, environment, folder)
    how = f"median of {ROUNDS} interleaved rounds, each in a process of its own, whose start counts"
    log = f"a log of {LINES / 1e6:.1f} million lines ({SIZE // MIB} MiB)"
    return "\n\n".join(
        [
            _table(f"The lines of {log}, as `str` from this client and httpx, as `bytes` from requests: {how}.", lines),
            _table(f"The same log, saved to a file: {how}.", files),
            f"{WHY} Client and server share this machine's {os.cpu_count()} cores.",
        ]
    )
