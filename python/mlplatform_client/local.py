"""A platform on this machine, for experiments, notebooks and tests."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import weakref

from mlplatform_client.core.exceptions import ConfigurationException, MLPlatformException
from mlplatform_client.core.token import TokenStr

__all__ = ["LocalPlatform"]

_PROGRAM = "mlplatform-server"
# A first start makes a database and a token, some milliseconds; a machine under load may take much longer.
_START_SECONDS = 30.0
# The server gives requests in flight 10 s to finish.
_STOP_SECONDS = 15.0


class LocalPlatform:
    """A child process ``mlplatform-server`` on a free loopback port.

    It is ready when the constructor returns. It is a context manager, which stops it at the end of the ``with`` block.
    It also stops when this process ends, for whatever reason.

    Parameters
    ----------
    data_dir : str or os.PathLike, optional
        Where the platform keeps its tokens; made when it does not exist. Default: a temporary folder, which is
        removed when the platform is stopped.

    Attributes
    ----------
    url : str
        Its address, for ``MLPlatform(url=…)`` or ``MLP_URL``.
    spark_remote : str or None
        Where it serves Spark Connect, for ``spark_session(remote=…)`` or ``MLP_SPARK_REMOTE``; ``None``: nowhere.
    admin_token : TokenStr
        The first Administrator's access token.
    data_dir : str
        Where it keeps its tokens; ``server.log`` in it is its log.
    pid : int
        Its process id.

    Raises
    ------
    ConfigurationException
        ``mlplatform-server`` is not installed (the message says how to install it), or the token file of a folder
        that was used before is gone (``hint`` says how to replace it).
    MLPlatformException
        It did not start; the message holds the end of its log.

    Examples
    --------
    >>> with LocalPlatform() as platform:
    ...     mlp = MLPlatform(platform.admin_token, url=platform.url)
    ...     print(mlp.who_am_i())
    """

    url: str
    spark_remote: str | None
    admin_token: TokenStr
    data_dir: str
    pid: int

    def __init__(self, data_dir: str | os.PathLike[str] | None = None) -> None:
        program = _find_program()
        temporary = None
        if data_dir is None:
            data_dir = temporary = tempfile.mkdtemp(prefix="mlplatform-")
        self.data_dir = os.path.abspath(data_dir)
        log = os.path.join(self.data_dir, "server.log")
        try:
            os.makedirs(self.data_dir, mode=0o700, exist_ok=True)
            self._process = _start(program, self.data_dir, log)
        except BaseException:
            _remove(temporary)
            raise
        self._finalizer = weakref.finalize(self, _stop, os.getpid(), self._process, temporary)
        _processes.add(self._process)
        try:
            ready = _read_ready(self._process, log)
            self.url = ready["url"]
            self.spark_remote = ready.get("connect_url")
            self.admin_token = _read_admin_token(ready["admin_token_file"], program, self.data_dir)
        except BaseException:
            self.stop()
            raise
        self.pid = self._process.pid

    def stop(self) -> None:
        """Stop the platform; requests in flight finish first. May be called twice."""
        self._finalizer()

    def __enter__(self) -> LocalPlatform:
        """Return itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Stop it."""
        self.stop()

    def __repr__(self) -> str:
        return f"<LocalPlatform url={getattr(self, 'url', None)!r} data_dir={self.data_dir!r}>"


def _find_program() -> str:
    """Prefer the program next to this interpreter's scripts, which was installed with this package."""
    folders = (sysconfig.get_path("scripts"), os.path.dirname(sys.executable), os.environ.get("PATH"))
    for folder in folders:
        program = shutil.which(_PROGRAM, path=folder) if folder else None
        if program:
            return program
    raise ConfigurationException(
        f"{_PROGRAM} is not installed for this Python ({sys.executable}) nor on the PATH",
        hint="install the platform's wheel, which comes with this package's: "
        "pip install --find-links <folder of the wheels> 'mlplatform-client[local]'",
    )


def _start(program: str, data_dir: str, log: str) -> subprocess.Popen[bytes]:
    # Its data is in its folder: variables of an operator's shell must not lead it to a database that others share.
    shared = ("MLP_SERVER_DATABASE_URL", "MLP_SERVER_DATABASE_URL_FILE")
    environment = {name: value for name, value in os.environ.items() if name not in shared}
    if not environment.keys() & {"MLP_SERVER_JOB_USER", "MLP_SERVER_NO_JOBS"}:
        # The platform belongs to the user of this process, and so do its jobs.
        environment["MLP_SERVER_JOBS_AS_MYSELF"] = "1"
    if "MLP_SERVER_NO_JOBS" not in environment:
        # Not on the port that everybody expects: there may be several.
        environment.setdefault("MLP_SERVER_CONNECT_LISTEN", "127.0.0.1:0")
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as stderr:
        # Its standard input closes when this process ends, even by SIGKILL, and that ends the child. Its own session
        # keeps a Ctrl-C of the notebook or terminal away from it.
        return subprocess.Popen(
            [program, "serve", "--data-dir", data_dir, "--listen", "127.0.0.1:0", "--exit-on-stdin-eof"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            start_new_session=True,
        )


def _read_ready(process: subprocess.Popen[bytes], log: str) -> dict[str, str]:
    """Wait for the line that says that the server listens."""
    assert process.stdout is not None  # noqa: S101 - PIPE makes one, which the type does not say
    # A server that is not ready in time is killed, which ends the wait for its line.
    watchdog = threading.Timer(_START_SECONDS, process.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        line = process.stdout.readline()
    finally:
        watchdog.cancel()
    if not line:
        code = process.wait()
        with open(log, encoding="utf-8", errors="replace") as file:
            tail = "".join(file.readlines()[-10:]).strip()
        raise MLPlatformException(f"{_PROGRAM} did not start (exit code {code}): {tail}")
    ready: dict[str, str] = json.loads(line)
    return ready


def _read_admin_token(path: str, program: str, data_dir: str) -> TokenStr:
    """Read the first Administrator's token; an existing folder may have lost it."""
    try:
        with open(path, encoding="ascii") as file:
            return TokenStr(file.read().strip())
    except OSError as problem:
        raise ConfigurationException(
            f"the Administrator's token of the platform in '{data_dir}' cannot be read: {problem}",
            hint=f"create a new one: {program} admin-token --data-dir {shlex.quote(data_dir)}",
        ) from problem


def _stop(owner: int, process: subprocess.Popen[bytes], temporary: str | None) -> None:
    if os.getpid() != owner:  # a fork that ends: the platform is its parent's
        return
    _close_pipes(process)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _remove(temporary)


def _remove(temporary: str | None) -> None:
    if temporary is None:
        return
    # `rmtree` needs a frame and an open file for each level, and a job may have made thousands of levels.
    with contextlib.suppress(RecursionError):
        shutil.rmtree(temporary, ignore_errors=True)
    rm = shutil.which("rm")
    if rm and os.path.lexists(temporary):
        subprocess.run([rm, "-rf", "--", temporary], stderr=subprocess.DEVNULL, check=False)


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


# Those that run; a forked child that outlives its parent must not keep a server alive by its copy of our end.
_processes: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()


def _close_in_forked_child() -> None:
    for process in _processes:
        _close_pipes(process)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_forked_child)
