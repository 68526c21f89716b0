"""The fixture `figure` of the long runs in tests/soak, and docs/reliability.md, which they write."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

REPORT = Path(__file__).parents[1] / "docs" / "reliability.md"
HEAD = """# Reliability

Written by `make soak`, but for lines that say "by hand". Each line is a promise, the test that tries to break it, and
what was measured when it last ran. (`kill -9` is no power cut; what stands for that is in
[SECURITY.md](../SECURITY.md).)

| promise | test | measured | when |
| --- | --- | --- | --- |
"""

Figure = Callable[[str, str], None]
_ROW = re.compile(r"^\| (?P<promise>.+?) \| `(?P<test>.+?)` \| .+ \|$")
_rows: dict[str, str] = {}


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Iterator[Figure]:
    """`figure(promise, measured)` puts a line into the report, once the test has passed."""
    noted: list[tuple[str, str]] = []
    yield lambda promise, measured: noted.append((promise, measured))
    report = getattr(request.node, "soak_report", None)
    if report is not None and report.passed:
        test = request.node.nodeid.removeprefix("tests/soak/")
        when = f"{time.strftime('%Y-%m-%d', time.gmtime())}, {platform.machine()}"
        for promise, measured in noted:
            _rows[f"{promise} {test}"] = f"| {promise} | `{test}` | {measured} | {when} |"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the fixture know whether the test has passed."""
    report = yield
    if call.when == "call":
        item.soak_report = report  # type: ignore[attr-defined]
    return report


def pytest_sessionfinish() -> None:
    """Replace the lines of what ran; the others stay."""
    if not _rows:
        return
    rows = {}
    for line in REPORT.read_text(encoding="utf-8").splitlines() if REPORT.exists() else []:
        found = _ROW.match(line)
        if found and found["promise"] != "promise":
            rows[f"{found['promise']} {found['test']}"] = line
    rows.update(_rows)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(
        HEAD + "\n".join(rows[key] for key in sorted(rows, key=lambda key: rows[key])) + "\n", encoding="utf-8"
    )
