"""A server process with flags of a test's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from conftest import stand_in
from jobs import manifest

from mlplatform_client import MLPlatform
from mlplatform_client.core.spark_job import SparkJob
from mlplatform_client.local import _find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self

PROGRAM = _find_program()


class Served:
    """`mlplatform-server serve` on a free port; its log is a file beside the data directory."""

    def __init__(self, folder: Path, *arguments: str, log_level: str = "info", spark: bool = False) -> None:
        self.data = folder / "data"
        self.log = folder / "served.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [
                    *(PROGRAM, "--log", log_level, "serve", "--data-dir", str(self.data), "--listen", "127.0.0.1:0"),
                    *("--exit-on-stdin-eof", "--jobs-as-myself", *arguments),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ if spark else {**os.environ, "MLP_SERVER_SPARK_SUBMIT": str(stand_in(folder))},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.wait()
            raise AssertionError(self.log.read_text())
        self.ready: dict[str, str] = json.loads(line)
        self.url = self.ready["url"]

    def admin(self) -> MLPlatform:
        """The Administrator whose token is in the data directory."""
        return MLPlatform((self.data / "admin-token").read_text().strip(), url=self.url)

    def stop(self) -> int:
        """Stop it as an operator does."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Its exit code."""
        code = self.process.wait(60)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()

    def get(self, path: str, session: str | None = None) -> tuple[int, str, Any]:
        """Status, content type and text of an answer."""
        return get(self.url + path, session)

    def session(self, token: str) -> str:
        """A session of that access token, as any client gets one."""
        body = json.dumps({"refresh_token": token}).encode()
        request = urllib.request.Request(  # noqa: S310 - ours
            f"{self.url}/v1_0/sessions", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - ours
            session: str = json.load(answer)["session_token"]
        return session


def get(url: str, session: str | None = None) -> tuple[int, str, str]:
    """Status, content type and text of an answer, whatever its status."""
    headers = {"Authorization": f"Bearer {session}"} if session else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:  # noqa: S310
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A command of the program, to its end."""
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)


def submit(admin: MLPlatform, cluster: str, name: str, program: Path) -> SparkJob:
    """A job that is a shell script; its handle."""
    admin.spark_submit_job(cluster, manifest(name, mainApplicationFile=f"local://{program}"))
    return admin.spark_job(cluster, name)
