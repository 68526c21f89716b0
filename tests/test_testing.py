"""`mlplatform_client.testing`, as other people's test suites use it: each test is a run of pytest of its own."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
from conftest import TOKEN

from mlplatform_client import MLPlatform
from mlplatform_client.core import exceptions
from mlplatform_client.local import LocalPlatform
from mlplatform_client.testing import FaultProxy, delay, hang, reset, status
from mlplatform_client.testing._background import Background

Run = Callable[..., pytest.RunResult]
PLUGIN = 'pytest_plugins = ["mlplatform_client.testing"]\n'


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A suite of one file in a folder of its own, its warnings errors; what it shows holds no token."""
    pytester.makeini("[pytest]\nfilterwarnings = error\n")

    def run(test: str, conftest: str = PLUGIN, **variables: str) -> pytest.RunResult:
        pytester.makeconftest(conftest)
        pytester.makepyfile(test_own=test)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        result = pytester.runpytest_subprocess("--showlocals", "-p", "no:cacheprovider", timeout=240)
        assert not TOKEN.search(result.stdout.str() + result.stderr.str())
        return result

    return run


def test_nothing_loads_unless_asked_for(run: Run) -> None:
    test = """
        import sys

        def test_nothing_is_loaded():
            assert not [name for name in sys.modules if name.startswith("mlplatform_client")]

        def test_no_fixture(mlp_user):
            pass
    """
    result = run(test, conftest="")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'mlp_user' not found*"])


def test_the_client_loads_none_of_it() -> None:
    """And a plugin that every pytest on the machine would load is not declared."""
    assert not [
        entry
        for entry in importlib.metadata.distribution("mlplatform-client").entry_points
        if entry.group != "console_scripts"
    ]
    assert "pytest" in sys.modules
    code = (
        "import sys, mlplatform_client, mlplatform_client.local; print(any('testing' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_two_roles_on_one_platform(run: Run) -> None:
    test = """
        import pytest
        from mlplatform_client.core.exceptions import ForbiddenException
        from mlplatform_client.serializers.auth import MLPTokenType

        NAMES = []

        @pytest.mark.parametrize("number", [1, 2])
        def test_each_test_has_a_user_of_its_own(mlp_platform, mlp_admin, mlp_user, number):
            me = mlp_user.who_am_i()
            assert me.type is MLPTokenType.USER
            with pytest.raises(ForbiddenException):
                mlp_user.get_project_tokens_info()
            assert [info.name for info in mlp_admin.get_project_tokens_info()] == ["admin", me.name]
            NAMES.append((mlp_platform.pid, me.name))

        def test_the_platform_is_one_and_the_tokens_are_gone(mlp_platform, mlp_admin):
            (first, one), (second, two) = NAMES
            assert first == second == mlp_platform.pid
            assert one != two
            assert [info.name for info in mlp_admin.get_project_tokens_info()] == ["admin"]
    """
    run(test).assert_outcomes(passed=3)


def test_the_developer_s_settings_reach_no_test(run: Run) -> None:
    test = """
        import os
        from mlplatform_client import MLPlatform

        def code_under_test():
            with MLPlatform() as mlp:
                return mlp.who_am_i()

        def test_the_clients(mlp_admin, mlp_user):
            assert mlp_admin.who_am_i().name == "admin"
            assert mlp_user.who_am_i().name.startswith("user-")

        def test_the_environment(mlp_environment, mlp_user, mlp_platform):
            assert code_under_test().id == mlp_user.who_am_i().id
            assert os.environ["MLP_URL"] == mlp_platform.url
            assert "MLP_PROFILE" not in os.environ

        def test_it_is_as_before():
            assert os.environ["MLP_URL"] == "https://127.0.0.1:9"
            assert os.environ["MLP_PROFILE"] == "staging"
    """
    variables = {"MLP_URL": "https://127.0.0.1:9", "MLP_PROFILE": "staging", "MLP_CA_BUNDLE": "/none"}
    run(test, **variables).assert_outcomes(passed=3)


def test_a_test_that_fails_shows_no_token(run: Run) -> None:
    """What `run` looks for in every run, where pytest shows all it knows."""
    test = """
        def test_own(mlp_platform, mlp_admin, mlp_user, mlp_environment, mlp_faults):
            token = mlp_platform.admin_token
            exchanges = [mlp_user.who_am_i(), mlp_faults.exchanges]
            assert not exchanges
    """
    result = run(test)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["token * = *"])


def test_faults(run: Run) -> None:
    conftest = PLUGIN + "from mlplatform_client.testing import reset  # before pytest imports the plugin\n"
    test = """
        import time
        import pytest
        from mlplatform_client import MLPlatform
        from mlplatform_client.core.exceptions import ForbiddenException, TimeoutException
        from mlplatform_client.testing import delay, hang, reset, status

        def test_what_heals(mlp_user, mlp_faults):
            mlp_faults.fail(status(503, retry_after=0), reset, on="who_am_i")
            assert mlp_user.who_am_i().name.startswith("user-")
            assert [exchange.method for exchange in mlp_faults.exchanges] == ["create_session"] + ["who_am_i"] * 3

        def test_what_does_not(mlp_faults, mlp_environment):
            mlp_faults.always(hang, on="get_clusters")
            mlp_faults.fail(status(403), on="who_am_i")
            with MLPlatform() as mlp:
                with pytest.raises(TimeoutException):
                    mlp.get_clusters(timeout=0.5)
                with pytest.raises(ForbiddenException, match="a fault of a test"):
                    mlp.who_am_i()
                mlp_faults.heal()
                assert mlp.get_clusters()

        def test_slow(mlp_user, mlp_faults):
            mlp_faults.fail(delay(0.3), on="who_am_i")
            began = time.monotonic()
            mlp_user.who_am_i()
            assert time.monotonic() - began >= 0.3

        def test_never_met(mlp_user, mlp_faults):
            mlp_faults.fail(reset, times=2, on="get_clusters")
            mlp_user.who_am_i()
    """
    result = run(test, conftest=conftest)
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*2 planned faults were met by no request*"])


def test_without_the_platform_s_package_it_says_how_to_install_it(run: Run) -> None:
    conftest = PLUGIN + "import mlplatform_client.local\nmlplatform_client.local._PROGRAM = 'mlplatform-none'\n"
    result = run("def test_a_call(mlp_user): pass", conftest=conftest)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*mlplatform-none is not installed*"])


# The proxy by itself.


@pytest.fixture
def proxy(platform: LocalPlatform) -> FaultProxy:
    return FaultProxy(platform.url)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 429, 500, 502, 503, 504])
def test_every_status_is_the_exception_that_users_catch(platform: LocalPlatform, code: int) -> None:
    with FaultProxy(platform.url) as proxy, MLPlatform(platform.admin_token, url=proxy.url, timeout=2) as mlp:
        mlp.who_am_i()
        proxy.always(status(code), on="who_am_i")
        with pytest.raises(exceptions.BY_STATUS.get(code, exceptions.MLPlatformException)) as refusal:
            mlp.who_am_i()
        assert refusal.value.status == code
        proxy.heal()
        assert mlp.who_am_i().name == "admin"


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (lambda proxy: proxy.fail(reset, on="who_am_y"), "did you mean 'who_am_i'"),
        (lambda proxy: proxy.always(reset, on="POST /v1_0/tokens"), "not a method of MLPlatform"),
        (lambda proxy: proxy.fail(reset, times=0), "write 1 to 1000"),
        (lambda proxy: proxy.fail(hang, times=10**9), "write 1 to 1000"),
        (lambda _: delay(-1), "write 0 to 3600"),
        (lambda _: delay(float("nan")), "write 0 to 3600"),
        (lambda _: status(200), "write one of 400, 401"),
        (lambda _: status(503, retry_after=-1), "0 or more"),
        (lambda _: FaultProxy("https://platform.example.com"), "not the address of a local platform"),
    ],
)
def test_a_mistake_is_told_at_once(proxy: FaultProxy, mistake: Callable[[FaultProxy], object], told: str) -> None:
    with proxy, pytest.raises(ValueError, match=told):
        mistake(proxy)


class Slow(Background):
    """Answers with a head and the first half of a body, and with the rest when it is told to."""

    def __init__(self, *pieces: bytes) -> None:
        self.go_on = asyncio.Event()
        self._pieces = pieces
        super().__init__()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in self._pieces:
            writer.write(piece)
            await writer.drain()
            await self.go_on.wait()


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none", b"two"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n", b"3\r\ntwo\r\n0\r\nX-Last: x\r\n\r\n"),
    ],
    ids=["length", "chunks"],
)
def test_an_answer_is_passed_on_as_it_comes(pieces: tuple[bytes, bytes]) -> None:
    """As the client waits for a job: the answer begins at once and goes on later."""
    with Slow(*pieces) as slow, FaultProxy(f"http://{slow.address}") as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as connection:
            connection.sendall(b"GET /v1_0/tokens/self HTTP/1.1\r\n\r\n")
            answer = b""
            while len(answer) < len(pieces[0]):
                answer += connection.recv(65536)
            assert answer == pieces[0]
            assert proxy.answered == 0
            slow._loop.call_soon_threadsafe(slow.go_on.set)
            proxy.wait_for(lambda: proxy.answered == 1)
            while len(answer) < len(b"".join(pieces)):
                answer += connection.recv(65536)
        assert answer == b"".join(pieces)
        assert proxy.exchanges[0].answer == proxy.exchanges[0].sent == answer


def test_what_is_no_http_ends_its_connection_alone(platform: LocalPlatform, proxy: FaultProxy) -> None:
    head = b"POST /v1_0/sessions HTTP/1.1\r\n"
    for sent in [
        b"\x16\x03\x01" + b"x" * 100_000,
        head + b"Content-Length: 99999999999\r\n\r\n",
        head + b"Transfer-Encoding: chunked\r\n\r\nnone\r\n",
        head + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n",
        head + b"Transfer-Encoding: chunked\r\n\r\nfffffffffff\r\n",
    ]:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as connection:
            connection.sendall(sent)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
    with proxy, MLPlatform(platform.admin_token, url=proxy.url) as mlp:
        assert mlp.who_am_i().name == "admin"
    proxy.stop()
