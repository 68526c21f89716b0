"""One stranger with many connections keeps nobody out. Too many requests at once: crates/server/tests/abuse.rs."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from pathlib import Path

import pytest
from overload import beside_a_stranger, exchange, redeem, who_am_i

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform, _find_program
from mlplatform_client.serializers.auth import MLPTokenType


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unknown", "ended", "redeemed", "session"])
def test_a_stranger_with_hundreds_of_connections_crowds_out_nobody(kind: str) -> None:
    with LocalPlatform() as platform, MLPlatform(platform.admin_token, url=platform.url) as admin:
        register_token = admin.create_register_token("gone", "1h", token_type=MLPTokenType.USER)
        gone = admin.create_refresh_token(register_token)
        admin.delete_token("gone")
        request, refusals = {
            "unknown": (exchange("nobody's"), {403, 429}),
            "ended": (exchange(gone), {403}),
            "redeemed": (redeem(register_token), {403}),
            "session": (who_am_i("nobody's"), {401}),
        }[kind]
        seen = beside_a_stranger(platform, request, strangers=500, seconds=3.0)
        # How many it can make decides whether it is told to wait, too.
        assert {min(refusals)} <= set(seen["stranger"].others) <= refusals
        for honest in (seen["same"], seen["other"]):
            assert honest.served
            assert (honest.shed, honest.broken, honest.others) == (0, 0, {})
        rows = [row for row in admin.get_audit() if row.outcome != "done"]
        # The first, and a count for each minute. Sessions that are not good are nobody's act.
        assert len(rows) in ({0} if kind == "session" else range(1, 5))


def test_one_address_leaves_half_of_the_connections_to_the_others(tmp_path: Path) -> None:
    command = [
        _find_program(),
        "serve",
        "--data-dir",
        str(tmp_path),
        "--listen",
        "127.0.0.1:0",
        "--no-jobs",
        "--exit-on-stdin-eof",
    ]
    limited = ["sh", "-c", 'ulimit -n 128 && exec "$@"', "sh", *command]
    with (
        subprocess.Popen(limited, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server,
        contextlib.ExitStack() as connections,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        port = int(json.loads(server.stdout.readline())["url"].rsplit(":", 1)[1])

        def is_served(source: str) -> bool:
            connection = socket.create_connection(("127.0.0.1", port), 30, (source, 0))
            connections.enter_context(connection)
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                return connection.recv(1000).startswith(b"HTTP/1.1 200 ")
            return False

        assert sum(is_served("127.0.0.1") for _ in range(80)) == 64
        assert all(is_served("127.0.0.2") for _ in range(20))
        server.stdin.close()
