"""Starts and ends the control plane, and the stand-ins beside it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from kubernetes.api import Api, ApiError
from kubernetes.node_standin import NodeStandIn
from kubernetes.operator_standin import OperatorStandIn
from kubernetes.programs import CannotStart, folder

LATE = 120
CONTROLLERS = (
    "garbage-collector-controller",
    "namespace-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
)


class Bed:
    """A cluster on loopback, removed at the end; `with Bed() as bed:`, then `bed.kubeconfig`."""

    def __init__(self) -> None:
        self.programs = folder()
        self.folder = Path(tempfile.mkdtemp(prefix="mlp-kubernetes-"))
        self.etcd_port, self.peer_port, self.port = (free_port() for _ in range(3))
        self.token = secrets.token_hex(16)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.operator: OperatorStandIn | None = None
        self.node: NodeStandIn | None = None
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    @property
    def kubeconfig(self) -> Path:
        """Of an administrator."""
        return self.folder / "kubeconfig"

    def _start(self) -> None:
        self._openssl("genrsa", "-out", "service-accounts.key", "2048")
        self._certificates()
        (self.folder / "tokens.csv").write_text(f"{self.token},admin,admin,system:masters\n")
        self.kubeconfig.touch(0o600)
        self.kubeconfig.write_text(json.dumps(self.config("admin", self.token)))
        self.run("etcd")
        self.run("kube-apiserver")
        self.api = Api(f"127.0.0.1:{self.port}", str(self.folder / "ca.crt"), self.token)
        self.until("the API server", self.api.is_ready)
        self.run("kube-controller-manager")
        self.run("kube-scheduler")
        crd = json.loads((Path(__file__).parent / "crd.json").read_text())
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        self.api.call("POST", crds, crd)
        certificate = (self.folder / "server.crt", self.folder / "server.key")
        self.node = NodeStandIn(self.api, self.folder / "node", certificate)
        self.node.start()
        self.until("the service account of the namespace", self._is_usable)
        self.operator = OperatorStandIn(self.api)
        self.operator.start()

    def _is_usable(self) -> bool:
        try:
            self.api.call("GET", "/api/v1/namespaces/default/serviceaccounts/default")
            self.api.call("GET", "/apis/sparkoperator.k8s.io/v1beta2/sparkapplications")
        except ApiError:
            return False
        node = self.api.call("GET", "/api/v1/nodes/node")
        if node["spec"].get("taints"):
            self.api.patch("/api/v1/nodes/node", {"spec": {"taints": None}})
            return False
        return True

    def config(self, user: str, token: str, namespace: str = "default") -> dict[str, object]:
        """A kubeconfig."""
        server = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": str(self.folder / "ca.crt")}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "bed", "cluster": server}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": user, "context": {"cluster": "bed", "user": user, "namespace": namespace}}],
            "current-context": user,
        }

    def run(self, component: str) -> None:
        """Starts one of the programs, also again."""
        etcd = f"http://127.0.0.1:{self.etcd_port}"
        kubeconfig = [f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0"]
        command = {
            "etcd": [
                "etcd", f"--data-dir={self.folder / 'etcd'}", f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}", f"--listen-peer-urls=http://127.0.0.1:{self.peer_port}",
                # What a loss of power would lose may be lost here.
                "--unsafe-no-fsync", "--log-level=warn",
            ],
            "kube-apiserver": [
                "kube", "kube-apiserver", f"--etcd-servers={etcd}", "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", f"--secure-port={self.port}",
                f"--tls-cert-file={self.folder / 'server.crt'}",
                f"--tls-private-key-file={self.folder / 'server.key'}", f"--cert-dir={self.folder}",
                "--service-cluster-ip-range=10.0.0.0/24", "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-signing-key-file={self.folder / 'service-accounts.key'}",
                f"--service-account-key-file={self.folder / 'service-accounts.key'}", "--authorization-mode=Node,RBAC",
                f"--token-auth-file={self.folder / 'tokens.csv'}", "--allow-privileged=true",
                "--kubelet-preferred-address-types=InternalIP", "--shutdown-delay-duration=0s", "--profiling=false",
            ],
            "kube-controller-manager": [
                "kube", "kube-controller-manager", *kubeconfig, f"--controllers={','.join(CONTROLLERS)}",
                f"--service-account-private-key-file={self.folder / 'service-accounts.key'}",
                f"--root-ca-file={self.folder / 'ca.crt'}", "--use-service-account-credentials=false",
            ],
            "kube-scheduler": ["kube", "kube-scheduler", *kubeconfig],
        }[component]  # fmt: skip
        with (self.folder / f"{component}.log").open("ab") as log:
            self.processes[component] = subprocess.Popen(
                [self.programs / command[0], *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", "")},
                start_new_session=True,
            )

    def kill(self, component: str, how: signal.Signals = signal.SIGKILL) -> None:
        """Ends one of the programs."""
        process = self.processes.pop(component)
        process.send_signal(how)
        process.wait()

    def until(self, what: str, is_so: Callable[[], bool]) -> None:
        """Waits for that."""
        deadline = time.monotonic() + LATE
        while True:
            with contextlib.suppress(OSError):
                if is_so():
                    return
            dead = next((name for name, process in self.processes.items() if process.poll() is not None), None)
            if dead or time.monotonic() > deadline:
                log = (self.folder / f"{dead or 'kube-apiserver'}.log").read_text(errors="replace")
                raise CannotStart(f"{what} is not ready; {dead or 'kube-apiserver'} says:\n{log[-4000:]}")
            time.sleep(0.1)

    def _certificates(self) -> None:
        """An authority, and the certificate of API server and node."""
        new = ("req", "-newkey", "rsa:2048", "-nodes", "-subj")
        self._openssl(*new, "/CN=authority", "-x509", "-days", "3", "-keyout", "ca.key", "-out", "ca.crt")
        self._openssl(*new, "/CN=127.0.0.1", "-keyout", "server.key", "-out", "server.csr")
        (self.folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
        self._openssl(
            "x509", "-req", "-days", "3", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
            "-extfile", "names", "-out", "server.crt",
        )  # fmt: skip

    def _openssl(self, *arguments: str) -> None:
        try:
            command = [shutil.which("openssl") or "openssl", *arguments]
            done = subprocess.run(command, cwd=self.folder, capture_output=True, check=False)
        except FileNotFoundError:
            raise CannotStart("openssl is missing. Debian, Ubuntu: apt-get install openssl") from None
        if done.returncode:
            raise CannotStart(f"openssl {arguments[0]} failed: {done.stderr.decode(errors='replace')}")

    def stop(self) -> None:
        """Ends everything, and removes what was written."""
        for stand_in in (self.operator, self.node):
            if stand_in:
                stand_in.end()
        for component in list(self.processes)[::-1]:
            self.kill(component)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Bed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def free_port() -> int:
    """One that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def main() -> int:
    """The two forms of the package's description."""
    parser = argparse.ArgumentParser(prog="python tests/kubernetes", description="A cluster for tests.")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    # Whoever ends us with a signal wants the cluster gone, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        bed = Bed()
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1
    with bed:
        if arguments.command:
            environment = {**os.environ, "KUBECONFIG": str(bed.kubeconfig)}
            return subprocess.run(arguments.command, env=environment, check=False).returncode
        print(bed.kubeconfig, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()
    return 0
