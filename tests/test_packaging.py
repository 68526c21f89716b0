"""The packages that `make wheel` puts into dist/: what is in them, whom they fit, how they install."""

from __future__ import annotations

import email
import email.message
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import assemble
import mlplatform_build
import pytest
from conftest import ROOT
from exits import leave_often, world
from interpreters import Interpreter, interpreters
from mlplatform_build import Machine, misfit
from test_exit import SHARING, leave_with_requests_in_flight

from mlplatform_client import MLPlatform, __version__
from mlplatform_client.local import LocalPlatform

DIST = ROOT / "dist"
ARCHIVE = DIST / "mlplatform_client.tar.gz"
TOP = f"mlplatform_client-{__version__}"
WHEEL = f"{TOP}-cp39-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"
FITS = Machine("CPython", (3, 9), False, 64, "Linux", "x86_64", (2, 17))

SMOKE = """
import importlib.metadata
import mlplatform_client
from mlplatform_client import MLPlatform
from mlplatform_client.serializers.auth import MLPTokenType

assert mlplatform_client.__version__ == importlib.metadata.version("mlplatform-client")
MLPlatform("x").close()
print(*MLPTokenType)
"""
LOCAL = """
from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform

with LocalPlatform() as platform, MLPlatform(platform.admin_token, url=platform.url) as admin:
    print(admin.who_am_i().name)
"""


# Whom the wheel fits: the decision by itself, on machines that are not here.


@pytest.mark.parametrize(
    "machine",
    [
        FITS,
        FITS._replace(python=(3, 13), glibc=(2, 36)),
        FITS._replace(python=(4, 0)),
        FITS._replace(glibc=(3, 0)),
    ],
)
def test_the_wheel_fits(machine: Machine) -> None:
    assert misfit(WHEEL, machine) is None


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        (FITS._replace(python=(3, 8)), "it is for CPython 3.9 and later, this is 3.8"),
        (FITS._replace(implementation="PyPy"), "it is for CPython, this is PyPy"),
        (FITS._replace(free_threaded=True), "it is for CPython with its global lock, this one is free-threaded"),
        (FITS._replace(system="Darwin", glibc=None), "it is for Linux, this is Darwin"),
        (FITS._replace(system="Windows", architecture="AMD64", glibc=None), "it is for Linux, this is Windows"),
        (FITS._replace(architecture="aarch64"), "it is for x86_64, this is aarch64"),
        (FITS._replace(bits=32), "it is for a 64-bit Python, this one has 32 bits"),
        (FITS._replace(glibc=None), "it is for Linux with glibc, and there is none here"),
        (FITS._replace(glibc=(2, 12)), "it is for glibc 2.17 and later, this is 2.12"),
    ],
)
def test_the_wheel_does_not_fit(
    machine: Machine, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then maturin is asked for, and where even that could not help, the user is told what would."""
    assert misfit(WHEEL, machine) == reason
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / WHEEL).touch()
    monkeypatch.setattr(mlplatform_build, "ROOT", tmp_path)
    monkeypatch.setattr(mlplatform_build, "this_machine", lambda: machine)

    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/cargo")
    assert mlplatform_build.get_requires_for_build_wheel() == [mlplatform_build.MATURIN]
    assert reason in capsys.readouterr().err

    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SystemExit, match=r"rustup\.rs") as refusal:
        mlplatform_build.get_requires_for_build_wheel()
    assert reason in str(refusal.value)


@pytest.mark.parametrize("name", ["linux_x86_64", "musllinux_1_2_x86_64", "macosx_11_0_arm64", "win_amd64"])
def test_other_kinds_of_wheels_are_left_alone(name: str) -> None:
    assert misfit(f"{TOP}-cp39-abi3-{name}.whl", FITS) == f"its platform is {name}"
    assert misfit(f"{TOP}-cp311-cp311-{name}.whl", FITS) == "it is not an abi3 wheel"


def test_one_of_several_platform_tags_is_enough() -> None:
    assert misfit(f"{TOP}-cp39-abi3-manylinux_2_34_x86_64.manylinux2014_x86_64.whl", FITS) is None


def test_both_backends_want_the_same_maturin() -> None:
    assert f'requires = ["{mlplatform_build.MATURIN}"]' in (ROOT / "pyproject.toml").read_text()


def test_the_extra_wants_the_server_of_the_same_version() -> None:
    assert f'local = ["mlplatform-server=={__version__}"]' in (ROOT / "pyproject.toml").read_text()


# What is in the packages.


def _only(pattern: str) -> Path:
    found = list(DIST.glob(pattern))
    if len(found) != 1:
        pytest.fail(f"dist/{pattern}: one file was expected, {len(found)} are there. Run `make wheel` first.")
    return found[0]


def _metadata(wheel: zipfile.ZipFile, file: str) -> email.message.Message:
    [name] = [name for name in wheel.namelist() if name.endswith(f".dist-info/{file}")]
    return email.message_from_bytes(wheel.read(name))


def _unpack(archive: Path, folder: Path) -> tuple[Path, int]:
    """The tree, its files written now (newer than what cargo made of an earlier one), and the time they had."""
    modified = 0.0
    with tarfile.open(archive) as members:
        for member in members:
            content = members.extractfile(member)
            assert content is not None
            (folder / member.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / member.name).write_bytes(content.read())
            modified = member.mtime
    return folder / TOP, int(modified)


@pytest.mark.slow
def test_client_wheel() -> None:
    path = _only("mlplatform_client-*.whl")
    assert path.stat().st_size <= 3_500_000
    with zipfile.ZipFile(path) as wheel:
        about, tags = _metadata(wheel, "METADATA"), _metadata(wheel, "WHEEL").get_all("Tag")
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert (about["Name"], about["Version"]) == ("mlplatform-client", __version__)
    assert (about["Requires-Python"], about["License-Expression"]) == (">=3.9", "Apache-2.0")
    assert tags is not None
    assert "cp39-abi3-manylinux2014_x86_64" in tags
    # no run-time dependency
    assert about.get_all("Requires-Dist") == [f"mlplatform-server=={__version__} ; extra == 'local'"]
    sources = {
        path.relative_to(ROOT / "python").as_posix()
        for path in (ROOT / "python").rglob("*")
        if path.suffix in {".py", ".pyi"} or path.name == "py.typed"
    }
    assert names == {*sources, "mlplatform_client/_native.abi3.so"}


@pytest.mark.slow
def test_server_wheel() -> None:
    with zipfile.ZipFile(_only("mlplatform_server-*.whl")) as wheel:
        about, tags = _metadata(wheel, "METADATA"), _metadata(wheel, "WHEEL").get_all("Tag")
        names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert (about["Name"], about["Version"], about["License-Expression"]) == (
        "mlplatform-server",
        __version__,
        "Apache-2.0",
    )
    # Nothing but what the extra for jobs brings.
    needs = about.get_all("Requires-Dist")
    assert needs is not None
    assert {need.split(" ; ")[-1] for need in needs} == {"extra == 'spark'"}
    assert tags is not None
    assert "py3-none-manylinux2014_x86_64" in tags
    assert names == [f"mlplatform_server-{__version__}.data/scripts/mlplatform-server"]


@pytest.mark.slow
def test_the_released_server_has_no_clock_that_can_be_moved(tmp_path: Path) -> None:
    """Only the tests' build has: who can turn a server's clock back, revives expired tokens."""
    with zipfile.ZipFile(_only("mlplatform_server-*.whl")) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith("/scripts/mlplatform-server")]
        program = Path(wheel.extract(name, tmp_path))
    program.chmod(0o700)
    assert b"MLP_SERVER_CLOCK" not in program.read_bytes()
    command = [
        str(program),
        "serve",
        "--data-dir",
        str(tmp_path),
        "--listen",
        "127.0.0.1:0",
        "--clock-offset-file",
        "x",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "unexpected argument '--clock-offset-file'" in done.stderr


@pytest.mark.slow
def test_archive_holds_the_sources_and_the_wheel_and_nothing_else() -> None:
    wheel = _only("mlplatform_client-*.whl")
    with tarfile.open(ARCHIVE) as archive:
        members = archive.getmembers()
        [packed] = [member for member in members if member.name.endswith(".whl")]
        content = archive.extractfile(packed)
        assert content is not None
        assert content.read() == wheel.read_bytes()
    assert packed.name == f"{TOP}/wheels/{wheel.name}"
    assert all(member.isfile() and (member.uid, member.gid, member.uname) == (0, 0, "") for member in members)
    names = [member.name for member in members]
    assert names == sorted(names)
    assert {name.split("/")[0] for name in names} == {TOP}
    allowed = "CHANGELOG.md CONTRIBUTING.md Cargo.lock Cargo.toml LICENSE PKG-INFO README.md SECURITY.md clippy.toml "
    allowed += "crates packaging pyproject.toml python rust-toolchain.toml rustfmt.toml src wheels"
    assert {name.split("/")[1] for name in names} == set(allowed.split())
    assert not [name for name in names if "/." in name or "__pycache__" in name or name.endswith((".so", ".pyc"))]
    assert ARCHIVE.stat().st_size <= wheel.stat().st_size + 1_000_000


@pytest.mark.slow
def test_archive_is_reproducible() -> None:
    with tarfile.open(ARCHIVE) as archive:
        [modified] = {int(member.mtime) for member in archive}
    sdist = _only("mlplatform_client-*.tar.gz")
    assert assemble.assemble(sdist, [_only("mlplatform_client-*.whl")], modified) == ARCHIVE.read_bytes()


@pytest.mark.slow
def test_the_unpacked_archive_packs_itself_again(tmp_path: Path) -> None:
    tree, modified = _unpack(ARCHIVE, tmp_path)
    # what a build would have left
    (tree / "target").mkdir()
    (tree / "target" / "left").touch()
    script = (
        "import sys; sys.path.insert(0, 'packaging/backend'); import mlplatform_build as b; b.build_sdist(sys.argv[1])"
    )
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(modified)}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=tree, env=environment, check=True)
    assert (tmp_path / f"{TOP}.tar.gz").read_bytes() == ARCHIVE.read_bytes()


# How they install.


def _environment(folder: Path, **more: str) -> dict[str, str]:
    """A user's with nothing in it: no cargo, no settings of pip's, and a network that answers nobody."""
    nowhere = "http://127.0.0.1:9"
    (folder / "empty").mkdir(exist_ok=True)
    return {
        "PATH": str(folder / "empty"),
        "HOME": str(folder),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        **more,
    }


def _run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def _venv(interpreter: Interpreter, folder: Path) -> Path:
    subprocess.run([interpreter.path, "-m", "venv", str(folder / "venv")], check=True)
    return folder / "venv" / "bin" / "python"


@pytest.mark.slow
@pytest.mark.parametrize("interpreter", [i for i in interpreters() if i.takes_the_wheel], ids=str)
def test_installs_offline_and_without_cargo(
    interpreter: Interpreter,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    platform: LocalPlatform,
    admin: MLPlatform,
) -> None:
    python, environment = _venv(interpreter, tmp_path), _environment(tmp_path)
    for package in (ARCHIVE, _only("mlplatform_client-*.whl")):
        installed = _run(python, "-m", "pip", "install", "--force-reinstall", package, **environment)
        assert installed.returncode == 0, installed.stdout
        smoke = _run(python, "-I", "-W", "error", "-c", SMOKE, **environment)
        assert (smoke.returncode, smoke.stdout) == (0, "USER ADMIN\n")
    # The release wheel has another linker than the debug build, and the end of an interpreter unwinds through it.
    for sharing in SHARING:
        leave_with_requests_in_flight(python, sharing, times=5)
    assert leave_often(python, world(platform, admin), 20) == []
    with capsys.disabled():
        print(f"\n{interpreter} ({interpreter.path}): {ARCHIVE.name} and the wheel install and work")


@pytest.mark.slow
@pytest.mark.parametrize("interpreter", [i for i in interpreters() if (3, 7) <= i.version < (3, 9)], ids=str)
def test_old_pythons_get_a_sentence(interpreter: Interpreter, tmp_path: Path) -> None:
    """From 3.7 on; the pip that comes with 3.6 knows no backends of this kind."""
    refused = _run(_venv(interpreter, tmp_path), "-m", "pip", "install", ARCHIVE, **_environment(tmp_path))
    assert refused.returncode != 0
    assert "mlplatform-client needs Python 3.9 or later" in refused.stdout
    assert "Traceback" not in refused.stdout


@pytest.mark.slow
def test_client_and_server_install_together_and_work(tmp_path: Path) -> None:
    """README's second way: the extra finds the server of the same version in the same folder."""
    python, environment = tmp_path / "venv" / "bin" / "python", _environment(tmp_path)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    install = ("install", "--no-index", "--find-links", str(DIST), "mlplatform-client[local]")
    installed = _run(python, "-m", "pip", *install, **environment)
    assert installed.returncode == 0, installed.stdout
    works = _run(python, "-I", "-W", "error", "-c", LOCAL, **environment)
    assert (works.returncode, works.stdout) == (0, "admin\n")


@pytest.mark.slow
def test_without_cargo_the_user_is_told_what_is_missing(tmp_path: Path) -> None:
    environment = _environment(tmp_path, MLPLATFORM_BUILD_FROM_SOURCE="1")
    refused = _run(sys.executable, "-m", "pip", "wheel", "-w", tmp_path, ARCHIVE, **environment)
    assert refused.returncode != 0
    assert "Install a Rust toolchain from https://rustup.rs" in refused.stdout
    assert "Traceback" not in refused.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_where_the_wheel_does_not_fit_the_archive_compiles() -> None:
    """For real, in the debug profile and with the crates that are compiled already."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    # Always the same folder: cargo would keep the artefacts of each other one for ever.
    folder = target / "test-packaging"
    shutil.rmtree(folder, ignore_errors=True)
    tree, _ = _unpack(ARCHIVE, folder)
    shutil.rmtree(tree / "wheels")
    environment = {
        **os.environ,
        "CARGO_TARGET_DIR": str(target),
        "MATURIN_PEP517_ARGS": "--profile dev --locked --offline",
        "PYO3_CONFIG_FILE": str(ROOT / "packaging" / "pyo3-abi3.txt"),
        "PYO3_BUILD_EXTENSION_MODULE": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder))
    built = _run(sys.executable, "-m", "pip", "wheel", *options, tree, **environment)
    # cargo tells crates of one name and version apart by their place in the workspace alone: it would take what was
    # made of these sources for that of the checkout, and never compile the checkout's again.
    ours = [f"--package={name}" for name in ("mlplatform-protocol", "mlplatform-client", "mlplatform-client-python")]
    manifest = tree / "Cargo.toml"
    cleaned = _run("cargo", "clean", "--locked", "--offline", "--manifest-path", manifest, *ours, **environment)
    assert cleaned.returncode == 0, cleaned.stdout
    assert built.returncode == 0, built.stdout
    [wheel] = folder.glob("*.whl")
    assert re.fullmatch(rf"{TOP}-cp39-abi3-\w+_x86_64\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as content_of_wheel:
        content_of_wheel.extractall(folder / "installed")  # noqa: S202 - ours
    smoke = _run(sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(folder / 'installed')!r}){SMOKE}")
    assert (smoke.returncode, smoke.stdout) == (0, "USER ADMIN\n")
