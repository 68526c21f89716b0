"""Reading and writing a manifest of 4 KB, beside PyYAML in Python and in C."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import yaml

from mlplatform_client.core.manifest import Manifest

TITLE = "Manifests"
SIZE = 4096
ROUNDS = 40
REPEAT = 20


def _manifest() -> Manifest:
    manifest = Manifest.default("a-usual-manifest")
    number = 0
    while len(manifest.to_yaml()) < SIZE:
        number += 1
        manifest.set_spark_conf({f"spark.some.property.number{number}": f"value-{number}"})
        manifest.add_executor_env([{"name": f"VARIABLE_{number}", "value": str(number)}])
    return manifest


def _microseconds(what: Callable[[], object], repeat: int) -> float:
    began = time.perf_counter()
    for _ in range(repeat):
        what()
    return (time.perf_counter() - began) / repeat * 1e6


def run() -> str:
    manifest = _manifest()
    text = manifest.to_yaml()
    content = yaml.safe_load(text)
    assert content == manifest.to_dict()
    rows: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "`Manifest`": (lambda: Manifest(text), manifest.to_yaml),
        "PyYAML in Python": (
            lambda: yaml.load(text, yaml.SafeLoader),
            lambda: yaml.dump(content, Dumper=yaml.SafeDumper),
        ),
    }
    if yaml.__with_libyaml__:
        rows["PyYAML in C"] = (
            lambda: yaml.load(text, yaml.CSafeLoader),
            lambda: yaml.dump(content, Dumper=yaml.CSafeDumper),
        )
    times: dict[tuple[str, int], list[float]] = {(name, side): [] for name in rows for side in (0, 1)}
    for turn in range(ROUNDS):
        for name, both in rows.items():
            for side, what in enumerate(both):
                spent = _microseconds(what, REPEAT if name == "`Manifest`" else 1)
                if turn:  # the first turn fills the caches
                    times[name, side].append(spent)
    head = f"A manifest of {len(text)} bytes; median of {ROUNDS - 1} rounds.\n\n"
    head += "| | read, µs | write, µs |\n| --- | --- | --- |\n"
    lines = [
        f"| {name} | {statistics.median(times[name, 0]):.0f} | {statistics.median(times[name, 1]):.0f} |"
        for name in rows
    ]
    return head + "\n".join(lines)
