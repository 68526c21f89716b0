"""The token service beside a model of it: any order of calls, by anybody, with time passing and restarts between.

The model is what SECURITY.md says, in a few lines of Python, and knows nothing of how the server does it. Time is
counted in hours, which the server's clock is moved by; all lifetimes are whole hours, so that the seconds a run takes
never decide whether something has ended.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)
from server_clock import ServerClock

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import ConflictException, ForbiddenException, NotFoundException
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

T = TypeVar("T")
HOUR = 3600
# Few, so that they are taken, given up and taken again.
NAMES = ["anna", "boris"]


@dataclasses.dataclass(eq=False)
class Token:
    """An access token."""

    name: str
    role: MLPTokenType
    issuer: Token | None
    ends: int | None
    deleted: bool = False
    secrets: list[Secret] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(eq=False)
class Secret:
    """One of an access token's values; only the newest has no end of its own."""

    value: str
    token: Token
    ends: int | None = None


@dataclasses.dataclass(eq=False)
class Register:
    """A registration token."""

    value: str
    name: str
    role: MLPTokenType
    lifetime: int | None
    issuer: Token
    ends: int
    id: str = ""
    redeemed: bool = False
    withdrawn: bool = False
    replays: int = 0


class World:
    """The real thing: one data directory for all examples of a run, and the server process on it."""

    def __init__(self, folder: Path, clock: ServerClock) -> None:
        self.folder = folder
        self.clock = clock
        self.examples = 0
        self.steps = 0
        self.restarts = 0
        self.hour = 0
        self._clients: dict[str, MLPlatform] = {}
        self.platform = LocalPlatform(folder)
        self.root = str(self.platform.admin_token)

    def client(self, value: str) -> MLPlatform:
        """The same for the same token, so that its session is one from before what has happened since."""
        if value not in self._clients:
            self._clients[value] = MLPlatform(value, url=self.platform.url)
        return self._clients[value]

    def restart(self, kill: bool) -> None:
        if kill:
            self.platform._process.kill()
        self.stop()
        self.platform = LocalPlatform(self.folder)
        self.restarts += 1

    def forget_clients(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def stop(self) -> None:
        self.forget_clients()
        self.platform.stop()

    def advance(self, hours: int) -> None:
        self.hour += hours
        self.clock.set(self.hour * HOUR)


class TokenMachine(RuleBasedStateMachine):
    """One example: its own names among those of all others in the same store."""

    world: World
    secrets = Bundle("secrets")
    registers = Bundle("registers")

    def __init__(self) -> None:
        super().__init__()
        self.world.examples += 1
        self.world.forget_clients()
        self.prefix = f"{self.world.examples} "
        self.root = Token("admin", MLPTokenType.ADMIN, None, None)
        self.tokens: list[Token] = []
        self.waiting: list[Register] = []

    # What the model says.

    def lives(self, token: Token) -> bool:
        return not token.deleted and (token.ends is None or self.world.hour < token.ends)

    def living(self, name: str) -> Token | None:
        found = [token for token in self.tokens if token.name == name and self.lives(token)]
        assert len(found) <= 1
        return found[0] if found else None

    def is_good(self, secret: Secret) -> bool:
        return self.lives(secret.token) and (secret.ends is None or self.world.hour < secret.ends)

    def end(self, token: Token) -> None:
        token.deleted = True
        self.withdraw_issued(token)

    def withdraw_issued(self, issuer: Token) -> None:
        for register in self.waiting:
            if register.issuer is issuer and not register.redeemed:
                register.withdrawn = True

    def state(self, register: Register) -> str:
        if register.redeemed:
            return "REDEEMED"
        if register.withdrawn:
            return "WITHDRAWN"
        return "EXPIRED" if self.world.hour >= register.ends else "WAITING"

    # What is compared.

    def refusal(self, secret: Secret, needs_administrator: bool = True) -> str | None:
        """What whoever holds the secret is told, if it may not."""
        if not self.is_good(secret):
            return "Forbidden"
        if needs_administrator and secret.token.role != MLPTokenType.ADMIN:
            return f"{secret.token.name} token does not contain the following scopes: ['ml-platform:Manage']"
        return None

    def ask(self, actor: Secret | None, call: Callable[[MLPlatform], T], expected: object = None) -> T | None:
        """Calls; the outcome must be the expected one: a field of a 403, a class of exception, or an answer."""
        self.world.steps += 1
        client = self.world.client(actor.value if actor else self.world.root)
        try:
            answer = call(client)
        except ForbiddenException as error:
            assert isinstance(expected, str), error
            assert str(error.field).startswith(expected), error
            return None
        except (ConflictException, NotFoundException) as error:
            assert type(error) is expected, error
            return None
        assert expected is None, f"expected {expected}, and it was done"
        return answer

    # What may happen.

    actors = st.one_of(st.none(), secrets)
    names = st.sampled_from(NAMES)

    @initialize(target=secrets, role=st.sampled_from(MLPTokenType))
    def begin(self, role: MLPTokenType) -> Secret:
        """Every example begins with one colleague, or there would be little to do."""
        made = self.register(None, NAMES[0], role, 2, None)
        assert isinstance(made, Register)
        secret = self.redeem(made)
        assert isinstance(secret, Secret)
        return secret

    @rule(
        target=registers,
        actor=actors,
        name=names,
        role=st.sampled_from(MLPTokenType),
        waits=st.sampled_from([2, 30]),
        lifetime=st.sampled_from([None, 3, 40]),
    )
    def register(
        self, actor: Secret | None, name: str, role: MLPTokenType, waits: int, lifetime: int | None
    ) -> Register | MultipleResults[Register]:
        name = self.prefix + name
        expected: object = self.refusal(actor) if actor else None
        if expected is None and self.living(name):
            expected = ConflictException
        value = self.ask(
            actor,
            lambda mlp: mlp.create_register_token(
                name, waits * HOUR, refresh_ttl=lifetime and lifetime * HOUR, token_type=role
            ),
            expected,
        )
        if value is None:
            return multiple()
        issuer = actor.token if actor else self.root
        made = Register(str(value), name, role, lifetime, issuer, self.world.hour + waits)
        self.waiting.append(made)
        return made

    @rule(target=secrets, register=registers)
    def redeem(self, register: Register) -> Secret | MultipleResults[Secret]:
        expected: object = None
        if register.redeemed:
            expected = "registration token was already redeemed at "
            register.replays += 1
        elif register.withdrawn or self.world.hour >= register.ends:
            expected = "Forbidden"
        elif self.living(register.name):
            expected = ConflictException
        value = self.ask(None, lambda mlp: mlp.create_refresh_token(register.value), expected)
        if value is None:
            return multiple()
        register.redeemed = True
        ends = None if register.lifetime is None else self.world.hour + register.lifetime
        token = Token(register.name, register.role, register.issuer, ends)
        token.secrets.append(Secret(str(value), token))
        self.tokens.append(token)
        return token.secrets[0]

    @rule(secret=secrets)
    def call(self, secret: Secret) -> None:
        info = self.ask(secret, lambda mlp: mlp.who_am_i(), self.refusal(secret, needs_administrator=False))
        if info is not None:
            assert (info.name, info.type) == (secret.token.name, secret.token.role)

    # What never was, others try: here it is a token that is or was.
    @rule(target=secrets, actor=actors, one_of_its=secrets, overlap=st.sampled_from([None, 1, 5]))
    def rotate(self, actor: Secret | None, one_of_its: Secret, overlap: int | None) -> Secret | MultipleResults[Secret]:
        name = one_of_its.token.name
        own = actor is not None and actor.token.name == name
        expected: object = self.refusal(actor, needs_administrator=not own) if actor else None
        token = self.living(name)
        if expected is None and token is None:
            expected = NotFoundException
        value = self.ask(actor, lambda mlp: mlp.rotate_token(name, overlap=overlap and overlap * HOUR), expected)
        if value is None or token is None:
            return multiple()
        end = self.world.hour + (overlap or 0)
        for secret in token.secrets:
            secret.ends = end if secret.ends is None else min(secret.ends, end)
        token.secrets.append(Secret(str(value), token))
        return token.secrets[-1]

    @rule(actor=actors, name=names)
    def delete(self, actor: Secret | None, name: str) -> None:
        name = self.prefix + name
        expected: object = self.refusal(actor) if actor else None
        token = self.living(name)
        if expected is None and token is None:
            expected = NotFoundException
        self.ask(actor, lambda mlp: mlp.delete_token(name), expected)
        if expected is None and token is not None:
            self.end(token)

    @rule(actor=actors, name=names)
    def delete_issued(self, actor: Secret | None, name: str) -> None:
        name = self.prefix + name
        issued = [t for t in self.tokens if t.issuer and t.issuer.name == name and self.lives(t)]
        doors = [r for r in self.waiting if r.issuer.name == name and self.state(r) == "WAITING"]
        issuers = {id(t.issuer): t.issuer for t in issued} | {id(r.issuer): r.issuer for r in doors}
        expected: object = self.refusal(actor) if actor else None
        if expected is None and len(issuers) > 1:
            expected = ConflictException
        if expected is None and not issuers and not any(token.name == name for token in self.tokens):
            expected = NotFoundException
        deleted = self.ask(actor, lambda mlp: mlp.delete_issuer_tokens(name), expected)
        if deleted is None:
            return
        assert [info.name for info in deleted] == [token.name for token in issued]
        for token in issued:
            self.end(token)
        for issuer in issuers.values():
            if issuer is not None:
                self.withdraw_issued(issuer)

    @rule(actor=actors, register=registers)
    def withdraw(self, actor: Secret | None, register: Register) -> None:
        if not register.id:
            # The id stands in the list alone. The newest of that name without one is this one, or a later one is.
            infos = self.world.client(self.world.root).get_register_tokens_info()
            mine = [info.id for info in infos if info.client_name.startswith(self.prefix)]
            for known, token_id in zip(self.waiting, mine):
                known.id = token_id
        expected: object = self.refusal(actor) if actor else None
        if expected is None and register.redeemed:
            expected = ConflictException
        self.ask(actor, lambda mlp: mlp.delete_register_token(register.id), expected)
        if expected is None:
            register.withdrawn = True

    @rule(actor=actors)
    def list_tokens(self, actor: Secret | None) -> None:
        expected = self.refusal(actor) if actor else None
        infos = self.ask(actor, lambda mlp: mlp.get_project_tokens_info(), expected)
        if infos is not None:
            seen = [(i.name, i.type, i.issuer_name) for i in infos if i.name.startswith(self.prefix)]
            living = [token for token in self.tokens if self.lives(token)]
            assert seen == [(t.name, t.role, t.issuer.name if t.issuer else None) for t in living]

    @rule(actor=actors)
    def list_register_tokens(self, actor: Secret | None) -> None:
        expected = self.refusal(actor) if actor else None
        infos = self.ask(actor, lambda mlp: mlp.get_register_tokens_info(), expected)
        if infos is not None:
            mine = [info for info in infos if info.client_name.startswith(self.prefix)]
            seen = [(i.client_name, str(i.state), i.replay_count, i.redeemed_token_name) for i in mine]
            assert seen == [(r.name, self.state(r), r.replays, r.name if r.redeemed else None) for r in self.waiting]

    @rule(hours=st.sampled_from([1, 2, 7]))
    def time_passes(self, hours: int) -> None:
        self.world.steps += 1
        self.world.advance(hours)

    @rule(kill=st.booleans())
    def restart(self, kill: bool) -> None:
        self.world.steps += 1
        self.world.restart(kill)


def run(folder: Path, clock: ServerClock, examples: int, steps: int, derandomize: bool) -> World:
    """Plays that many examples of that many steps against one store; raises at the first difference."""
    world = World(folder, clock)
    machine = type("BoundTokenMachine", (TokenMachine,), {"world": world})
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                derandomize=derandomize,
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        world.stop()
    return world
