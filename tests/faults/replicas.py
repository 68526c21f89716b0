"""Several servers on one PostgreSQL, which are killed, stopped and deprived of their database."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from conftest import stand_in
from postgres import Cluster
from served import PROGRAM, get, run

from mlplatform_client import MLPlatform
from mlplatform_client.serializers.auth import MLPTokenType

from .kill import Ledger, load

MOUNT, UMOUNT = (shutil.which(program) or program for program in ("mount", "umount"))


class Answer(NamedTuple):
    """Of a plain request."""

    status: int
    retry_after: str | None
    body: dict[str, object]
    seconds: float


class Replica:
    """`mlplatform-server serve` with a data directory and, from its first start on, a port of its own."""

    def __init__(self, folder: Path, flags: list[str], jobs: bool) -> None:
        self.folder, self.jobs, self.url = folder, jobs, ""
        self._flags, self._port = flags, 0
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, *more: str) -> list[str]:
        """What starts it."""
        rights = "--jobs-as-myself" if self.jobs else "--no-jobs"
        return [
            PROGRAM, "--log", "info", "serve", *self._flags, "--data-dir", str(self.folder), rights,
            "--spark-submit", str(stand_in(self.folder.parent)), "--listen", f"127.0.0.1:{self._port}",
            "--exit-on-stdin-eof", *more,
        ]  # fmt: skip

    def start(self, *more: str) -> float:
        """Gives the seconds until it was ready."""
        began = time.monotonic()
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                self.command(*more), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.log.read_text()
        self.url = json.loads(line)["url"]
        self._port = int(self.url.rsplit(":", 1)[1])
        return time.monotonic() - began

    @property
    def log(self) -> Path:
        """What it has said."""
        return self.folder.with_suffix(".log")

    def send(self, which: signal.Signals) -> None:
        """A signal."""
        assert self._process is not None
        self._process.send_signal(which)

    def kill(self) -> None:
        """As a loss of its machine."""
        self.send(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """As an operator does."""
        self.send(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Its exit code."""
        assert self._process is not None
        code = self._process.wait(60)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process = None
        return code

    def close(self) -> None:
        """Whatever it does."""
        if self._process is not None:
            self.send(signal.SIGCONT)
            self.kill()

    def ready(self) -> dict[str, object]:
        """`/readyz`: its fields, whatever the status."""
        body = json.loads(get(self.url + "/readyz")[2])
        return dict(body.get("errorParams", body))

    def post(self, path: str, fields: dict[str, str], session: str | None = None) -> Answer:
        """A plain request: nothing is tried again."""
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {session}"} if session else {})}
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(fields), headers)
            answer = connection.getresponse()
            body = json.loads(answer.read())
        return Answer(answer.status, answer.getheader("Retry-After"), body, time.monotonic() - began)


class Replicas:
    """So many servers on a new database of a cluster, the first of which runs jobs."""

    def __init__(self, folder: Path, cluster: Cluster, count: int, database: str = "") -> None:
        self.cluster = cluster
        url, file, keys = database or cluster.create_database(), folder / "url", folder / "keys"
        self.database = url.rsplit("/", 1)[1]
        file.touch(0o600)
        file.write_text(url + "\n")
        keys.mkdir(0o700)
        self.flags = ["--database-url-file", str(file), "--keys-dir", str(keys)]
        made = run("init", *self.flags, "--data-dir", folder / "own", "--out", folder / "token")
        assert made.returncode == 0, made.stderr
        self.token = (folder / "token").read_text().strip()
        self.servers = [Replica(folder / f"server-{number}", self.flags, number == 0) for number in range(count)]

    def __enter__(self) -> Replicas:
        for server in self.servers:
            server.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.close()

    @property
    def urls(self) -> list[str]:
        """Of all of them."""
        return [server.url for server in self.servers]

    def admin(self, number: int = 0) -> MLPlatform:
        """The Administrator, at one of them."""
        return MLPlatform(self.token, url=self.servers[number].url)

    def verify_audit(self) -> None:
        """The chain is whole."""
        done = run("audit", "verify", *self.flags)
        assert done.returncode == 0, done.stdout + done.stderr

    def check(self, ledger: Ledger) -> None:
        """What was acknowledged holds at each of them."""
        for number in range(len(self.servers)):
            with self.admin(number) as admin:
                ledger.check(admin)
        ledger.check_secrets(self.urls[-1])
        self.verify_audit()


def until(condition: Callable[[], bool], seconds: float = 60) -> float:
    """Gives after how many seconds it held."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
    return time.monotonic() - began


def redeem_at_once(replicas: Replicas, times: int) -> list[Answer]:
    """One registration token, redeemed so often at any of the servers."""
    with replicas.admin() as admin:
        register_token = admin.create_register_token("contended", "10m", token_type=MLPTokenType.USER)
    chance = random.Random(times)  # noqa: S311 - the same in each run

    def redeem(server: Replica) -> Answer:
        answer = server.post("/v1_0/tokens", {"register_token": register_token})
        for _ in range(10):
            if answer.status != 503:
                break
            # Overloaded: nothing was changed.
            answer = server.post("/v1_0/tokens", {"register_token": register_token})
        return answer

    with ThreadPoolExecutor(64) as pool:
        return list(pool.map(redeem, [chance.choice(replicas.servers) for _ in range(times)]))


def rotate_beside_exchanges(replicas: Replicas, rotations: int) -> int:
    """After each rotation the old value is good at no server and the new one at each. Gives the number of exchanges
    that went on beside them."""
    chance = random.Random(rotations)  # noqa: S311 - the same in each run

    def exchange(server: Replica, value: str) -> int:
        return server.post("/v1_0/sessions", {"refresh_token": value}).status

    with replicas.admin() as admin:
        value = str(
            admin.create_refresh_token(admin.create_register_token("rotated", "10m", token_type=MLPTokenType.USER))
        )
    over, current = False, value

    def exchanges() -> int:
        count = 0
        while not over:
            # Either answer is right: the value may be rotated meanwhile.
            assert exchange(chance.choice(replicas.servers), current) in (201, 403)
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        beside = [pool.submit(exchanges) for _ in range(4)]
        try:
            for _ in range(rotations):
                with replicas.admin(chance.randrange(len(replicas.servers))) as admin:
                    current = str(admin.rotate_token("rotated"))
                assert [exchange(server, value) for server in replicas.servers] == [403] * len(replicas.servers)
                assert [exchange(server, current) for server in replicas.servers] == [201] * len(replicas.servers)
                value = current
        finally:
            over = True
    return sum(one.result() for one in beside)


def race_for_names(replicas: Replicas, names: int) -> None:
    """Of tokens of one name that are made at all servers at once, one is made."""
    with contextlib.ExitStack() as stack:
        admins = [stack.enter_context(replicas.admin(number)) for number in range(len(replicas.servers))]
        pool = stack.enter_context(ThreadPoolExecutor(len(admins)))
        for number in range(names):
            name = f"raced-{number}"
            tokens = [str(admins[0].create_register_token(name, "10m", token_type=MLPTokenType.USER)) for _ in admins]
            answers = list(
                pool.map(
                    lambda server, token: server.post("/v1_0/tokens", {"register_token": token}).status,
                    replicas.servers,
                    tokens,
                )
            )
            assert sorted(answers) == [201, *[409] * (len(admins) - 1)], answers
            listed = [info.name for info in admins[-1].get_project_tokens_info()]
            assert listed.count(name) == 1


def kill_any(replicas: Replicas, times: int) -> tuple[Ledger, list[float]]:
    """Kills any of the servers under load, so often; gives what was acknowledged, and the seconds of each start."""
    chance, ledger, starts = random.Random(times), Ledger(), []  # noqa: S311 - the same in each run
    with load(replicas.token, replicas.urls, ledger):
        for _ in range(times):
            ledger.wait_for(chance.randint(1, 20))
            # Not when something has just been acknowledged, but anywhere in the work after it.
            time.sleep(chance.uniform(0, 0.03))
            server = chance.choice(replicas.servers)
            server.kill()
            starts.append(server.start())
            replicas.verify_audit()
    return ledger, starts


@contextlib.contextmanager
def small_disk(at: Path) -> Iterator[None]:
    """A disk of 24 MiB, which takes root."""
    subprocess.run([MOUNT, "-t", "tmpfs", "-o", "size=24m,mode=0700,uid=nobody", "none", str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run([UMOUNT, "--lazy", str(at)], check=True)
