"""A stand-in for a node with its kubelet: each container is a process of this machine.

Real for the API server: the node, its heartbeats, the pods' phases and the states of their containers, exit codes,
config maps and secrets as files and variables, logs (also followed, and from a time on), ends with a grace period.
There is no image and no isolation: the first argument of a container that ends in `.py` is run by a shell, which is
what the programs of the conformance suite are written for. Nothing is mounted: a path
below a mount is replaced by that of the volume.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import os
import shutil
import signal
import ssl
import subprocess
import threading
import urllib.parse
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from kubernetes.api import Api, ApiError, Object, follow
from kubernetes.operator_standin import now

NODE = "node"


class Container:
    """A process, and what it prints: lines with their times, as a container runtime keeps them."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.changed = threading.Condition()
        self.lines: list[tuple[str, bytes]] = []
        self.process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started = now()
        self.is_over = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as printed:
            self._keep(printed)

    def _keep(self, printed: IO[bytes]) -> None:
        for line in printed:
            time = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
            with self.changed:
                self.lines.append((time, line))
                self.changed.notify_all()

    def wait(self) -> int:
        """Its exit code, as a container's: 128 and the signal, if it was that."""
        code = self.process.wait()
        # With the first process of a container, the others end.
        self.kill(signal.SIGKILL)
        self.reader.join()
        with self.changed:
            self.is_over = True
            self.changed.notify_all()
        return code if code >= 0 else 128 - code

    def kill(self, number: signal.Signals, everyone: bool = True) -> None:
        """A signal to the first process, or to all."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if everyone:
                os.killpg(self.process.pid, number)
            else:
                os.kill(self.process.pid, number)


class NodeStandIn:
    """Runs the pods that the scheduler gives it until `end`. `folder`: for volumes and the certificate."""

    def __init__(self, api: Api, folder: Path, certificate: tuple[Path, Path]) -> None:
        self.api, self.folder = api, folder
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.containers: dict[str, dict[str, Container]] = {}
        self.names: dict[tuple[str, str], str] = {}
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certificate)
        # The handshake is the business of the connection's own thread.
        self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        pods = (api, "/api/v1/pods", self._pod, self.ended)
        self.threads = [
            threading.Thread(target=self.server.serve_forever, daemon=True),
            threading.Thread(target=self._heartbeat, daemon=True),
            threading.Thread(target=follow, args=pods, kwargs={"fieldSelector": f"spec.nodeName={NODE}"}, daemon=True),
        ]

    def start(self) -> None:
        """Registers the node, and begins."""
        self._register()
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        """Kills what runs."""
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()
        with self.lock:
            running = [container for pod in self.containers.values() for container in pod.values()]
        for container in running:
            container.kill(signal.SIGKILL)

    def _register(self) -> None:
        labels = {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}
        node = {"metadata": {"name": NODE, "labels": labels}}
        try:
            self.api.call("POST", "/api/v1/nodes", node)
        except ApiError as error:
            if error.status != 409:
                raise
        room = {"cpu": "64", "memory": "256Gi", "pods": "1000", "ephemeral-storage": "100Gi"}
        conditions = [
            {
                "type": kind,
                "status": status,
                "reason": "StandIn",
                "lastHeartbeatTime": now(),
                "lastTransitionTime": now(),
            }
            for kind, status in (("Ready", "True"), ("MemoryPressure", "False"), ("DiskPressure", "False"))
        ]
        status = {
            "capacity": room,
            "allocatable": room,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.server.server_address[1]}},
            "conditions": conditions,
        }
        self.api.patch(f"/api/v1/nodes/{NODE}/status", {"status": status})
        # The controller manager keeps new nodes free of pods until it has seen them.
        self.api.patch(f"/api/v1/nodes/{NODE}", {"spec": {"taints": None}})

    def _heartbeat(self) -> None:
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        while not self.ended.is_set():
            time = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
            spec = {"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": time}
            with contextlib.suppress(OSError, http.client.HTTPException):
                try:
                    self.api.patch(f"{path}/{NODE}", {"spec": spec})
                except ApiError:
                    with contextlib.suppress(ApiError):
                        self.api.call("POST", path, {"metadata": {"name": NODE}, "spec": spec})
            self.ended.wait(10)

    def _pod(self, kind: str, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        with self.lock:
            known = uid in self.containers
            if kind == "DELETED":
                for container in self.containers.get(uid, {}).values():
                    container.kill(signal.SIGKILL)
                return
            if not known:
                self.containers[uid] = {}
                self.names[pod["metadata"]["namespace"], pod["metadata"]["name"]] = uid
        if pod["metadata"].get("deletionTimestamp"):
            threading.Thread(target=self._stop, args=(pod,), daemon=True).start()
        elif not known:
            threading.Thread(target=self._run, args=(pod,), daemon=True).start()

    def _run(self, pod: Object) -> None:
        metadata, spec = pod["metadata"], pod["spec"]
        folder = self.folder / metadata["uid"]
        try:
            volumes = {volume["name"]: self._volume(pod, volume, folder) for volume in spec.get("volumes", [])}
            running = {}
            for container in spec["containers"]:
                running[container["name"]] = Container(*self._command(pod, container, volumes), folder)
        except (ApiError, OSError) as error:
            ended = {"exitCode": 128, "reason": "StartError", "message": str(error)[:200], "finishedAt": now()}
            states = {container["name"]: {"terminated": ended} for container in spec["containers"]}
            self._report(pod, "Failed", states)
            return
        with self.lock:
            self.containers[metadata["uid"]] = running
        self._report(pod, "Running", {name: {"running": {"startedAt": one.started}} for name, one in running.items()})
        states, success = {}, True
        for name, one in running.items():
            code = one.wait()
            success = success and code == 0
            reason = "Completed" if code == 0 else "Error"
            end = {"exitCode": code, "reason": reason, "startedAt": one.started, "finishedAt": now()}
            states[name] = {"terminated": end}
        self._report(pod, "Succeeded" if success else "Failed", states)
        shutil.rmtree(folder, ignore_errors=True)

    def _volume(self, pod: Object, volume: Object, folder: Path) -> Path:
        path: Path = folder / "volumes" / str(volume["name"])
        path.mkdir(parents=True, exist_ok=True)
        for key, value in self._data(pod, volume.get("configMap"), volume.get("secret")).items():
            (path / key).write_bytes(value)
        return path

    def _data(self, pod: Object, config_map: Object | None, secret: Object | None) -> dict[str, bytes]:
        space = f"/api/v1/namespaces/{pod['metadata']['namespace']}"
        if config_map:
            found = self.api.call("GET", f"{space}/configmaps/{config_map['name']}")
            binary = {key: base64.b64decode(value) for key, value in found.get("binaryData", {}).items()}
            return {**{key: value.encode() for key, value in found.get("data", {}).items()}, **binary}
        if secret:
            found = self.api.call("GET", f"{space}/secrets/{secret.get('secretName') or secret['name']}")
            return {key: base64.b64decode(value) for key, value in found.get("data", {}).items()}
        return {}

    def _command(self, pod: Object, container: Object, volumes: dict[str, Path]) -> tuple[list[str], dict[str, str]]:
        def path_of(argument: str) -> str:
            path = argument.removeprefix("local://")
            for mount in container.get("volumeMounts", []):
                if path.startswith(mount["mountPath"] + "/"):
                    return str(volumes[mount["name"]]) + path[len(mount["mountPath"]) :]
            return argument

        environment = {"PATH": os.environ.get("PATH", ""), "HOSTNAME": pod["metadata"]["name"]}
        for variable in container.get("env", []):
            source = variable.get("valueFrom", {})
            config_map, secret = source.get("configMapKeyRef"), source.get("secretKeyRef")
            if config_map or secret:
                key = (config_map or secret)["key"]
                environment[variable["name"]] = self._data(pod, config_map, secret)[key].decode()
            else:
                environment[variable["name"]] = path_of(variable.get("value", ""))
        arguments = [path_of(argument) for argument in container.get("args", [])]
        program = next((at for at, argument in enumerate(arguments) if argument.endswith(".py")), 0)
        return [*(container.get("command") or ["sh"]), *arguments[program:]], environment

    def _stop(self, pod: Object) -> None:
        metadata = pod["metadata"]
        with self.lock:
            running = list(self.containers.get(metadata["uid"], {}).values())
        for container in running:
            container.kill(signal.SIGTERM, everyone=False)
        for container in running:
            try:
                container.process.wait(metadata.get("deletionGracePeriodSeconds", 30))
            except subprocess.TimeoutExpired:
                container.kill(signal.SIGKILL)
            with container.changed:
                container.changed.wait_for(lambda one=container: one.is_over, 10)  # type: ignore[misc]
        # As a kubelet, which tells how it ended before the pod goes.
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        with contextlib.suppress(ApiError):
            for _ in range(100):
                if not running or self.api.call("GET", path)["status"].get("phase") in ("Succeeded", "Failed"):
                    break
                self.ended.wait(0.05)
            precondition = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
            self.api.call("DELETE", path, precondition)

    def _report(self, pod: Object, phase: str, states: dict[str, Any]) -> None:
        ready = "True" if phase == "Running" else "False"
        names = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        status = {
            "phase": phase,
            "startTime": now(),
            "hostIP": "127.0.0.1",
            "podIP": "127.0.0.1",
            "podIPs": [{"ip": "127.0.0.1"}],
            "conditions": [
                {"type": name, "status": "True" if name == "PodScheduled" else ready, "lastTransitionTime": now()}
                for name in names
            ],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": phase == "Running",
                    "restartCount": 0,
                    "state": states[container["name"]],
                }
                for container in pod["spec"]["containers"]
            ],
        }
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
        while not self.ended.is_set():
            try:
                self.api.patch(path, {"metadata": {"uid": metadata["uid"]}, "status": status})
                return
            except ApiError as error:
                if error.status in (404, 409, 422):
                    return
            except (OSError, http.client.HTTPException):
                pass
            self.ended.wait(0.2)


def handler(node: NodeStandIn) -> type[http.server.BaseHTTPRequestHandler]:
    """What the API server asks of a kubelet: the log of a container."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            url = urllib.parse.urlsplit(self.path)
            asked = dict(urllib.parse.parse_qsl(url.query))
            parts = url.path.strip("/").split("/")
            uid = node.names.get((parts[1], parts[2])) if len(parts) == 4 and parts[0] == "containerLogs" else None
            container = node.containers.get(uid or "", {}).get(parts[-1])
            if container is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            with contextlib.suppress(OSError):
                self._lines(container, asked)

        def _lines(self, container: Container, asked: dict[str, str]) -> None:
            place = 0
            while True:
                with container.changed:
                    lines, place = container.lines[place:], len(container.lines)
                    over = container.is_over
                for time, line in lines:
                    if time >= asked.get("sinceTime", "").replace("Z", ""):
                        self.wfile.write(time.encode() + b" " + line if asked.get("timestamps") == "true" else line)
                self.wfile.flush()
                if over or asked.get("follow") != "true" or node.ended.is_set():
                    return
                with container.changed:
                    container.changed.wait_for(
                        lambda: len(container.lines) > place or container.is_over,  # noqa: B023
                        timeout=1,
                    )

    return Handler
