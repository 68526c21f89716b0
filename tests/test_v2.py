"""`mlplatform_client.v2` against a real server: credentials, clusters, jobs, waits."""

from __future__ import annotations

import base64
import http.server
import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from conftest import ROOT, TOKEN, Newcomer, stand_in
from jobs import new_cluster, until
from server_clock import ServerClock
from v2_scripts import COLLECT, PI, script

import mlplatform_client
from mlplatform_client import MLPlatform, TokenStr
from mlplatform_client.core import spark_job as standing
from mlplatform_client.core.exceptions import (
    BadRequestException,
    ConfigurationException,
    ConnectionException,
    MLPlatformException,
    NotFoundException,
    SparkJobFailed,
    UnauthorizedException,
)
from mlplatform_client.local import LocalPlatform, _find_program
from mlplatform_client.serializers import spark_proxy
from mlplatform_client.serializers.auth import MLPTokenType
from mlplatform_client.v2 import BasicAuth, CIAMAuth, CloudMLPlatform, K8sSparkJobStatus, SparkCluster
from mlplatform_client.v2 import platform as v2_platform
from mlplatform_client.v2.clients.spark import SparkClient
from mlplatform_client.v2.spark.job import SparkJob
from mlplatform_client.v2.spark.jobs import SparkJobsList
from mlplatform_client.v2.spark.nodes import MagnumClusterNodesUsageInfo, NodeUsage
from mlplatform_client.v2.utils import wait_job_running, wait_job_succeeded

ENDPOINT = "/iam/hydra/oauth2/token"
GRANT = {"grant_type": "client_credentials", "scope": "openid"}


def post(
    url: str, form: dict[str, str] | str, basic: str | None = None, kind: str = "application/x-www-form-urlencoded"
) -> tuple[int, Any, dict[str, Any]]:
    """Status, headers and body of the token endpoint's answer."""
    body = form if isinstance(form, str) else urllib.parse.urlencode(form)
    request = urllib.request.Request(url + ENDPOINT, body.encode(), {"Content-Type": kind})  # noqa: S310 - ours
    if basic is not None:
        request.add_header("Authorization", f"Basic {base64.b64encode(basic.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - ours
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.load(error)


def submit(cluster: SparkCluster, folder: Path, name: str, script: str) -> SparkJob:
    """A job that is a shell script."""
    program = folder / f"{name}.py"
    program.write_text(script)
    manifest = cluster.jobs.get_default_manifest(name)
    return cluster.jobs.submit_pyjob(manifest, pyfile=program)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    """One of this file's own: an address that names no cluster means the only one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(tmp_path_factory.mktemp("stand-in"))))
        platform = LocalPlatform(tmp_path_factory.mktemp("platform"))
    with platform:
        yield platform


@pytest.fixture(scope="module")
def admin(platform: LocalPlatform) -> Iterator[MLPlatform]:
    """Its Administrator."""
    with MLPlatform(platform.admin_token, url=platform.url) as admin:
        yield admin


@pytest.fixture
def user(newcomer: Newcomer) -> tuple[str, TokenStr]:
    return newcomer()


@pytest.fixture
def cluster(platform: LocalPlatform, user: tuple[str, TokenStr]) -> SparkCluster:
    return SparkCluster(SparkClient(host=f"{platform.url}/local", auth=BasicAuth(*user)))


def who(platform: LocalPlatform, session: str) -> int:
    request = urllib.request.Request(  # noqa: S310 - ours
        f"{platform.url}/v1_0/tokens/self", headers={"Authorization": f"Bearer {session}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - ours
            status: int = answer.status
    except urllib.error.HTTPError as error:
        with error:
            status = error.code
    return status


# --- the token endpoint


def test_the_token_endpoint_takes_basic_and_form(platform: LocalPlatform, admin: MLPlatform) -> None:
    name = "anna petrova:+%41@x"
    value = admin.create_refresh_token(admin.create_register_token(name, "10m", token_type=MLPTokenType.USER))
    quoted = urllib.parse.quote(name)
    as_form = urllib.parse.quote_plus(name)
    for form, basic in [
        (GRANT, f"{quoted}:{urllib.parse.quote(value)}"),
        ({**GRANT, "audience": "local", "unknown": "x"}, f"{as_form}:{value}"),
        ({**GRANT, "client_id": name, "client_secret": value}, None),
    ]:
        status, headers, answer = post(platform.url, form, basic)
        assert (status, answer["token_type"], answer["scope"]) == (200, "bearer", "openid"), answer
        assert (headers["Cache-Control"], headers["Pragma"]) == ("no-store", "no-cache")
        assert 0 < answer["expires_in"] <= 600
        assert who(platform, answer["access_token"]) == 200
    admin.delete_token(name)
    assert who(platform, answer["access_token"]) == 401, "a deleted token is cut off at the next request"


def test_the_token_endpoint_s_errors_are_those_of_rfc_6749(
    platform: LocalPlatform, user: tuple[str, TokenStr], newcomer: Newcomer
) -> None:
    name, value = user
    good = f"{name}:{value}"
    _, another = newcomer()
    table: list[tuple[dict[str, str] | str, str | None, int, str]] = [
        (GRANT, None, 401, "invalid_client"),
        (GRANT, f"{name}:wrong", 401, "invalid_client"),
        (GRANT, f"somebody:{value}", 401, "invalid_client"),
        (GRANT, f"{name}:{another}", 401, "invalid_client"),
        (GRANT, "no colon", 401, "invalid_client"),
        ({**GRANT, "client_id": name}, None, 401, "invalid_client"),
        ({}, good, 400, "invalid_request"),
        ({**GRANT, "grant_type": "password"}, good, 400, "unsupported_grant_type"),
        ({**GRANT, "scope": "admin"}, good, 400, "invalid_scope"),
        ({**GRANT, "audience": "nowhere"}, good, 400, "invalid_request"),
        ({**GRANT, "client_secret": value}, good, 400, "invalid_request"),
        ({**GRANT, "client_id": "other"}, good, 400, "invalid_request"),
        ("grant_type=client_credentials&grant_type=client_credentials", good, 400, "invalid_request"),
        ({**GRANT, "audience": "x" * 20_000}, good, 413, "invalid_request"),
    ]
    for form, basic, status, error in table:
        found, headers, answer = post(platform.url, form, basic)
        assert (found, answer["error"]) == (status, error), (str(form)[:80], basic and basic.split(":")[0], answer)
        # The envelope of all other routes, too.
        assert answer["status"] == status
        assert answer["errorCode"]
        assert answer["error_description"]
        assert value not in json.dumps(answer)
        if status == 401:
            assert headers["WWW-Authenticate"].startswith("Basic ")
    assert post(platform.url, json.dumps(GRANT), good, "application/json")[0] == 415


def test_failed_authentications_are_limited_and_audited(tmp_path: Path) -> None:
    with LocalPlatform(tmp_path / "platform") as platform:
        admin = MLPlatform(platform.admin_token, url=platform.url)
        answers = (post(platform.url, GRANT, "admin:wrong") for _ in range(2000))
        status, headers, answer = next(answer for answer in answers if answer[0] != 401)
        assert (status, answer["error"]) == (429, "temporarily_unavailable")
        assert int(headers["Retry-After"]) > 0
        # Whoever has the right one is let in.
        assert SparkClient(platform.url, BasicAuth("admin", platform.admin_token))._info().name == "local"
        rows = admin.get_audit(action="create_session", limit=100)
        assert any(row.outcome == "refused" for row in rows)
        assert "wrong" not in "".join(map(str, rows))


# --- credentials


def test_both_credentials_work(platform: LocalPlatform, user: tuple[str, TokenStr]) -> None:
    name, value = user
    token = post(platform.url, GRANT, f"{name}:{value}")[2]["access_token"]
    auths: list[BasicAuth | CIAMAuth] = [
        BasicAuth(username=name, password=value),
        BasicAuth(name, f" {value}\n"),
        CIAMAuth(client_id=name, client_secret=value, lk_ui_url=platform.url, spark_app_id="local"),
        CIAMAuth(name, value),
        CIAMAuth(ciam_access_token=token, lk_ui_url=platform.url),
    ]
    for auth in auths:
        client = SparkClient(host=platform.url, auth=auth)
        assert client._info().name == "local"
        client.close()


@pytest.mark.parametrize(
    ("auth", "error", "text", "hint"),
    [
        (lambda name, _: BasicAuth(name, "wrong"), UnauthorizedException, "client_id and client_secret", "check both"),
        (lambda _, value: BasicAuth("other", value), UnauthorizedException, "client_id", "name and the value"),
        (
            lambda name, value: CIAMAuth(name, value, spark_app_id="nowhere"),
            BadRequestException,
            "audience 'nowhere'",
            "spark_app_id",
        ),
        (
            lambda *_: CIAMAuth(ciam_access_token="gone"),
            UnauthorizedException,
            "session",
            "ciam_access_token",
        ),
    ],
)
def test_what_is_wrong_is_said_with_a_hint(
    platform: LocalPlatform,
    user: tuple[str, TokenStr],
    auth: Callable[[str, str], BasicAuth | CIAMAuth],
    error: type[MLPlatformException],
    text: str,
    hint: str,
) -> None:
    with pytest.raises(error) as caught:
        SparkCluster(SparkClient(platform.url, auth(*user))).jobs.list()
    assert text in str(caught.value)
    assert hint in str(caught.value.hint)


def test_an_expired_and_a_deleted_token_say_so(moved_platform: LocalPlatform, clock: ServerClock) -> None:
    admin = MLPlatform(moved_platform.admin_token, url=moved_platform.url)

    def make(name: str, ttl: str | None) -> BasicAuth:
        register = admin.create_register_token(name, "10m", refresh_ttl=ttl, token_type=MLPTokenType.USER)
        return BasicAuth(name, admin.create_refresh_token(register))

    short, deleted = (SparkClient(moved_platform.url, make(name, ttl)) for name, ttl in (("s", "1h"), ("d", None)))
    for client in (short, deleted):
        assert [*SparkCluster(client).jobs.list()] == []
    clock.advance(3601)
    with pytest.raises(UnauthorizedException) as caught:
        SparkCluster(short).jobs.list()
    assert "has expired" in str(caught.value.hint)
    admin.delete_token("d")
    with pytest.raises(UnauthorizedException) as caught:
        SparkCluster(deleted).jobs.list()
    assert "deleted" in str(caught.value.hint)


def test_arguments_are_checked() -> None:
    none: Any = None
    text_only: Any = "password"
    table: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: BasicAuth("a", none), TypeError, "password must be str, not NoneType: is its environment"),
        (lambda: BasicAuth(" ", "x"), BadRequestException, "username: it is empty"),
        (CIAMAuth, BadRequestException, "client_id: it is missing"),
        (lambda: CIAMAuth("a"), BadRequestException, "client_secret: it is missing"),
        (lambda: CIAMAuth("a", "b", "c"), BadRequestException, "give one of them"),
        (lambda: CIAMAuth(ciam_access_token="mlpr_x"), BadRequestException, "give an access token as client_secret"),
        (lambda: SparkClient("h", text_only), TypeError, "auth must be BasicAuth or CIAMAuth, not str"),
        (lambda: SparkClient(none, BasicAuth("a", "b")), TypeError, "host must be str"),
        (lambda: SparkClient("http://h.example", BasicAuth("a", "b")), ConfigurationException, "host is"),
        (lambda: SparkClient("h", CIAMAuth("a", "b", None, "ftp://x")), ConfigurationException, "lk_ui_url is"),
        (lambda: SparkCluster(text_only), TypeError, "client must be a SparkClient, not str"),
    ]
    for make, error, text in table:
        with pytest.raises(error, match=text) as caught:
            make()
        assert "'b'" not in str(caught.value)


def test_no_secret_is_shown(platform: LocalPlatform, capfd: pytest.CaptureFixture[str]) -> None:
    secret = "Tr0ub4dor-unique"
    for auth in (BasicAuth("anna", secret), CIAMAuth("anna", secret), CIAMAuth(ciam_access_token=secret)):
        client = SparkClient(platform.url, auth)
        cluster = SparkCluster(client)
        for shown in (auth, client, cluster, cluster.jobs, client._platform):
            assert secret not in repr(shown) + str(shown) + f"{shown}"
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(auth)
        try:
            cluster.jobs.list()
        except MLPlatformException as error:
            assert error.__traceback__ is not None
            # This function's own locals are the first frame's.
            inner = error.with_traceback(error.__traceback__.tb_next)
            told = traceback.TracebackException.from_exception(inner, capture_locals=True)
            assert secret not in "".join(told.format())
            assert secret not in repr(vars(error))
        else:
            raise AssertionError("it is the secret of nothing")
    assert secret not in "".join(capfd.readouterr())
    assert secret not in Path(f"/proc/{os.getpid()}/cmdline").read_text()
    for path in Path(platform.data_dir).rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path


# --- addresses


def test_the_path_of_the_host_names_the_cluster(
    platform: LocalPlatform, admin: MLPlatform, user: tuple[str, TokenStr]
) -> None:
    auth = BasicAuth(*user)
    local = next(info for info in admin.get_clusters() if info.name == "local")
    other = new_cluster(admin, "v2-other")
    try:
        for host in (f"{platform.url}/local", f"{platform.url}/{local.id}/", f" {platform.url}/local "):
            assert SparkClient(host=host, auth=auth)._info().id == local.id
        assert SparkClient(f"{platform.url}/v2-other", auth)._info().id == other
        for host in (platform.url, f"{platform.url}/nowhere"):
            with pytest.raises(NotFoundException, match="local, v2-other") as caught:
                SparkClient(host, auth)._info()
            assert "<cluster>" in str(caught.value.hint)
        clusters = CloudMLPlatform(platform.url, auth).clusters()
        assert sorted(cluster.jobs._cluster_id(None) for cluster in clusters) == sorted([local.id, other])
    finally:
        admin.delete_cluster(other)
        until(lambda: len(admin.get_clusters()) == 1)
    assert SparkClient(platform.url, auth)._info().id == local.id


def test_without_a_path_the_host_name_may_name_the_cluster() -> None:
    def named(host: str) -> str:
        infos = [spark_proxy.K8sClusterInfo(id, name, *others) for id, name in (("1", "spark"), ("2", "b"))]  # noqa: A001
        platform: Any = SimpleNamespace(get_clusters=lambda **_: infos)
        return v2_platform.named_cluster(platform, host, None, None).id

    others: Any = (None, "RUNNING", None, None, "", None, 0, None, None)
    assert named("https://spark.2.zone.example:443") == "2", "an id, before the name of another"
    assert named("https://spark.zone.example") == "1"


def test_a_host_without_scheme_is_https() -> None:
    assert SparkClient("spark.x.example.com", BasicAuth("a", "b")).host == "https://spark.x.example.com"


# --- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(str(folder / "cert.pem"), append=True)
    return folder


@pytest.fixture(scope="module")
def secure(authority: Path) -> Iterator[tuple[str, str]]:
    """Address and Administrator's token of a server with TLS."""
    command = [_find_program(), "serve", "--data-dir", str(authority / "data"), "--listen", "127.0.0.1:0"]
    command += ["--tls-cert", str(authority / "cert.pem"), "--tls-key", str(authority / "key.pem")]
    with subprocess.Popen(
        [*command, "--no-jobs", "--exit-on-stdin-eof"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        ready = json.loads(server.stdout.readline())
        yield ready["url"], TokenStr(Path(ready["admin_token_file"]).read_text().strip())
        assert server.stdin is not None
        server.stdin.close()


def test_an_unknown_authority_is_refused_and_can_be_named_or_skipped(
    secure: tuple[str, str], authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, token = secure
    auth = BasicAuth("admin", token)
    with pytest.raises(ConnectionException) as caught:
        SparkClient(url, auth, timeout=5)._info()
    assert "MLP_CA_BUNDLE" in str(caught.value.hint)
    monkeypatch.setattr(v2_platform, "_warned", set())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(3):
            assert SparkClient(url, auth, skip_tls_verify=True)._info().name == "local"
        issuer = CIAMAuth("admin", token, lk_ui_url=url.replace("127.0.0.1", "localhost"), verify_tls_certificate=False)
        assert SparkClient(url, issuer, skip_tls_verify=True)._info().name == "local"
    assert [warning.filename for warning in told] == [__file__] * 2
    for warning, setting in zip(told, ("skip_tls_verify=True", "verify_tls_certificate=False")):
        assert str(warning.message).startswith(setting)
        assert "MLP_CA_BUNDLE" in str(warning.message)
    # Verification of one server is not that of the other, nor that of the endpoint that of other requests.
    with pytest.warns(UserWarning, match="verify_tls_certificate=False"), pytest.raises(ConnectionException):
        SparkClient(url, CIAMAuth("admin", token, verify_tls_certificate=False), timeout=5)._info()
    strict = CIAMAuth("admin", token, lk_ui_url=url)
    with pytest.raises(ConnectionException):
        SparkClient(url, strict, skip_tls_verify=True, timeout=5)._info()
    monkeypatch.setenv("MLP_CA_BUNDLE", str(authority / "ca.pem"))
    assert SparkClient(url, auth)._info().name == "local"


# --- jobs


def test_a_job_s_whole_life(cluster: SparkCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not cluster.jobs.list()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "x.py").write_text("echo Pi is roughly 3.14\n")
    job = cluster.jobs.submit_pyjob(cluster.jobs.get_default_manifest("v2-pi"), pyfile="jobs/x.py")
    assert isinstance(job, SparkJob)
    assert SparkJob is standing.SparkJob
    wait_job_running(job, delay=8)
    assert wait_job_succeeded(job, delay=10) is None  # type: ignore[func-returns-value]
    wait_job_running(job)
    listed = cluster.jobs.list()
    assert listed
    assert len(listed) == 1
    assert isinstance(listed, SparkJobsList)
    only = listed[0]
    line = f"job_name: v2-pi, status: K8sSparkJobStatus.COMPLETED, created_at: {only.created_at} ui_url: {only.ui_url}"
    assert str(listed) == str(only) == line
    assert only.status == "COMPLETED"
    assert only.status is K8sSparkJobStatus.COMPLETED
    assert "v2-pi" in str(listed._repr_html_())
    assert "v2-pi" in repr(only)
    assert pickle.loads(pickle.dumps(only)) == only
    assert cluster.jobs.get("v2-pi") == job
    assert str(job.info()).startswith("job_name: v2-pi")
    logs = job.logs()
    assert logs.logs == "Pi is roughly 3.14\n"
    assert str(logs) == logs.logs
    job.delete()
    assert not cluster.jobs.list()
    with pytest.raises(NotFoundException):
        cluster.jobs.get("v2-pi")


def test_a_failed_job_raises_with_the_explanation(cluster: SparkCluster, tmp_path: Path) -> None:
    job = submit(cluster, tmp_path, "v2-fails", "echo nothing works; exit 3\n")
    for wait in (wait_job_succeeded, wait_job_running):
        with pytest.raises(SparkJobFailed, match="v2-fails") as caught:
            wait(job, timeout=60)
        assert caught.value.hint
        assert "nothing works" in caught.value.log
    assert job.logs().logs == "nothing works\n"
    job.delete()


def test_a_retry_is_no_failure(cluster: SparkCluster, tmp_path: Path) -> None:
    (tmp_path / "again.py").write_text(f"test -e {tmp_path}/seen && exit 0; touch {tmp_path}/seen; exit 1\n")
    manifest = cluster.jobs.get_default_manifest("v2-again")
    manifest.set_restart_policy(on_failure_retries=2, on_failure_retry_interval=1)
    job = cluster.jobs.submit_pyjob(manifest, pyfile=tmp_path / "again.py")
    wait_job_succeeded(job, timeout=120)
    assert (tmp_path / "seen").exists()
    job.delete()


def test_waits_check_their_delay(cluster: SparkCluster) -> None:
    job = SparkJob(MLPlatform("x"), "c", "j")
    for bad in (0, -1, float("nan")):
        with pytest.raises(BadRequestException, match="delay"):
            wait_job_running(job, delay=bad)


@pytest.mark.parametrize("setter", ["set_spark_conf", "add_driver_env", "add_executor_env"])
def test_an_unset_variable_in_a_manifest_is_refused(cluster: SparkCluster, tmp_path: Path, setter: str) -> None:
    manifest = cluster.jobs.get_default_manifest("v2-unset")
    (tmp_path / "x.py").write_text("exit 0\n")
    value: Any = {"spark.x": None} if setter == "set_spark_conf" else [{"name": "X", "value": None}]

    def submit_it() -> None:
        getattr(manifest, setter)(value)
        cluster.jobs.submit_pyjob(manifest, pyfile=tmp_path / "x.py")

    with pytest.raises(BadRequestException):
        submit_it()


def test_a_state_prints_as_documented() -> None:
    state = spark_proxy.K8sSparkJobStatus("SUBMITTED")
    assert f"{state} {state!s}" == "K8sSparkJobStatus.SUBMITTED K8sSparkJobStatus.SUBMITTED"
    assert f"{state:>30}" == "   K8sSparkJobStatus.SUBMITTED"
    assert state == "SUBMITTED"
    assert isinstance(state, str)


# --- scripts as that generation's documents have them, in our own words


def test_published_scripts(platform: LocalPlatform, user: tuple[str, TokenStr], tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "pi.py").write_text("echo Pi is roughly 3.14\n")
    assert script(tmp_path, platform, user, COLLECT) == "No jobs\n"
    printed = script(tmp_path, platform, user, PI)
    assert "Pi is roughly 3.14\n" in printed
    assert "job_name: scripted-pi, status: K8sSparkJobStatus.COMPLETED, created_at: " in printed
    (tmp_path / "jobs" / "pi.py").write_text("echo went wrong; exit 1\n")
    printed = script(tmp_path, platform, user, PI.replace("scripted-pi", "scripted-2"))
    assert "the job 'scripted-2' failed" in printed
    assert script(tmp_path, platform, user, COLLECT, "-d") == ""
    assert (tmp_path / "job_logs.txt").read_text() == "Pi is roughly 3.14\nwent wrong\n"
    assert script(tmp_path, platform, user, COLLECT) == "No jobs\n"


def test_the_guide_s_curl(platform: LocalPlatform, user: tuple[str, TokenStr]) -> None:
    guide = (ROOT / "docs" / "v2.md").read_text(encoding="utf-8")
    command = guide.split("<!-- run: token -->\n```sh\n", 1)[1].split("```", 1)[0]
    host, name, password = f"{platform.url}/local", *user
    environment = {**os.environ, "ML_PLATFORM_HOST": host, "KEYSTONE_USERNAME": name, "KEYSTONE_PASSWORD": password}
    done = subprocess.run(["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, check=True)
    assert who(platform, json.loads(done.stdout)["access_token"]) == 200


# --- machines


def test_machines_are_those_of_the_platform(cluster: SparkCluster) -> None:
    usage = cluster.top_nodes_info()
    (node,) = usage.nodes_usage
    assert node.name == socket.gethostname()
    assert node.cpu_total == os.cpu_count()
    total = int(Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0]) * 1024
    assert node.memory_total == total
    assert 0 < node.memory_usage < total
    assert 0 <= node.cpu_usage <= node.cpu_total
    assert node.name in str(usage)
    assert node.name in usage._repr_html_()


def test_the_table_of_machines() -> None:
    node = NodeUsage("node-0", 0.04684, 9.9, int(977.17 * 1024**2), int(1.39 * 1024**3))
    lines = str(MagnumClusterNodesUsageInfo([node])).splitlines()
    assert lines[:4] == ["", "---------------", "MagnumClusterNodesUsageInfo:", "---------------"]
    assert lines[4:] == [
        "╭────────┬─────────────┬─────────────┬───────────────┬────────────────┬────────────────┬──────────────────╮",
        "│ NAME   │ CPU USAGE   │ CPU TOTAL   │ CPU USAGE %   │ MEMORY USAGE   │ MEMORY TOTAL   │ MEMORY USAGE %   │",
        "├────────┼─────────────┼─────────────┼───────────────┼────────────────┼────────────────┼──────────────────┤",
        "│ node-0 │ 46.84m      │ 9.9         │ 0.5%          │ 977.17M        │ 1.39G          │ 68.7%            │",
        "╰────────┴─────────────┴─────────────┴───────────────┴────────────────┴────────────────┴──────────────────╯",
    ]
    assert str(MagnumClusterNodesUsageInfo([])).count("\n") == 7


# --- long waits


def test_a_wait_outlives_many_sessions(clock: ServerClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform ends the session again and again: each time the client gets another in the middle of the wait."""
    go = tmp_path / "go"
    monkeypatch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(tmp_path)))
    with LocalPlatform(tmp_path / "another") as platform:
        auth = BasicAuth("admin", platform.admin_token)
        cluster = SparkCluster(SparkClient(platform.url, auth))
        job = submit(cluster, tmp_path, "v2-long", f"while ! test -e {go}; do sleep 0.1; done\n")
        done = threading.Thread(target=wait_job_succeeded, args=(job,), kwargs={"timeout": 120})
        done.start()
        wait_job_running(job, timeout=60)
        for _ in range(3):
            clock.advance(601)
            assert job.info().status == "RUNNING"
        go.touch()
        done.join(120)
        assert not done.is_alive()
        wait_job_succeeded(job, timeout=60)


class ShortLived:
    """A token service in front of the platform's.

    As soon as a token is made, the platform's clock is moved to five seconds before its end.
    """

    def __init__(self, platform: LocalPlatform, clock: ServerClock) -> None:
        self.asked: list[float] = []
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked.append(time.monotonic())
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                header = self.headers["Authorization"].split(" ", 1)[1]
                status, _, answer = post(platform.url, body, base64.b64decode(header).decode())
                # Without the platform's own envelope and with no request id, as another server would.
                clock.advance(answer["expires_in"] - 5)
                answer = {**answer, "expires_in": 5}
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> ShortLived:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_a_token_of_five_seconds_carries_a_wait(
    clock: ServerClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    monkeypatch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(tmp_path)))
    with LocalPlatform(tmp_path / "platform") as platform, ShortLived(platform, clock) as issuer:
        auth = CIAMAuth("admin", platform.admin_token, lk_ui_url=issuer.url, spark_app_id="local")
        cluster = SparkCluster(SparkClient(f"{platform.url}/local", auth))
        began = time.monotonic()
        job = submit(cluster, tmp_path, f"v2-{seconds}", f"sleep {seconds}\n")
        wait_job_succeeded(job, timeout=seconds + 60)
        job.delete()
        # Renewed before its end, and not at each request; a busy machine may have one asked for twice.
        assert 2 <= len(issuer.asked) <= (time.monotonic() - began) / 4 + 3


# --- imports


def test_import_adds_little() -> None:
    folder = mlplatform_client.__path__[0].rsplit("/", 1)[0]
    script = f"""
import sys, time
sys.path.append({folder!r})
import mlplatform_client
before = set(sys.modules)
began = time.perf_counter()
import mlplatform_client.v2
print((time.perf_counter() - began) * 1000, *(set(sys.modules) - before))
"""
    runs = [
        subprocess.run([sys.executable, "-S", "-I", "-c", script], capture_output=True, text=True, check=True).stdout
        for _ in range(10)
    ]
    assert min(float(run.split()[0]) for run in runs) <= 5
    added = set(runs[0].split()[1:])
    assert not added & {"typing", "dataclasses", "urllib", "inspect", "json", "html"}
    assert not TOKEN.search("".join(runs))
