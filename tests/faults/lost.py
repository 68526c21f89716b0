"""What has to hold when the answer that carries a secret is lost on its way; for tests of some and of all its bytes."""

from __future__ import annotations

import pytest
from conftest import TOKEN
from faults.calls import CALLS, count, fresh_name, line
from faults.faults import cut_answer
from faults.proxy import Exchange, FaultProxy, begins_as

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import ForbiddenException
from mlplatform_client.local import LocalPlatform

# The methods whose answer is a secret.
SECRET = ["create_register_token", "create_refresh_token", "rotate_token"]


class Losses:
    """One client behind a proxy that loses answers."""

    def __init__(self, platform: LocalPlatform, admin: MLPlatform, method: str) -> None:
        self._platform, self._admin = platform, admin
        self._call, self._line = CALLS[method], line(method)
        self._proxy = FaultProxy(platform.url)
        self.client = MLPlatform(platform.admin_token, url=self._proxy.url)

    def __enter__(self) -> Losses:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.client.close()
        self._proxy.stop()

    def lose(self, *cuts: int) -> int:
        """The answers are cut after so many bytes, one after another; gives the length of one."""
        name = fresh_name()
        given = self._call.prepare(self._admin, name, self._platform)
        self._proxy.exchanges.clear()
        self._proxy.fail(*map(cut_answer, cuts), on=self._line)
        secret = self._call.run(self.client, given)
        self._proxy.heal()
        exchanges = self.exchanges()
        *lost, last = exchanges
        made = [_secret(exchange.answer) for exchange in exchanges]
        # Each answer is another secret; the one that was received whole is the one that is returned.
        assert len(set(made)) == len(made)
        assert made[-1] == secret
        assert last.sent == last.answer
        assert all(exchange.sent != exchange.answer for exchange in lost)
        # One of them stands.
        assert self._call.made is not None
        assert count(self._platform, self._call.made, name) == 1
        for other in made[:-1]:
            with pytest.raises(ForbiddenException):
                self._use(other)
        assert self._use(made[-1]) == name
        return len(last.answer)

    def exchanges(self) -> list[Exchange]:
        return [exchange for exchange in self._proxy.exchanges if begins_as(exchange.line, self._line)]

    def _use(self, secret: str) -> str:
        """The name behind a secret that works."""
        if secret.startswith("mlpx_"):
            secret = MLPlatform(url=self._platform.url).create_refresh_token(secret)
        with MLPlatform(secret, url=self._platform.url) as mlp:
            return mlp.who_am_i().name


def _secret(answer: bytes) -> str:
    found = TOKEN.findall(answer.decode("latin-1"))
    assert len(found) == 1, answer.split(b"\r\n", 1)[0]
    return str(found[0])
