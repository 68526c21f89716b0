"""What the platform says of its own address where a proxy stands before it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from conftest import stand_in
from jobs import FINAL, manifest, until

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform, _find_program

PUBLIC = "https://ml.example.com"


def test_a_jobs_page_is_where_the_world_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    program = tmp_path / "job.py"
    program.write_text("exit 0\n")
    monkeypatch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(tmp_path)))
    with LocalPlatform(data) as platform, MLPlatform(platform.admin_token, url=platform.url) as admin:
        cluster, token = admin.get_clusters()[0].id, platform.admin_token
        job = admin.spark_submit_job(cluster, manifest("job"), program)
        assert job.ui_url == f"{platform.url}/clusters/{cluster}/job/jobs/"
        until(lambda: admin.spark_job_info(cluster, "job").status in FINAL)
    # Where it runs no jobs, it tells of those that ran.
    command = [_find_program(), "serve", "--data-dir", str(data), "--listen", "127.0.0.1:0"]
    command += ["--public-url", PUBLIC, "--no-jobs", "--exit-on-stdin-eof"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            url = json.loads(server.stdout.readline())["url"]
            # Whoever started it is told where it listens.
            assert url.startswith("http://127.0.0.1:")
            with MLPlatform(token, url=url) as admin:
                told = [admin.spark_job_info(cluster, "job").ui_url, admin.spark_jobs_list(cluster)[0].ui_url]
            assert told == [f"{PUBLIC}/clusters/{cluster}/job/jobs/"] * 2
        finally:
            server.stdin.close()
            assert server.wait(30) == 0
