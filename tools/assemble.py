"""Makes `mlplatform_client.tar.gz`: the source distribution, the ready wheels in `wheels/`, and the backend that knows.

    python tools/assemble.py --sdist dist/mlplatform_client-0.1.0.tar.gz --out dist/mlplatform_client.tar.gz WHEEL…

Two runs with the same input give the same bytes. Every file's time is SOURCE_DATE_EPOCH, which must be set.
"""

from __future__ import annotations

import argparse
import os
import sys
import tarfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "packaging" / "backend"))

import mlplatform_build

# In the repository the backend is maturin. In the archive it is ours, which asks for maturin where it must.
_MATURIN = """\
[build-system]
requires = ["maturin>=1.9.4,<2"]
build-backend = "maturin"
"""
_OURS = """\
[build-system]
requires = []
build-backend = "mlplatform_build"
backend-path = ["packaging/backend"]
"""


def read_sdist(sdist: Path) -> tuple[str, dict[str, bytes]]:
    """Its top folder, and its files by their names below that."""
    top = sdist.name[: -len(".tar.gz")]
    files = {}
    with tarfile.open(sdist) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is None or not member.name.startswith(f"{top}/"):
                raise SystemExit(f"{sdist}: unexpected member {member.name}")
            files[member.name[len(top) + 1 :]] = content.read()
    return top, files


def assemble(sdist: Path, wheels: list[Path], modified: int) -> bytes:
    """The archive's bytes."""
    top, files = read_sdist(sdist)
    settings = files["pyproject.toml"].decode()
    if _MATURIN not in settings:
        raise SystemExit("pyproject.toml: [build-system] is not the text that this tool replaces")
    files["pyproject.toml"] = settings.replace(_MATURIN, _OURS).encode()
    if "packaging/backend/mlplatform_build.py" not in files:
        raise SystemExit(f"{sdist} lacks the backend: is it committed?")
    for wheel in wheels:
        files[f"wheels/{wheel.name}"] = wheel.read_bytes()
    return mlplatform_build.pack(files, top, modified)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sdist", type=Path, required=True, help="what `maturin sdist` made")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("wheels", type=Path, nargs="+", metavar="WHEEL")
    arguments = parser.parse_args()
    content = assemble(arguments.sdist, arguments.wheels, int(os.environ["SOURCE_DATE_EPOCH"]))
    arguments.out.write_bytes(content)
    print(f"{arguments.out}: {len(content) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
