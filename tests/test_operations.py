"""What an operator sees of a running server: readiness, metrics, the log."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import stores
import yaml
from conftest import ROOT, TOKEN
from jobs import until
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from served import PROGRAM, Served, get, run, submit
from server_clock import ServerClock
from test_disk import _fill, disk  # noqa: F401 - a fixture

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import MLPlatformException
from mlplatform_client.serializers.auth import MLPTokenType

METRICS = ("--metrics-listen", "127.0.0.1:0")
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where another user may come, too: pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="mlplatform-operations-") as path:
        os.chmod(path, 0o755)  # noqa: S103 - that is what it is for
        yield Path(path)


def parse(text: str) -> list[Metric]:
    """By the parser of Prometheus's own Python client, which is strict."""
    families: list[Metric] = list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
    return families


def scrape(served: Served) -> dict[str, Metric]:
    """What a Prometheus gets."""
    status, kind, text = get(served.ready["metrics_url"])
    assert (status, kind) == (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    return {family.name: family for family in parse(text)}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    """Of the one sample with these labels; 0 if there is none yet."""
    # What counts requests by route has nothing to show before the first of them.
    missing = Metric("mlplatform_http_request", "", "counter")
    family = families.get(re.sub("_(total|count|sum)$", "", name), missing)
    assert family is not missing or name.startswith(missing.name), name
    found = [
        sample.value for sample in family.samples if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(found) < 2, (name, labels, found)
    return found[0] if found else 0.0


def checks(served: Served) -> tuple[int, dict[str, str]]:
    """What /readyz says."""
    status, _, text = served.get("/readyz")
    body = json.loads(text)
    return status, body["checks"] if status == 200 else body["errorParams"]["checks"]


def test_metrics_count_what_happens(folder: Path) -> None:
    with Served(folder, *METRICS) as served, served.admin() as admin:
        before = scrape(served)
        for _ in range(3):
            admin.get_clusters()
        register_token = admin.create_register_token("anna", "1h", token_type=MLPTokenType.USER)
        anna = admin.create_refresh_token(register_token)
        with pytest.raises(MLPlatformException):
            admin.create_refresh_token(register_token)
        with MLPlatform(anna, url=served.url) as colleague, pytest.raises(MLPlatformException):
            colleague.get_project_tokens_info()
        with pytest.raises(MLPlatformException):
            MLPlatform("mlpr_" + "0" * 38, url=served.url).who_am_i()
        assert served.get("/no/such/../path-of-a-stranger")[0] == 404
        assert served.get("/tokens/tok_nobody/delete")[0] in (303, 404, 200)
        program = folder / "job.py"
        program.write_text("exit 0\n")
        cluster = admin.get_clusters()[0].id
        submit(admin, cluster, "one", program).wait()
        # It is counted after the commit that ends the wait.
        until(lambda: value(scrape(served), "mlplatform_job_ends_total", result="succeeded") == 1)
        now = scrape(served)

        def grew(name: str, **labels: str) -> float:
            return value(now, name, **labels) - value(before, name, **labels)

        requests = "mlplatform_http_requests_total"
        assert grew(requests, route="get_clusters", method="GET", status="2xx") >= 4
        assert grew(requests, route="create_refresh_token", method="POST", status="2xx") == 1
        assert grew(requests, route="create_refresh_token", method="POST", status="4xx") == 1
        assert grew(requests, route="get_project_tokens_info", method="GET", status="4xx") == 1
        assert grew(requests, route="none", method="GET", status="4xx") == 1
        duration = "mlplatform_http_request_duration_seconds"
        assert grew(f"{duration}_count", route="get_clusters") >= 4
        assert 0 < grew(f"{duration}_sum", route="get_clusters") < 60
        assert grew("mlplatform_failed_authentications_total", result="refused") >= 1
        assert grew("mlplatform_store_commits_total") >= 5
        assert grew("mlplatform_store_transaction_duration_seconds_count") == grew("mlplatform_store_commits_total")
        assert grew("mlplatform_store_wait_seconds_count", pool="writer") >= 5
        assert grew("mlplatform_store_wait_seconds_count", pool="reader") >= 5
        assert grew("mlplatform_job_starts_total") == 1
        assert grew("mlplatform_job_ends_total", result="succeeded") == 1
        assert grew("mlplatform_audit_last_row") >= 4
        assert value(now, "mlplatform_audit_last_row") == value(now, "mlplatform_audit_marked_row")
        assert value(now, "mlplatform_sessions", kind="api") >= 2
        address = urlsplit(served.url)
        with socket.create_connection((address.hostname, address.port)):
            until(lambda: value(scrape(served), "mlplatform_limit_in_use", limit="connections") >= 1)
        assert value(now, "mlplatform_limit_max", limit="requests") == 1024
        assert value(now, "mlplatform_store_size_bytes") > 4096
        assert value(now, "mlplatform_disk_free_bytes") < value(now, "mlplatform_disk_size_bytes")
        assert value(now, "mlplatform_open_jobs", state="RUNNING") == 0
        assert value(now, "process_resident_memory_bytes") > 1 << 20
        assert value(now, "process_open_fds") > 5
        assert value(now, "mlplatform_scrape_complete") == 1
        for check in ("store", "schema", "clock", "disk", "serving"):
            assert value(now, "mlplatform_ready", check=check) == 1
        assert now["mlplatform_build"].samples[0].labels["version"] == run("--version").stdout.split()[-1]
        text = get(served.ready["metrics_url"])[2]
        assert not re.search(r"tok_|req_|anna|stranger|127\.0\.0\.1", text)
        assert cluster not in text
        # Of few values, whoever asks for whatever.
        for number in range(50):
            served.get(f"/tokens/tok_{number}/rotate")
            served.get(f"/{number}")
        assert len(get(served.ready["metrics_url"])[2].splitlines()) < len(text.splitlines()) + 40


def test_the_guide_names_the_metrics_there_are(folder: Path) -> None:
    guide = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
    with Served(folder, *METRICS) as served, served.admin() as admin:
        admin.who_am_i()
        told = get(served.ready["metrics_url"])[2]
    # A histogram is named as a whole.
    names = r"\b((?:mlplatform|process)_[a-z]\w*?)(?:_bucket|_count|_sum)?\b"
    shown = set(re.findall("^" + names, re.sub("^#.*$", "", told, flags=re.MULTILINE), re.MULTILINE))
    assert set(re.findall(names, guide)) == shown
    rules = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)[0])
    assert len(rules["groups"][0]["rules"]) > 5
    labels = dict(re.findall(r'(\w+)=~?"([A-Z_a-z0-9|]+)"', guide))
    for label, values in labels.items():
        assert label == "job" or all(
            re.search(rf'{label}="{part}"', told) for part in values.split("|") if part != "5xx"
        )


PACKAGING = ROOT / "packaging"
UNIT = PACKAGING / "systemd" / "mlplatform-server.service"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("jobs", [False, True])
def test_the_units_are_sound(tmp_path: Path, jobs: bool) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/mlplatform/bin/mlplatform-server", PROGRAM))
    if jobs:
        (tmp_path / f"{UNIT.name}.d").mkdir()
        shutil.copy(PACKAGING / "systemd" / "jobs.conf", tmp_path / f"{UNIT.name}.d")
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_packaging_names_flags_that_there_are() -> None:
    told = run("serve", "--help").stdout
    files = [UNIT, PACKAGING / "systemd" / "jobs.conf", PACKAGING / "Containerfile", ROOT / "docs" / "running.md"]
    variables = {name for file in files for name in re.findall(r"\bMLP_SERVER_\w+", file.read_text(encoding="utf-8"))}
    assert len(variables) > 6
    # Of what is a secret, the value is not shown.
    assert [name for name in variables if not re.search(rf"\[env: {name}[=\]]", told)] == []
    (command,) = re.findall(r"^CMD (\[.*\])$", (PACKAGING / "Containerfile").read_text(), re.MULTILINE)
    assert run(*json.loads(command), "--help").returncode == 0


def test_running_jobs_are_shown(folder: Path) -> None:
    with Served(folder, *METRICS) as served, served.admin() as admin:
        program, end = folder / "job.py", folder / "end"
        program.write_text(f"until [ -e {end} ]; do sleep 0.05; done\nexit 3\n")
        cluster = admin.get_clusters()[0].id
        submit(admin, cluster, "long", program)
        until(lambda: value(scrape(served), "mlplatform_open_jobs", state="RUNNING") == 1)
        end.touch()
        until(lambda: value(scrape(served), "mlplatform_job_ends_total", result="failed") == 1)
        assert value(scrape(served), "mlplatform_open_jobs", state="RUNNING") == 0
        assert admin.spark_job_info(cluster, "long").status == "FAILED"


def test_metrics_are_for_administrators_and_this_machine(folder: Path) -> None:
    with Served(folder) as served, served.admin() as admin:
        assert "metrics_url" not in served.ready
        assert served.get("/metrics")[0] == 401
        user = admin.create_refresh_token(admin.create_register_token("u", "1h", token_type=MLPTokenType.USER))
        assert served.get("/metrics", served.session(str(user)))[0] == 403
        token = (served.data / "admin-token").read_text().strip()
        status, kind, text = served.get("/metrics", served.session(token))
        assert (status, kind.split(";")[0]) == (200, "application/openmetrics-text")
        assert {"mlplatform_http_requests", "process_cpu_seconds"} <= {family.name for family in parse(text)}
        served.stop()
    done = run(
        "serve", "--data-dir", served.data, "--listen", "127.0.0.1:0", "--no-jobs", "--metrics-listen", "0.0.0.0:0"
    )
    assert done.returncode == 2
    assert "metrics are served without a token there" in done.stderr
    assert "127.0.0.1:PORT" in done.stderr


@root
def test_a_job_of_this_machine_cannot_read_metrics(folder: Path) -> None:
    user = pwd.getpwnam("nobody").pw_name
    with Served(folder, *METRICS) as served:
        assert get(served.ready["metrics_url"])[0] == 200
        served.stop()
    command = ["serve", "--data-dir", str(served.data), "--listen", "127.0.0.1:0", "--job-user", user, *METRICS]
    with subprocess.Popen(
        [PROGRAM, *command, "--exit-on-stdin-eof"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["metrics_url"]
        assert get(url)[0] == 200
        ask = "import sys, urllib.request as r"
        code = f"{ask}\ntry: print(r.urlopen(sys.argv[1]).status)\nexcept r.HTTPError as e: print(e.code)"
        told = subprocess.run(
            ["/usr/bin/python3", "-c", code, url], user=user, cwd="/", capture_output=True, text=True, check=True
        )
        assert told.stdout == "403\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.slow
def test_it_is_ready_until_it_is_told_to_stop(folder: Path) -> None:
    with Served(folder, "--drain-delay", "5s") as served:
        everything = dict.fromkeys(("store", "schema", "clock", "disk", "serving"), "ok")
        assert checks(served) == (200, everything)
        served.process.send_signal(signal.SIGTERM)
        until(lambda: checks(served)[0] == 503)
        status, kind, text = served.get("/readyz")
        assert (status, kind) == (503, "application/json")
        body = json.loads(text)
        assert body["errorCode"] == "ServiceUnavailableException"
        assert body["errorParams"]["field"] == "not ready: serving: the server is stopping"
        assert body["errorParams"]["checks"] == {**everything, "serving": "the server is stopping"}
        # It still serves those whom the balancer sends meanwhile.
        assert served.get("/healthz")[0] == 200
        with served.admin() as admin:
            assert admin.who_am_i().name == "admin"
        assert served.wait() == 0
    assert "not ready any more; requests are answered for another 5 seconds" in served.log.read_text()


@pytest.mark.sqlite("the lock of its file")
def test_a_store_that_cannot_be_written_is_not_ready(folder: Path) -> None:
    with Served(folder) as served:
        assert checks(served)[0] == 200
        with closing(sqlite3.connect(served.data / "platform.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            until(lambda: checks(served)[0] == 503)
            assert checks(served)[1]["store"] == "the store cannot be read and written"
            other.execute("ROLLBACK")
        until(lambda: checks(served)[0] == 200)
        log = served.log.read_text()
        assert log.count("not ready: the store cannot be read and written: no answer within 2 s") == 1
        assert "ready again" in log


@pytest.mark.slow
@pytest.mark.sqlite("the disk that is full has the database on it")
def test_a_full_disk_is_not_ready(disk: Path) -> None:  # noqa: F811
    with Served(disk, *METRICS) as served:
        assert checks(served)[0] == 200
        filler = _fill(disk)
        until(lambda: checks(served)[0] == 503)
        found = checks(served)[1]
        assert (found["disk"], found["serving"]) == ("the disk is nearly full", "ok")
        assert value(scrape(served), "mlplatform_ready", check="disk") == 0
        assert value(scrape(served), "mlplatform_disk_free_bytes") < 1 << 20
        filler.unlink()
        until(lambda: checks(served)[0] == 200)


@pytest.mark.sqlite("the server's clock is moved, and PostgreSQL has one of its own")
def test_a_store_of_a_newer_version_and_a_clock_that_went_back_are_not_ready(folder: Path, clock: ServerClock) -> None:
    with Served(folder) as served, served.admin() as admin:
        assert checks(served)[0] == 200
        clock.set(3600)
        admin.create_register_token("later", "1h", token_type=MLPTokenType.USER)
        clock.set(0)
        until(lambda: checks(served)[0] == 503)
        assert checks(served)[1]["clock"] == "the clock is behind the times in the store"
        clock.set(3600)
        until(lambda: checks(served)[0] == 200)
        stores.query(
            served.data,
            "INSERT INTO _sqlx_migrations SELECT 9999, 'newer', installed_on, success, checksum, execution_time "
            "FROM _sqlx_migrations LIMIT 1",
        )
        until(lambda: checks(served)[0] == 503)
        assert checks(served)[1]["schema"] == "the store is of another version of mlplatform-server"


def test_the_log_as_json(folder: Path) -> None:
    with Served(folder, "--log-format", "json") as served, served.admin() as admin:
        caller = admin.who_am_i().id
        with pytest.raises(MLPlatformException) as refused:
            admin.get_cluster_info("no-such-cluster")
        served.get("/no\u202e%0d%0aroute?secret=mlpr_x".replace("\u202e", "%E2%80%AE"))
        assert served.stop() == 0
    lines = [json.loads(line) for line in served.log.read_text().splitlines()]
    assert all({"timestamp", "level", "message"} <= line.keys() for line in lines)
    requests = [line for line in lines if "route" in line]
    assert all(re.fullmatch("req_[0-9a-f]{20}", line["span"]["id"]) for line in requests)
    assert len({line["span"]["id"] for line in requests}) == len(requests)
    (mine,) = [line for line in requests if line["route"] == "who_am_i"]
    assert (mine["status"], mine["token"], mine["message"]) == (200, caller, "GET /v1_0/tokens/self")
    assert 0 <= mine["ms"] < 60_000
    assert mine["address"] == "127.0.0.1"
    # The client is told the same id.
    (other,) = [line for line in requests if line["route"] == "get_cluster_info"]
    assert other["status"] == 404
    assert other["span"]["id"] in str(vars(refused.value)) or other["span"]["id"] in str(refused.value)
    (none,) = [line for line in requests if line["route"] == "none"]
    assert "secret" not in none["message"]
    assert not TOKEN.search(served.log.read_text())


def test_a_failure_within_a_request_carries_its_id(folder: Path) -> None:
    with Served(folder, "--log-format", "json") as served, served.admin() as admin:
        admin.who_am_i()
        stores.query(served.data, "ALTER TABLE audit RENAME TO gone")
        with pytest.raises(MLPlatformException):
            admin.get_audit()
        assert served.stop() in (0, 1)
    lines = [json.loads(line) for line in served.log.read_text().splitlines()]
    (failure,) = [line for line in lines if line["message"].startswith("request failed") and "causes" in line]
    (end,) = [line for line in lines if line.get("route") == "get_audit"]
    assert end["status"] == 500
    assert failure["span"]["id"] == end["span"]["id"]
    assert failure["level"] == "ERROR"
