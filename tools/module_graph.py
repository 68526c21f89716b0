"""Holds the layers: each crate imports only those above it, and no file imports another in a circle.

`python tools/module_graph.py` prints what is wrong, and fails. The layers are the table in CONTRIBUTING.md.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PREFIX = "mlplatform-"
USE = re.compile(r"\buse\s+((?:crate|super|self)\b[^;]*);")
PATH = re.compile(r"\b(?:crate|super)(?:::\w+)+")
COMMENT = re.compile(r"//[^\n]*")
# Crates whose modules still import each other, and why that is not mended yet. A list that only gets shorter.
WITH_CIRCLES = {
    "client": "settings, errors and what an error may ask of the settings stand in each other's files",
    "server": "jobs are compiled into platform where they lie, until their runner has crates of its own",
}
TESTS = re.compile(r"^#\[cfg\(test\)\]\nmod tests \{.*", re.MULTILINE | re.DOTALL)


def paths(tree: str) -> Iterator[list[str]]:
    """Every path of the tree of a `use`."""
    tokens = re.findall(r"[{},]|\w+|\*", re.sub(r"\bas \w+", "", tree))
    stack: list[list[str]] = [[]]
    path: list[str] = []
    for piece in tokens:
        if piece == "{":
            stack.append(path)
        elif piece in (",", "}"):
            if path != stack[-1]:
                yield path
            path = list(stack[-1])
            if piece == "}":
                stack.pop()
                path = list(stack[-1])
        else:
            path = [*path, piece]
    if path:
        yield path


def modules(crate: Path) -> dict[tuple[str, ...], Path]:
    """The modules of a crate's library, by their paths, as far as they have files of their own."""
    found = {}
    for file in sorted((crate / "src").rglob("*.rs")):
        parts = file.relative_to(crate / "src").with_suffix("").parts
        if parts[-1] in ("lib", "mod"):
            parts = parts[:-1]
        if parts != ("main",) and "tests" not in parts:
            found[parts] = file
    return found


def imports(module: tuple[str, ...], text: str, known: dict[tuple[str, ...], Path]) -> set[tuple[str, ...]]:
    """The modules that one names."""
    text = COMMENT.sub("", TESTS.sub("", text))
    named = [path for use in USE.findall(text) for path in paths(use)]
    named += [found.split("::") for found in PATH.findall(text)]
    used = set()
    for path in named:
        at = () if path[0] == "crate" else module
        rest = list(path)
        while rest and rest[0] in ("crate", "super", "self"):
            at = at[:-1] if rest.pop(0) == "super" else at
        whole = (*at, *rest)
        owner = next((whole[:n] for n in range(len(whole), 0, -1) if whole[:n] in known), ())
        # What a folder's file declares is below it; only its own names are an import.
        if owner and owner != module:
            used.add(owner)
    return used


def circles(graph: dict[tuple[str, ...], set[tuple[str, ...]]]) -> list[list[str]]:
    """The groups of modules that reach each other."""

    def reach(start: tuple[str, ...]) -> set[tuple[str, ...]]:
        seen: set[tuple[str, ...]] = set()
        left = list(graph[start])
        while left:
            module = left.pop()
            if module not in seen:
                seen.add(module)
                left.extend(graph[module])
        return seen

    reached = {module: reach(module) for module in graph}
    groups = {
        frozenset(other for other in reached[module] if module in reached[other])
        for module in graph
        if module in reached[module]
    }
    return sorted(sorted("::".join(module) for module in group) for group in groups)


def layers() -> dict[str, set[str]]:
    """What each crate may import, by the table in CONTRIBUTING.md."""
    rows = re.findall(
        r"^\| `crates/([\w-]+)` \|[^|]*\|([^|]*)\|$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M
    )
    return {crate: set(re.findall(r"`([\w-]+)`", allowed)) for crate, allowed in rows}


def dependencies() -> dict[str, set[str]]:
    """What each crate imports, as Cargo says."""
    command = ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"]
    answer = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    found = {}
    for package in answer["packages"]:
        if "crates" in Path(package["manifest_path"]).parts:
            names = {one["name"] for one in package["dependencies"] if one["kind"] is None}
            found[package["name"].removeprefix(PREFIX)] = {
                name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)
            }
    return found


def problems() -> Iterator[str]:
    """What does not hold."""
    told, real = layers(), dependencies()
    for crate in sorted(told.keys() | real.keys()):
        if told.get(crate) != real.get(crate):
            yield (
                f"crates/{crate} imports {sorted(real.get(crate) or [])}, "
                f"and CONTRIBUTING.md says {sorted(told.get(crate) or [])}"
            )
    for crate in sorted(real):
        known = modules(ROOT / "crates" / crate)
        graph = {
            module: imports(module, file.read_text(encoding="utf-8"), known) if module else set()
            for module, file in known.items()
        }
        found = circles(graph)
        if crate in WITH_CIRCLES:
            if not found:
                yield f"crates/{crate} has no circle any more: remove it from WITH_CIRCLES in tools/module_graph.py"
            continue
        for circle in found:
            yield f"crates/{crate}: these modules import each other: {', '.join(circle)}"


if __name__ == "__main__":
    found = [*problems()]
    print("\n".join(found), file=sys.stderr)
    sys.exit(bool(found))
