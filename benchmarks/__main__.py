"""Runs every `benchmarks/bench_*.py`, or those that are named, and writes their sections into docs/benchmarks.md.

    python -m benchmarks [NAME…]

A module has `TITLE`, and `run()`, which returns the section's Markdown. A section that is not run stays as it was.
"""

from __future__ import annotations

import importlib
import platform
import re
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).parent
# Benchmarks start PostgreSQL by the same means as tests.
sys.path.insert(0, str(HERE.parent / "tests"))
REPORT = HERE.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench`; nothing here is typed by hand. What is compared was measured in one run, side by side and
interleaved, because machines differ from hour to hour: read the ratios, and the medians only beside each other.
"""


def sections(text: str) -> dict[str, str]:
    """The sections of a report by their titles."""
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def main(names: list[str]) -> None:
    known = sorted(path.stem[len("bench_") :] for path in HERE.glob("bench_*.py"))
    unknown = set(names) - set(known)
    if unknown:
        raise SystemExit(f"no benchmark is named {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    written = sections(REPORT.read_text(encoding="utf-8")) if REPORT.exists() else {}
    failed = []
    for name in sorted(names or known):
        print(f"{name} …", flush=True)
        try:
            module = importlib.import_module(f"benchmarks.bench_{name}")
            measured = module.run().strip()
        except (Exception, SystemExit):  # noqa: BLE001 - whatever one fails on,
            # the others are measured all the same; their figures took long enough.
            traceback.print_exc()
            failed.append(name)
            continue
        when = f"{time.strftime('%Y-%m-%d', time.gmtime())}, Python {platform.python_version()}, {platform.machine()}"
        written[module.TITLE] = f"{measured}\n\n({when})"
        body = (f"## {title}\n\n{written[title].strip()}\n" for title in sorted(written))
        REPORT.write_text("\n".join([HEAD, *body]), encoding="utf-8")
    if failed:
        raise SystemExit(f"not measured: {', '.join(failed)}")
    print(f"written: {REPORT.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main(sys.argv[1:])
