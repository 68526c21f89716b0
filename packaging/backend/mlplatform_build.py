"""The build backend (PEP 517, PEP 660) of `mlplatform_client.tar.gz`.

The archive is a source distribution with the ready wheel inside. Where that wheel fits, it is handed over as it is:
nothing is required, nothing is compiled, nothing is fetched. Elsewhere maturin is asked for and compiles the sources.

This file runs with nothing but the standard library, in whatever Python the user's pip runs in, an unsupported one
included: that one must get a sentence, not a traceback. So its syntax stays that of Python 3.7.
"""

from __future__ import annotations

import gzip
import os
import platform
import re
import shutil
import struct
import sys
import sysconfig
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional, Tuple  # noqa: UP035 - see above

ROOT = Path(__file__).resolve().parents[2]
MATURIN = "maturin>=1.9.4,<2"
OLDEST_PYTHON = (3, 9)
# Set to 1, it has the sources compiled though the wheel would fit.
FROM_SOURCE = "MLPLATFORM_BUILD_FROM_SOURCE"

Settings = Optional[Dict[str, Any]]  # noqa: UP006 - evaluated when the file is read, see above


class Machine(NamedTuple):
    """What decides whether a wheel fits."""

    implementation: str
    python: Tuple[int, int]  # noqa: UP006 - see above
    free_threaded: bool
    bits: int
    system: str
    architecture: str
    glibc: Optional[Tuple[int, int]]  # noqa: UP006, UP045 - see above


def this_machine() -> Machine:
    """The facts about this interpreter and what it runs on."""
    return Machine(
        implementation=platform.python_implementation(),
        python=sys.version_info[:2],
        free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        bits=struct.calcsize("P") * 8,
        system=platform.system(),
        architecture=platform.machine(),
        glibc=_glibc(),
    )


def _glibc() -> tuple[int, int] | None:
    """The version of glibc; None where there is none (musl, macOS, Windows)."""
    try:
        said = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):
        return None
    found = re.match(r"glibc (\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else None


def misfit(wheel: str, machine: Machine) -> str | None:
    """Why the wheel of that name cannot be used there; None when it can.

    It knows the one kind of wheel that this project puts into the archive, abi3 for manylinux. Any other kind does
    not fit, which is the safe answer.
    """
    tags = re.fullmatch(r".+-cp3(\d+)-abi3-(.+)\.whl", wheel)
    if tags is None:
        return "it is not an abi3 wheel"
    if machine.implementation != "CPython":
        return f"it is for CPython, this is {machine.implementation}"
    if machine.python < (3, int(tags[1])):
        return f"it is for CPython 3.{tags[1]} and later, this is {machine.python[0]}.{machine.python[1]}"
    if machine.free_threaded:
        return "it is for CPython with its global lock, this one is free-threaded"
    reasons = [_platform_misfit(tag, machine) for tag in tags[2].split(".")]
    return None if None in reasons else reasons[0]


def _platform_misfit(tag: str, machine: Machine) -> str | None:
    parts = re.fullmatch(r"manylinux_(\d+)_(\d+)_(\w+)", tag.replace("manylinux2014_", "manylinux_2_17_"))
    if parts is None:
        return f"its platform is {tag}"
    glibc, architecture = (int(parts[1]), int(parts[2])), parts[3]
    if machine.system != "Linux":
        return f"it is for Linux, this is {machine.system}"
    if machine.architecture != architecture:
        return f"it is for {architecture}, this is {machine.architecture}"
    if machine.bits != 64:
        return f"it is for a 64-bit Python, this one has {machine.bits} bits"
    if machine.glibc is None:
        return "it is for Linux with glibc, and there is none here"
    if machine.glibc < glibc:
        return f"it is for glibc {glibc[0]}.{glibc[1]} and later, this is {machine.glibc[0]}.{machine.glibc[1]}"
    return None


def ready_wheel(machine: Machine | None = None) -> tuple[Path | None, str]:
    """The wheel to hand over; or None, and why."""
    if os.environ.get(FROM_SOURCE, "0") not in {"", "0"}:
        return None, f"{FROM_SOURCE} is set"
    machine = machine or this_machine()
    reason = "there is no wheel in this archive"
    for wheel in sorted((ROOT / "wheels").glob("*.whl")):
        misfitting = misfit(wheel.name, machine)
        if misfitting is None:
            return wheel, ""
        reason = f"the wheel in this archive does not fit: {misfitting}"
    return None, reason


def _needs_for_wheel() -> list[str]:
    if sys.version_info[:2] < OLDEST_PYTHON:
        raise SystemExit(
            f"mlplatform-client needs Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or later; "
            f"{sys.executable} is {platform.python_version()}. Install it with a newer Python."
        )
    wheel, reason = ready_wheel()
    return [] if wheel else _needs_for_compiling(reason)


def _needs_for_compiling(reason: str) -> list[str]:
    if shutil.which("cargo") is None:
        raise SystemExit(
            f"mlplatform-client has to be compiled here ({reason}), and `cargo` is not on PATH. Install a Rust "
            "toolchain from https://rustup.rs and try again. The network is needed too: for maturin, the build "
            "tool, and for the Rust crates."
        )
    sys.stderr.write(f"mlplatform-client is compiled from source: {reason}\n")
    return [MATURIN]


def _maturin() -> Any:
    try:
        import maturin
    except ImportError:
        raise SystemExit(
            f"mlplatform-client has to be compiled here ({ready_wheel()[1]}), and maturin is not installed. "
            f"Install it (pip install '{MATURIN}'), or leave out --no-build-isolation."
        ) from None
    return maturin


# The hooks. Their names, arguments and results are PEP 517's and PEP 660's.


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """Nothing where the wheel fits, else maturin."""
    return _needs_for_wheel()


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    """Nothing: this tree is a source distribution already."""
    return []


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    """Maturin: who edits the sources compiles them."""
    return _needs_for_compiling("an editable install was asked for")


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Settings = None) -> str:
    """The metadata of the wheel, without building where it fits."""
    wheel, _ = ready_wheel()
    if wheel is None:
        return str(_maturin().prepare_metadata_for_build_wheel(metadata_directory, config_settings))
    name, version = wheel.name.split("-")[:2]
    folder = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(wheel) as content:
        members = [member for member in content.namelist() if member.startswith(f"{folder}/")]
        for member in members:
            if not member.endswith("/RECORD"):
                content.extract(member, metadata_directory)
    return folder


def prepare_metadata_for_build_editable(metadata_directory: str, config_settings: Settings = None) -> str:
    """The metadata, from maturin."""
    return str(_maturin().prepare_metadata_for_build_editable(metadata_directory, config_settings))


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """The ready wheel where it fits, else one that maturin builds."""
    wheel, _ = ready_wheel()
    if wheel is None:
        return str(_maturin().build_wheel(wheel_directory, config_settings, metadata_directory))
    shutil.copyfile(wheel, Path(wheel_directory) / wheel.name)
    return wheel.name


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """An editable build, by maturin."""
    return str(_maturin().build_editable(wheel_directory, config_settings, metadata_directory))


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """This tree again, without what a build left in it."""
    left = {"target", "dist", "build", "__pycache__"}
    files = {}
    for path in ROOT.rglob("*"):
        inside = path.relative_to(ROOT)
        hidden = any(part in left or part.startswith(".") for part in inside.parts)
        if path.is_file() and not hidden and path.suffix not in {".pyc", ".so"}:
            files[inside.as_posix()] = path.read_bytes()
    version = re.search(rb"^Version: (\S+)", files["PKG-INFO"], flags=re.MULTILINE)
    if version is None:
        raise SystemExit("PKG-INFO names no version: this tree is not the one that was unpacked")
    top = f"mlplatform_client-{version[1].decode()}"
    modified = int(os.environ.get("SOURCE_DATE_EPOCH") or (ROOT / "PKG-INFO").stat().st_mtime)
    (Path(sdist_directory) / f"{top}.tar.gz").write_bytes(pack(files, top, modified))
    return f"{top}.tar.gz"


def pack(files: dict[str, bytes], top: str, modified: int) -> bytes:
    """A .tar.gz whose bytes depend on nothing but the arguments."""
    buffer = BytesIO()
    # filename and mtime would otherwise end up in gzip's header
    compressed = gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=9, mtime=0)
    with compressed, tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size, member.mtime, member.mode = len(files[name]), modified, 0o644
            archive.addfile(member, BytesIO(files[name]))
    return buffer.getvalue()
