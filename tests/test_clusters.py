"""The cluster methods against a real platform: every call form, what they return and print, whom they refuse."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Newcomer

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import (
    BadRequestException,
    ConflictException,
    ForbiddenException,
    NotFoundException,
)
from mlplatform_client.local import LocalPlatform, _find_program
from mlplatform_client.serializers.spark_proxy import K8sClusterInfo

SERVER = _find_program()


@pytest.fixture
def local(admin: MLPlatform) -> K8sClusterInfo:
    """The cluster that every platform has."""
    return next(cluster for cluster in admin.get_clusters() if cluster.name == "local")


@pytest.fixture
def cluster(admin: MLPlatform, request: pytest.FixtureRequest) -> Iterator[K8sClusterInfo]:
    """One of the test's own, running."""
    name = f"t-{abs(hash(request.node.nodeid))}"[:40]
    made = admin.create_cluster({"name": name})
    yield until(admin, made.id, "RUNNING")
    admin.delete_cluster(made.id)


def until(mlp: MLPlatform, cluster_id: str, status: str) -> K8sClusterInfo:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        info = mlp.get_cluster_info(cluster_id)
        if info.status == status:
            return info
        time.sleep(0.05)
    raise AssertionError(f"not {status} in time: {info}")


def test_a_user_sees_the_cluster_of_a_new_platform(newcomer: Newcomer, platform: LocalPlatform) -> None:
    _, token = newcomer()
    anna = MLPlatform(token, url=platform.url)
    info = next(cluster for cluster in anna.get_clusters() if cluster.name == "local")
    assert isinstance(info, K8sClusterInfo)
    assert (info.status, info.status_reason, info.k8s_id, info.docker_registry) == ("RUNNING", None, None, None)
    assert (info.suspend_after_inactive_min, info.delete_after_inactive_min) == (None, None)
    assert (info.max_cores, info.max_memory) == (8, 16 * 1024**3)
    assert (info.s3_bucket_name, info.history_server_url) == ("spark-local", None)
    assert Path(platform.data_dir, "buckets", "spark-local").is_dir()
    for again in (
        anna.get_cluster_info(info.id),
        anna.get_cluster_info(cluster_id=info.id),
        anna.get_cluster_info(info.id, timeout=30),
        anna.get_cluster_info(f" {info.id} "),
    ):
        assert (again.id, again.name, again.docker_registry_id) == (info.id, "local", info.docker_registry_id)


def test_it_prints_one_field_a_line(local: K8sClusterInfo) -> None:
    lines = str(local).splitlines()
    assert lines == [
        f"id: {local.id}",
        "name: local",
        "k8s_id: None",
        "status: RUNNING",
        "status_reason: None",
        "s3_bucket_name: spark-local",
        f"docker_registry_id: {local.docker_registry_id}",
        "history_server_url: None",
        f"inactive_min: {local.inactive_min}",
        "suspend_after_inactive_min: None",
        "delete_after_inactive_min: None",
        "docker_registry: None",
    ]
    assert repr(local) == f"<K8sClusterInfo name='local' status='RUNNING' id='{local.id}'>"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda mlp, cid: mlp.set_cluster_delete_time(cid, 90), (None, 90)),
        (lambda mlp, cid: mlp.set_cluster_delete_time(cluster_id=cid, minutes=60), (None, 60)),
        (lambda mlp, cid: mlp.remove_cluster_delete_time(cid), (None, None)),
        (lambda mlp, cid: mlp.remove_cluster_delete_time(cluster_id=cid), (None, None)),
        (lambda mlp, cid: mlp.set_cluster_suspend_time(cid, 30), (30, None)),
        (lambda mlp, cid: mlp.set_cluster_suspend_time(minutes=20, cluster_id=cid, timeout=30), (20, None)),
        (lambda mlp, cid: mlp.remove_cluster_suspend_time(cid), (None, None)),
        (lambda mlp, cid: mlp.remove_cluster_suspend_time(cluster_id=cid), (None, None)),
    ],
)
def test_times(
    admin: MLPlatform,
    local: K8sClusterInfo,
    change: Callable[[MLPlatform, str], K8sClusterInfo],
    expected: tuple[int | None, int | None],
) -> None:
    info = change(admin, local.id)
    assert isinstance(info, K8sClusterInfo)
    assert (info.suspend_after_inactive_min, info.delete_after_inactive_min) == expected
    admin.remove_cluster_suspend_time(local.id)
    assert admin.remove_cluster_delete_time(local.id).delete_after_inactive_min is None


@pytest.mark.parametrize("minutes", [0, -1, 527041, 10**30])
def test_minutes_have_a_range(admin: MLPlatform, local: K8sClusterInfo, minutes: int) -> None:
    for method in (admin.set_cluster_delete_time, admin.set_cluster_suspend_time):
        with pytest.raises(BadRequestException, match=r"minutes: .*give 1 to 527040") as caught:
            method(local.id, minutes)
        assert isinstance(caught.value, ValueError)
        assert caught.value.attempts == 0


@pytest.mark.parametrize("minutes", ["30", 1.5, None, True])
def test_minutes_are_a_whole_number(admin: MLPlatform, local: K8sClusterInfo, minutes: Any) -> None:
    with pytest.raises(TypeError, match="minutes must be a whole number, not"):
        admin.set_cluster_suspend_time(local.id, minutes)


def test_a_cluster_is_made_and_goes(admin: MLPlatform) -> None:
    made = admin.create_cluster({"name": "made", "cluster_mode": "DEV", "suspend_after_delay": 1800})
    assert made.status == "CREATING"
    assert made.suspend_after_inactive_min == 30
    with pytest.raises(ConflictException, match="a cluster is named 'made'"):
        admin.create_cluster(spec={"name": "made"})
    with pytest.raises(ConflictException, match="only one that is SHUTOFF can be woken up"):
        admin.wake_up_cluster(made.id)
    assert until(admin, made.id, "RUNNING").name == "made"
    admin.delete_cluster(cluster_id=made.id)
    with pytest.raises(NotFoundException, match="there is no cluster with the id"):
        until(admin, made.id, "gone")
    assert made.id not in [cluster.id for cluster in admin.get_clusters()]


@pytest.mark.parametrize("spec", [{}, {"name": "?"}, {"name": "x", "cluster_mode": "BIG"}, {"name": 1}])
def test_a_spec_has_rules(admin: MLPlatform, spec: dict[str, Any]) -> None:
    with pytest.raises(BadRequestException, match=r"name|cluster_mode"):
        admin.create_cluster(spec)


def test_waking_up_needs_a_stopped_cluster(admin: MLPlatform, cluster: K8sClusterInfo) -> None:
    with pytest.raises(ConflictException, match="is RUNNING"):
        admin.wake_up_cluster(cluster.id)
    with pytest.raises(ConflictException, match="is RUNNING"):
        admin.wake_up_cluster(cluster_id=cluster.id)


def test_a_user_changes_nothing(newcomer: Newcomer, platform: LocalPlatform, local: K8sClusterInfo) -> None:
    name, token = newcomer()
    anna = MLPlatform(token, url=platform.url)
    for call in (
        lambda: anna.create_cluster({"name": "hers"}),
        lambda: anna.delete_cluster(local.id),
        lambda: anna.set_cluster_delete_time(local.id, 5),
        lambda: anna.remove_cluster_delete_time(local.id),
        lambda: anna.set_cluster_suspend_time(local.id, 5),
        lambda: anna.remove_cluster_suspend_time(local.id),
        lambda: anna.wake_up_cluster(local.id),
    ):
        with pytest.raises(ForbiddenException) as caught:
            call()
        assert str(caught.value) == (
            '<Response [403]>. Info: {"status":403,"errorCode":"ForbiddenException","errorParams":{"field":"'
            f"{name} token does not contain the following scopes: ['ml-platform:Manage']\"}}}}"
        )


def test_an_unknown_cluster(admin: MLPlatform) -> None:
    for call in (
        lambda: admin.get_cluster_info("no/such cluster"),
        lambda: admin.delete_cluster("x"),
        lambda: admin.set_cluster_delete_time("x", 1),
        lambda: admin.remove_cluster_delete_time("x"),
        lambda: admin.set_cluster_suspend_time("x", 1),
        lambda: admin.remove_cluster_suspend_time("x"),
        lambda: admin.wake_up_cluster("x"),
    ):
        with pytest.raises(NotFoundException, match="get_clusters lists those there are"):
            call()
    for nothing in ("", " ", ".", ".."):
        with pytest.raises(BadRequestException, match=r"cluster_id: .* is not a cluster id"):
            admin.get_cluster_info(nothing)


def test_a_token_is_no_id(admin: MLPlatform, platform: LocalPlatform) -> None:
    with pytest.raises(BadRequestException, match="cluster_id: this is a token, not a cluster id") as caught:
        admin.get_cluster_info(platform.admin_token)
    assert str(platform.admin_token) not in str(caught.value)
    with pytest.raises(BadRequestException, match="name: this is the value of a token"):
        admin.create_cluster({"name": str(platform.admin_token)})


def test_unknown_keywords(admin: MLPlatform, local: K8sClusterInfo) -> None:
    with pytest.warns(UserWarning, match=r"get_clusters\(\) ignores the keyword argument 'verbose'"):
        admin.get_clusters(verbose=True)
    with pytest.warns(UserWarning, match=r"get_cluster_info\(\) ignores the keyword argument 'clusters'"):
        assert admin.get_cluster_info(local.id, clusters=1).id == local.id
    with pytest.raises(TypeError, match="did you mean 'timeout'"):
        admin.delete_cluster(local.id, timeot=1)  # type: ignore[call-arg]


def test_a_client_that_sends_what_the_vendor_s_terraform_provider_sends(platform: LocalPlatform) -> None:
    """Its header, its paths, its body; the token is a session's, because it knows no exchange."""
    address = urllib.parse.urlsplit(platform.url)

    def send(method: str, path: str, body: object = None, token: str = "") -> tuple[int, Any]:
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
        headers = {"Accept": "application/json", "X-Auth-Token": token}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, json.loads(content) if content else None

    _, session = send("POST", "/v1_0/sessions", {"refresh_token": str(platform.admin_token)})
    token = session["session_token"]
    body = {
        "name": "terraform",
        "availability_zone": "GZ1",
        "network_id": "8b2cd2c5-6c0b-4ba1-a0e9-04a1b5f2a7a5",
        "subnet_id": "77aa2f25-3e9c-4a4b-bb0f-4b4c4ad1a2d5",
        "node_groups": [
            {"node_count": 1, "flavor_id": "8e9b1f3a", "autoscaling_enabled": False},
            {"flavor_id": "8e9b1f3a", "autoscaling_enabled": True, "min_nodes": 1, "max_nodes": 3},
        ],
        "cluster_mode": "DEV",
        "registry": {"existing_registry_id": "c1a7"},
        "ip_pool": "298117ae",
        "delete_after_delay": 7200,
        "suspend_after_delay": 1800,
        "spark_configuration": "c3BhcmsuZXZlbnRMb2cuZW5hYmxlZDogdHJ1ZQo=",
        "environment_variables": "Rk9POiBiYXIK",
    }
    status, made = send("POST", "/v1_0/magnum/", body, token)
    assert (status, made["status"], made["info"]) == (201, "CREATING", body)
    expected = {"id", "name", "status", "info", "s3_bucket_name", "docker_registry_id", "history_server_url"}
    expected |= {"control_instance_id", "inactive_min", "suspend_after_inactive_min", "delete_after_inactive_min"}
    assert expected <= set(made)
    path = f"/v1_0/magnum/{made['id']}"
    seen: list[str] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and seen[-1:] != ["RUNNING"]:
        status, info = send("GET", path, token=token)
        assert status == 200
        if seen[-1:] != [info["status"]]:
            seen.append(info["status"])
        time.sleep(0.05)
    order = ["CREATING", "CREATING_REGISTRY", "INSTALL_SPARK_OPERATOR", "RUNNING"]
    assert seen == [status for status in order if status in seen]
    assert seen[-1] == "RUNNING"
    assert send("DELETE", path, token=token) == (204, None)
    status, info = send("GET", path, token=token)
    while status == 200 and time.monotonic() < deadline:
        assert info["status"] == "DELETING"
        time.sleep(0.05)
        status, info = send("GET", path, token=token)
    assert (status, info["errorCode"]) == (404, "NotFoundException")
    status, refusal = send("GET", path, token=str(platform.admin_token))
    assert status == 401
    assert "exchange an access token for a session token" in refusal["errorParams"]["field"]


def test_commands_beside_the_server(admin: MLPlatform, platform: LocalPlatform) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [SERVER, "cluster", *arguments, "--data-dir", platform.data_dir]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    added = run("add", "big-one", "--max-cores", "2", "--max-memory", "3g")
    assert added.returncode == 0, added.stderr
    info = admin.get_cluster_info(added.stdout)
    assert (info.name, info.status, info.max_cores, info.max_memory) == ("big-one", "RUNNING", 2, 3 * 1024**3)
    listed = run("list").stdout.splitlines()
    assert listed[0].split() == ["NAME", "STATUS", "CORES", "MEMORY", "BUCKET", "ID"]
    assert ["big-one", "RUNNING", "2", "3Gi", "spark-big-one", info.id] in [line.split() for line in listed]
    for arguments, said in (
        (("add", "big-one"), "a cluster is named 'big-one'"),
        (("add", "big one"), "is not a cluster's name"),
        (("add", "x", "--max-memory", "3"), "is not an amount of memory"),
    ):
        refused = run(*arguments)
        assert refused.returncode == 2
        assert said in refused.stderr
    admin.delete_cluster(info.id)


def test_a_killed_platform_forgets_nothing(tmp_path: Path) -> None:
    with LocalPlatform(tmp_path) as first:
        mlp = MLPlatform(first.admin_token, url=first.url)
        made = mlp.create_cluster({"name": "kept"})
        mlp.set_cluster_delete_time(made.id, 90)
        first._process.kill()
        first._process.wait()
    with LocalPlatform(tmp_path) as second:
        mlp = MLPlatform(second.admin_token, url=second.url)
        info = until(mlp, made.id, "RUNNING")
        assert (info.name, info.delete_after_inactive_min) == ("kept", 90)
        assert [cluster.name for cluster in mlp.get_clusters()] == ["local", "kept"]


def test_a_newer_platform_s_status_is_a_text() -> None:
    """In a process of its own: what answers here is no platform."""
    code = """
import json, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from mlplatform_client import MLPlatform

class Newer(BaseHTTPRequestHandler):
    def do_POST(self): self.say(201, {"session_token": "s", "expires_in": 600})
    def do_GET(self): self.say(200, {"id": "c", "name": "n", "status": "UPGRADING", "colour": "red"})
    def say(self, status, answer):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass

server = HTTPServer(("127.0.0.1", 0), Newer)
threading.Thread(target=server.serve_forever, daemon=True).start()
info = MLPlatform("a token", url=f"http://127.0.0.1:{server.server_port}").get_cluster_info("c")
print(info.status, type(info.status).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("UPGRADING str\n", "")
