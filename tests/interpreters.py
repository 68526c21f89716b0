"""The Pythons of this machine, found and not assumed."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PROBE = (
    "import os, platform, sys, sysconfig; "
    "print(sys.version_info[0], sys.version_info[1], platform.python_implementation(), platform.python_version(), "
    "int(bool(sysconfig.get_config_var('Py_GIL_DISABLED'))), os.path.realpath(sys.executable), sep='\\n')"
)


class Interpreter(NamedTuple):
    """One of them; `str()` of it is what a report shows."""

    path: str
    version: tuple[int, int]
    name: str
    free_threaded: bool

    @property
    def takes_the_wheel(self) -> bool:
        """Whether it is one that an abi3 wheel for 3.9 is for."""
        return self.name.startswith("CPython") and self.version >= (3, 9) and not self.free_threaded

    def __str__(self) -> str:
        return f"{self.name}{'t' if self.free_threaded else ''}"


def _candidates() -> Iterator[str | None]:
    for minor in range(7, 16):
        yield shutil.which(f"python3.{minor}")
        yield shutil.which(f"python3.{minor}t")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local" / "share" / "uv" / "python"))
    for folder in (pyenv / "versions", uv):
        yield from map(str, sorted(folder.glob("*/bin/python3")))
    yield sys._base_executable  # type: ignore[attr-defined] # undocumented, and what `venv` itself uses


@functools.cache
def interpreters() -> list[Interpreter]:
    """Each once, oldest first. A name on the path that does not start (pyenv has such) is passed over."""
    found = {}
    for candidate in filter(None, _candidates()):
        said = subprocess.run([candidate, "-I", "-c", _PROBE], capture_output=True, text=True, check=False)
        if said.returncode == 0:
            major, minor, implementation, version, free_threaded, real = said.stdout.split("\n")[:6]
            found[real] = Interpreter(
                candidate, (int(major), int(minor)), f"{implementation} {version}", free_threaded == "1"
            )
    return sorted(found.values(), key=lambda interpreter: (interpreter.version, interpreter.name))
