"""A platform that is killed at random moments under load, and the ledger of what it had acknowledged."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import ForbiddenException, MLPlatformException
from mlplatform_client.local import _find_program
from mlplatform_client.serializers.auth import MLPTokenType

WORKERS = 4


class Server:
    """`mlplatform-server` on one data directory and, from its first start on, one port."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, 0
        self.url = self.admin_token = ""

    def start(self) -> float:
        """Gives the seconds until it was ready."""
        command = [_find_program(), "serve", "--data-dir", str(self._folder), "--exit-on-stdin-eof", "--log", "warn"]
        command += ["--jobs-as-myself", "--listen", f"127.0.0.1:{self._port}"]
        began = time.monotonic()
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        ready = json.loads(self._process.stdout.readline())
        took = time.monotonic() - began
        self.url = ready["url"]
        self._port = int(self.url.rsplit(":", 1)[1])
        self.admin_token = Path(ready["admin_token_file"]).read_text(encoding="ascii").strip()
        return took

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._end()

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._end()

    def _end(self) -> None:
        self._process.wait(30)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def verify_audit(self) -> None:
        done = subprocess.run(
            [_find_program(), "audit", "verify", "--data-dir", str(self._folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout

    def seed(self, tokens: int) -> None:
        """Puts so many tokens into the store of a platform that is not running."""
        with contextlib.closing(sqlite3.connect(self._folder / "platform.sqlite3")) as store, store:
            ids = [f"tok_seed{number:016}" for number in range(tokens)]
            store.executemany(
                "INSERT INTO tokens (id, name, role, issuer_name, created_at) VALUES (?1, ?1, 'USER', 'seed', 1)",
                ((token_id,) for token_id in ids),
            )
            store.executemany(
                "INSERT INTO token_secrets (digest, token_id, created_at) VALUES (randomblob(32), ?, 1)",
                ((token_id,) for token_id in ids),
            )


@dataclass
class Ledger:
    """What the platform has acknowledged. What failed or is under way is in no book."""

    living: dict[str, str] = field(default_factory=dict)
    dead: dict[str, str] = field(default_factory=dict)
    # Values that rotating has ended, and registration tokens that were redeemed or withdrawn.
    worthless: list[str] = field(default_factory=list)
    acknowledged: int = 0
    failures: list[MLPlatformException] = field(default_factory=list)
    over: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, more: int) -> None:
        """Until so much more has been acknowledged."""
        with self.changed:
            goal = self.acknowledged + more
            assert self.changed.wait_for(lambda: self.acknowledged >= goal, 60), self.failures

    def work(self, token: str, urls: list[str], worker: int) -> None:
        """Makes tokens, deletes each third, rotates each fourth, and with each fifth withdraws a registration token.
        Each call goes to any of the servers."""
        chance = random.Random(worker)  # noqa: S311 - the same in each run
        with contextlib.ExitStack() as stack:
            admins = [stack.enter_context(MLPlatform(token, url=url)) for url in urls]
            number = 0
            while not self.over:
                admin = chance.choice(admins)
                number += 1
                name = f"worker-{worker}-{number}"
                try:
                    register_token = admin.create_register_token(name, "10m", token_type=MLPTokenType.USER)
                    token = chance.choice(admins).create_refresh_token(register_token)
                    self._note(living={name: token}, worthless=[register_token])
                    if number % 4 == 0:
                        # While it is under way, either value may be the one that works.
                        self._note(gone=name)
                        rotated = chance.choice(admins).rotate_token(name)
                        self._note(living={name: rotated}, worthless=[token])
                        token = rotated
                    if number % 5 == 0:
                        withdrawn = admin.create_register_token(f"{name}-never", "10m", token_type=MLPTokenType.USER)
                        ids = {info.client_name: info.id for info in chance.choice(admins).get_register_tokens_info()}
                        admin.delete_register_token(ids[f"{name}-never"])
                        self._note(worthless=[withdrawn])
                    if number % 3 == 0:
                        self._note(gone=name)
                        chance.choice(admins).delete_token(name)
                        self._note(dead={name: token})
                except MLPlatformException as error:
                    self.failures.append(error)

    def _note(
        self,
        living: dict[str, str] | None = None,
        dead: dict[str, str] | None = None,
        gone: str = "",
        worthless: list[str] | None = None,
    ) -> None:
        with self.changed:
            self.living.update(living or {})
            self.dead.update(dead or {})
            self.worthless += worthless or []
            self.living.pop(gone, None)
            self.acknowledged += len(living or dead or ())
            self.changed.notify_all()

    def check(self, admin: MLPlatform) -> None:
        """None lost, none back from the dead, by the platform's own list."""
        with self.changed:
            living, dead = set(self.living), set(self.dead)
        listed = {info.name for info in admin.get_project_tokens_info()}
        with self.changed:
            # Those that are being deleted meanwhile have left the book.
            lost = (living & set(self.living)) - listed
        assert not lost
        assert not dead & listed

    def check_secrets(self, url: str) -> None:
        """The values work, or do not."""
        for name, token in self.living.items():
            with MLPlatform(token, url=url) as mlp:
                assert mlp.who_am_i().name == name
        for token in [*self.dead.values(), *self.worthless]:
            with MLPlatform(token, url=url) as mlp:
                use = partial(mlp.create_refresh_token, token) if token.startswith("mlpx_") else mlp.who_am_i
                with pytest.raises(ForbiddenException):
                    use()


@contextlib.contextmanager
def load(token: str, urls: list[str], ledger: Ledger, first: int = 0) -> Iterator[None]:
    """Callers that work until the end of the block; `first` is the number of the first of them, which names tokens."""
    workers = range(first, first + WORKERS)
    threads = [threading.Thread(target=ledger.work, args=(token, urls, worker)) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ledger.over = True
        for thread in threads:
            thread.join()


def kill_often(folder: Path, times: int) -> tuple[Ledger, list[float]]:
    """Gives what was acknowledged, and the seconds of each start."""
    chance, ledger = random.Random(times), Ledger()  # noqa: S311 - the same in each run
    with Server(folder) as server:
        starts = [server.start()]
        with MLPlatform(server.admin_token, url=server.url) as admin, load(server.admin_token, [server.url], ledger):
            for _ in range(times):
                ledger.wait_for(chance.randint(1, 20))
                # Not when something has just been acknowledged, but anywhere in the work after it.
                time.sleep(chance.uniform(0, 0.03))
                server.kill()
                starts.append(server.start())
                ledger.check(admin)
                server.verify_audit()
        ledger.check_secrets(server.url)
    return ledger, starts
