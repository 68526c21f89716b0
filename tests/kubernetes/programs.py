"""The programs of the control plane: found, or built from the Go module proxy into a cache outside the checkout.

`MLP_KUBERNETES_PROGRAMS` names a folder of ready-made ones, `etcd.xz` and `kube.xz`; they are taken if their checksums
are those of CHECKSUMS. What was built is checked against the sums that the build has written down.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import lzma
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

VARIABLE = "MLP_KUBERNETES_PROGRAMS"
KUBERNETES = "v1.36.3"
ETCD = "v3.6.16"
NAMES = ("etcd", "kube")
# Of ready-made programs for Linux on x86-64, compressed.
CHECKSUMS = {
    "etcd.xz": "808b63815f65c6532668ad7abbee8e5f5cb2da05ebb080da4981007149fde712",
    "kube.xz": "cb2ba803c4cd9d3fd5d9fca2a94b1f5c79e7f2786296f0bdd656ee4c89119d8d",
}
SUMS = "SHA256SUMS"


class CannotStart(Exception):
    """Why there is no control plane, and what to do about that."""


def folder() -> Path:
    """The folder of the programs. The first call builds them, which takes a quarter of an hour of two cores."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlplatform-kubernetes"
    own = cache / f"{KUBERNETES}-etcd-{ETCD}-{platform.machine()}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_whole(own):
            with tempfile.TemporaryDirectory(dir=cache) as made:
                ready_made = os.environ.get(VARIABLE)
                if ready_made:
                    _unpack(Path(ready_made), Path(made))
                else:
                    _build(Path(made))
                _seal(Path(made))
                shutil.rmtree(own, ignore_errors=True)
                shutil.copytree(made, own)
    return own


def _sum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _is_whole(own: Path) -> bool:
    if not (own / SUMS).exists():
        return False
    sums = dict(line.split("  ")[::-1] for line in (own / SUMS).read_text().splitlines())
    return all((own / name).exists() and _sum(own / name) == sums.get(name) for name in NAMES)


def _seal(made: Path) -> None:
    for name in NAMES:
        (made / name).chmod(0o755)
    (made / SUMS).write_text("".join(f"{_sum(made / name)}  {name}\n" for name in NAMES))


def _unpack(ready_made: Path, made: Path) -> None:
    for name in NAMES:
        packed = ready_made / f"{name}.xz"
        if not packed.exists():
            raise CannotStart(f"{VARIABLE}: {packed} does not exist. Unset {VARIABLE} to build the programs")
        if _sum(packed) != CHECKSUMS[packed.name]:
            raise CannotStart(
                f"{VARIABLE}: {packed} has the SHA-256 sum {_sum(packed)}, and {CHECKSUMS[packed.name]} is expected. "
                f"Unset {VARIABLE} to build the programs"
            )
        with lzma.open(packed) as source, (made / name).open("wb") as target:
            shutil.copyfileobj(source, target)


def _go(*arguments: str, cwd: Path) -> str:
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0", "GOWORK": "off"}
    try:
        command = [shutil.which("go") or "go", *arguments]
        done = subprocess.run(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, encoding="utf-8", check=False)
    except FileNotFoundError:
        raise CannotStart("go is missing, and the control plane is built with it: https://go.dev/dl") from None
    if done.returncode:
        raise CannotStart(f"go {' '.join(arguments)} failed with exit code {done.returncode}")
    return done.stdout


def _build(made: Path) -> None:
    flags = ["-p", "2", "-trimpath"]
    with tempfile.TemporaryDirectory() as scratch:
        kube = Path(scratch) / "kube"
        etcd = Path(scratch) / "etcd"
        for module in (kube, etcd):
            module.mkdir()
        shutil.copy(Path(__file__).parent / "programs" / "main.go", kube)
        (kube / "go.mod").write_text(_kube_module(Path(scratch)))
        # Without its version, the API server cannot say which API it speaks.
        package, minor = "k8s.io/component-base/version", KUBERNETES.split(".")[1]
        version = f"-X {package}.gitVersion={KUBERNETES} -X {package}.gitMajor=1 -X {package}.gitMinor={minor}"
        _go("build", *flags, "-ldflags", f"-s -w {version}", "-o", str(made / "kube"), ".", cwd=kube)
        (etcd / "go.mod").write_text(f"module etcd\n\ngo 1.24\n\nrequire go.etcd.io/etcd/server/v3 {ETCD}\n")
        (etcd / "tools.go").write_text('//go:build tools\n\npackage tools\n\nimport _ "go.etcd.io/etcd/server/v3"\n')
        _go("build", *flags, "-ldflags", "-s -w", "-o", str(made / "etcd"), "go.etcd.io/etcd/server/v3", cwd=etcd)


def _kube_module(scratch: Path) -> str:
    """The sister modules of k8s.io/kubernetes stand in folders of it, which a dependent does not see: their versions
    follow from its own."""
    downloaded = json.loads(_go("mod", "download", "-json", f"k8s.io/kubernetes@{KUBERNETES}", cwd=scratch))
    module = Path(downloaded["GoMod"]).read_text()
    go = re.search(r"^go .*$", module, re.MULTILINE)
    sister = KUBERNETES.replace("v1.", "v0.", 1)
    names = sorted(set(re.findall(r"^\s*(k8s\.io/[a-z-]+) => \./staging/", module, re.MULTILINE)))
    replaced = "".join(f"\t{name} => {name} {sister}\n" for name in names)
    return (
        f"module kube\n\n{go[0] if go else 'go 1.26'}\n\nrequire k8s.io/kubernetes {KUBERNETES}\n\n"
        f"replace (\n{replaced})\n"
    )
