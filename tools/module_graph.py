"""Check that no crate of the workspace has an import cycle between its modules.

Cargo refuses cycles between crates; within a crate the compiler accepts them, and layers blur. This reads the modules
of each library and program and their references: `use` declarations and paths in the code (`crate::`, `super::`,
`self::`, names of imported modules). A reference to a re-export counts as one to the module that contains the
re-export, so import a name from the module that defines it. `#[cfg(test)]` items are left out; calls of methods are
not seen.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent

# Crates whose cycles are still to be removed. Delete a line here when its crate has none left.
NOT_CHECKED: set[str] = set()

TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<comment>/\*)
  | (?P<raw>[bc]?r(?P<hashes>\#*)"(?:.|\n)*?"(?P=hashes))
  | (?P<string>[bc]?"(?:[^"\\]|\\.|\\\n)*")
  | (?P<char>b?'(?:[^'\\\n]|\\[^u]|\\x[0-9a-fA-F]{2}|\\u\{[0-9a-fA-F_]+\})')
  | (?P<lifetime>'\w+)
  | (?P<name>(?:r\#)?[^\W\d]\w*)
  | (?P<number>\d\w*)
  | (?P<mark>::|.)
    """,
    re.VERBOSE,
)
ITEM_KEYWORDS = {
    "async", "const", "enum", "extern", "fn", "impl", "macro_rules", "mod", "pub", "static", "struct", "trait", "type",
    "union", "unsafe", "use",
}  # fmt: skip
OPEN, CLOSE = {"(": ")", "[": "]", "{": "}"}, {")", "]", "}"}

Module = tuple[str, ...]
"""The path of a module in its crate; the root is `()`."""


class Token(NamedTuple):
    """A token of Rust, and its line."""

    text: str
    line: int


class Place(NamedTuple):
    """Where a module refers to another one."""

    file: Path
    line: int


@dataclass
class Crate:
    """The modules of one library or program, and their references."""

    modules: dict[Module, Path] = field(default_factory=dict)
    edges: dict[Module, dict[Module, Place]] = field(default_factory=dict)

    def cycles(self) -> list[list[Module]]:
        """A shortest cycle of each group of modules that depend on each other; its first module is repeated last."""
        found: list[list[Module]] = []
        seen: set[Module] = set()
        for module in sorted(self.edges):
            if module in seen:
                continue
            cycle = self._shortest(module)
            if cycle:
                found.append(cycle)
                forth, back = self._reachable(module, self.edges), self._reachable(module, self._reversed())
                seen |= forth & back
        return found

    def _shortest(self, start: Module) -> list[Module] | None:
        before: dict[Module, Module] = {}
        queue = deque([start])
        while queue:
            module = queue.popleft()
            for target in sorted(self.edges.get(module, {})):
                if target == start:
                    path = [start, module]
                    while path[-1] != start:
                        path.append(before[path[-1]])
                    return path[::-1]
                if target not in before:
                    before[target] = module
                    queue.append(target)
        return None

    def _reversed(self) -> dict[Module, dict[Module, Place]]:
        result: dict[Module, dict[Module, Place]] = {}
        for source, targets in self.edges.items():
            for target, place in targets.items():
                result.setdefault(target, {})[source] = place
        return result

    @staticmethod
    def _reachable(start: Module, edges: dict[Module, dict[Module, Place]]) -> set[Module]:
        found, queue = {start}, [start]
        while queue:
            new = set(edges.get(queue.pop(), {})) - found
            found |= new
            queue += new
        return found


def tokens(text: str) -> list[Token]:
    """The tokens of a Rust source text, without comments; strings keep their quotes."""
    found, at, line = [], 0, 1
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"line {line}: no Rust token: {text[at : at + 20]!r}")
        end = _comment_end(text, at) if match["comment"] else match.end()
        if not (match["comment"] or match["space"]):
            found.append(Token(match[0].removeprefix("r#") if match["name"] else match[0], line))
        line += text.count("\n", at, end)
        at = end
    return found


def _comment_end(text: str, at: int) -> int:
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(text, at):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    return len(text)


def without_tests(found: list[Token]) -> list[Token]:
    """Leaves out every item, field or statement below an attribute `#[cfg(test)]`, `all(test, …)` included."""
    kept, at = [], 0
    while at < len(found):
        if _is(found, at, "#", "["):
            end = _group_end(found, at + 1)
            words = [token.text for token in found[at + 2 : end - 1]]
            if words[:3] == ["cfg", "(", "test"] or words[:5] == ["cfg", "(", "all", "(", "test"]:
                at = _item_end(found, end)
                continue
        kept.append(found[at])
        at += 1
    return kept


def _is(found: list[Token], at: int, *texts: str) -> bool:
    return [token.text for token in found[at : at + len(texts)]] == list(texts)


def _group_end(found: list[Token], at: int) -> int:
    """Behind the bracket that closes the one at `at`."""
    depth = 0
    for index in range(at, len(found)):
        if found[index].text in OPEN:
            depth += 1
        elif found[index].text in CLOSE:
            depth -= 1
            if depth == 0:
                return index + 1
    return len(found)


def _item_end(found: list[Token], at: int) -> int:
    while _is(found, at, "#", "["):
        at = _group_end(found, at + 1)
    is_item = at < len(found) and found[at].text in ITEM_KEYWORDS
    ends_in_semicolon = False
    while at < len(found):
        text = found[at].text
        if text in {"use", "const", "static", "="}:
            # Their braces do not end them, but for those of a `const fn`.
            ends_in_semicolon = not _is(found, at + 1, "fn")
        if text == ";" or (text == "," and not is_item):
            return at + 1
        if text in CLOSE:
            return at
        if text in OPEN:
            at = _group_end(found, at)
            if text == "{" and not ends_in_semicolon:
                return at + 1 if _is(found, at, ",") else at
        else:
            at += 1
    return at


def read_crate(root: Path) -> Crate:
    """Reads the crate whose root file (`lib.rs`, `main.rs`) this is."""
    crate = Crate()
    pending: list[tuple[Module, Path]] = [((), root)]
    sources: list[tuple[Module, Path, list[Token]]] = []
    while pending:
        module, file = pending.pop()
        crate.modules[module] = file
        found = without_tests(tokens(file.read_text(encoding="utf-8")))
        sources.append((module, file, found))
        folder = file.parent if not module or file.name == "mod.rs" else file.with_suffix("")
        for child, path in _declared(found):
            names = [folder.joinpath(*child).with_suffix(".rs"), folder.joinpath(*child, "mod.rs")]
            candidates = [file.parent / path] if path else names
            existing = [candidate for candidate in candidates if candidate.exists()]
            if not existing:
                raise ValueError(f"{file}: no file for `mod {'::'.join(child)};` (looked for {candidates[0]})")
            pending.append(((*module, *child), existing[0]))
    for module, file, found in sources:
        _Reader(crate, module, file, found).read()
    return crate


def _declared(found: list[Token]) -> Iterator[tuple[Module, str | None]]:
    """Each `mod name;` with the inline modules that it stands in, and the file that a `#[path]` names."""
    inline: list[tuple[str, int]] = []
    path = None
    for at, token in enumerate(found):
        if inline and at >= inline[-1][1]:
            inline.pop()
        if token.text == "path" and _is(found, at + 1, "="):
            path = found[at + 2].text.strip('"')
        elif token.text == "mod" and _is(found, at + 2, ";"):
            yield (*(name for name, _ in inline), found[at + 1].text), path
            path = None
        elif token.text == "mod" and _is(found, at + 2, "{"):
            inline.append((found[at + 1].text, _group_end(found, at + 2)))
        elif token.text in {"fn", "struct", "use"}:
            path = None


class _Reader:
    """Collects what one file refers to."""

    def __init__(self, crate: Crate, module: Module, file: Path, found: list[Token]) -> None:
        self.crate, self.module, self.file, self.found = crate, module, file, found
        # Names of modules that are known here: declared or imported.
        self.known = {path[-1]: path for path in crate.modules if path and path[:-1] == module}

    def read(self) -> None:
        uses: list[tuple[int, int, Module]] = []
        for at, end, scope in self._scoped():
            if self.found[at].text == "use":
                uses.append((at, end, scope))
        skipped: set[int] = set()
        for at, end, scope in uses:
            skipped |= set(range(at, end))
            for path, name, line in _use_tree(self.found, at + 1, ()):
                self._imported(path, name, scope, line)
        for at, _, scope in self._scoped():
            if at not in skipped:
                self._path(at, scope)

    def _scoped(self) -> Iterator[tuple[int, int, Module]]:
        """Each token with the end of the `use` that it begins, and its module, inline modules included."""
        inline: list[tuple[str, int]] = []
        for at, token in enumerate(self.found):
            while inline and at >= inline[-1][1]:
                inline.pop()
            if token.text == "mod" and _is(self.found, at + 2, "{"):
                inline.append((self.found[at + 1].text, _group_end(self.found, at + 2)))
            end = at + 1
            # `impl Trait + use<'a>` is no import.
            if token.text == "use" and not _is(self.found, at + 1, "<"):
                while end < len(self.found) and self.found[end].text != ";":
                    end += 1
            yield at, end, (*self.module, *(name for name, _ in inline))

    def _imported(self, path: list[str], name: str, scope: Module, line: int) -> None:
        target = self._resolve(path, scope)
        if target is None:
            return
        self._refer(target, line)
        if target in self.crate.modules and name not in {"*", "_"}:
            self.known[name] = target

    def _path(self, at: int, scope: Module) -> None:
        token = self.found[at]
        if token.text.startswith('"'):
            # In attributes (`#[serde(with = "crate::open")]`); other strings hold no such path.
            if at and self.found[at - 1].text == "=" and re.fullmatch(r'"\w+(::\w+)+"', token.text):
                target = self._resolve(token.text.strip('"').split("::"), scope)
                if target is not None:
                    self._refer(target, token.line)
            return
        begins = not (at and self.found[at - 1].text in {"::", "."})
        if not (begins and _is(self.found, at + 1, "::")):
            return
        # `pub(in crate::name)` is visibility, no reference.
        if at > 1 and _is(self.found, at - 2, "(", "in"):
            return
        path, next_ = [token.text], at + 1
        while _is(self.found, next_, "::") and next_ + 1 < len(self.found):
            path.append(self.found[next_ + 1].text)
            next_ += 2
        target = self._resolve(path, scope)
        if target is not None:
            self._refer(target, token.line)

    def _resolve(self, path: list[str], scope: Module) -> Module | None:
        """The item's full path in this crate; `None`: another crate's."""
        first, rest = path[0], path[1:]
        if first == "crate":
            return self._of(rest)
        if first in {"super", "self"}:
            base = scope
            for name in path:
                if name == "super":
                    base = base[:-1]
                elif name != "self":
                    break
            return self._of([*base, *(name for name in path if name not in {"super", "self"})])
        if first in self.known:
            return self._of([*self.known[first], *rest])
        return None

    def _of(self, path: list[str]) -> Module:
        return tuple(name for name in path if name not in {"*", "self"})

    def _refer(self, target: Module, line: int) -> None:
        while target not in self.crate.modules:
            target = target[:-1]
        if target != self.module:
            self.crate.edges.setdefault(self.module, {}).setdefault(target, Place(self.file, line))


def _use_tree(found: list[Token], at: int, before: tuple[str, ...]) -> Iterator[tuple[list[str], str, int]]:
    """Each path that a `use` imports, the name that it is given, and its line."""
    path = list(before)
    line = found[at].line if at < len(found) else 0
    while at < len(found):
        text = found[at].text
        if text == "{":
            end, start = _group_end(found, at), at + 1
            depth = 0
            for index in range(at + 1, end):
                inner = found[index].text
                if (inner == "," and depth == 0) or index == end - 1:
                    if index > start:
                        yield from _use_tree(found[start:index], 0, tuple(path))
                    start = index + 1
                depth += (inner in OPEN) - (inner in CLOSE)
            return
        if text == ";":
            break
        if text == "as":
            yield path, found[at + 1].text, line
            return
        if text != "::":
            path.append(text)
        at += 1
    if path:
        yield path, next(name for name in reversed(path) if name != "self" or len(path) == 1), line


def workspace() -> dict[str, list[Path]]:
    """The root files of each crate of this workspace."""
    command = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"]
    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    kinds = {"lib", "cdylib", "rlib", "bin"}
    return {
        package["name"]: [Path(target["src_path"]) for target in package["targets"] if kinds & set(target["kind"])]
        for package in json.loads(answer)["packages"]
    }


def describe(crate: Crate, cycle: list[Module]) -> str:
    """The cycle for people, with the line of each reference."""
    lines = [f"{'::'.join(cycle[0]) or 'the root'}"]
    for source, target in zip(cycle, cycle[1:]):
        place = crate.edges[source][target]
        file = place.file.relative_to(ROOT) if place.file.is_relative_to(ROOT) else place.file
        lines.append(f"  -> {'::'.join(target) or 'the root'} ({file}:{place.line})")
    return "\n".join(lines)


def main() -> int:
    crates = workspace()
    if unknown := NOT_CHECKED - set(crates):
        print(f"module_graph: NOT_CHECKED names an unknown crate: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 1
    failed = False
    for name, roots in crates.items():
        for root in roots:
            crate = read_crate(root)
            if name in NOT_CHECKED:
                continue
            for cycle in crate.cycles():
                failed = True
                print(f"{name}: import cycle: {describe(crate, cycle)}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
