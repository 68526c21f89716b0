"""`mlp`, the command, as people and scripts call it; every example in its help is run."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, TOKEN, stand_in
from jobs import FINAL, manifest, until
from test_profiles import Terminal

from mlplatform_client import MLPlatform
from mlplatform_client.core.exceptions import ConflictException, NotFoundException
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

MLP = str(Path(sysconfig.get_path("scripts")) / "mlp")
BASH = shutil.which("bash") or "bash"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    """A platform whose tokens, clusters and jobs nobody else counts on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLP_SERVER_SPARK_SUBMIT", str(stand_in(tmp_path_factory.mktemp("stand-in"))))
        platform = LocalPlatform()
    with platform:
        yield platform


@pytest.fixture(scope="module")
def admin(own: LocalPlatform) -> Iterator[MLPlatform]:
    with MLPlatform(own.admin_token, url=own.url) as admin:
        yield admin


@pytest.fixture
def run(own: LocalPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command in a folder of its own, as the first Administrator; what it prints is kept from the report."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MLP_URL", own.url)
    monkeypatch.setenv("MLP_REFRESH_TOKEN", own.admin_token)

    def run(arguments: str, *, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [MLP, *shlex.split(arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, **more},
            timeout=120,
        )

    return run


def test_a_token_s_life(run: Run, admin: MLPlatform) -> None:
    made = run("token create ci --refresh-ttl 30d")
    assert (made.returncode, TOKEN.fullmatch(made.stdout.strip()) is not None) == (0, True)
    assert made.stderr == "the access token 'ci', shown only once:\n"
    listed = json.loads(run("token list --json").stdout)
    assert [info["name"] for info in listed] == ["admin", "ci"]
    assert re.search(r"^ci +USER +20\d\d-", run("token list").stdout, re.MULTILINE)
    assert run("auth whoami", MLP_REFRESH_TOKEN=made.stdout.strip()).stdout.startswith("name       ci\n")
    rotated = run("token rotate ci --json")
    assert run("auth whoami", MLP_REFRESH_TOKEN=json.loads(rotated.stdout)["refresh_token"]).returncode == 0
    refused = run("auth whoami", MLP_REFRESH_TOKEN=made.stdout.strip())
    assert refused.returncode == 3
    assert "Hint" not in refused.stderr
    assert run("token list", MLP_REFRESH_TOKEN=json.loads(rotated.stdout)["refresh_token"]).returncode == 3
    assert run("token delete ci --quiet").stderr == ""
    gone = run("token show ci --json")
    assert gone.returncode == 4
    assert json.loads(gone.stderr)["error"]["code"] == 4


def test_a_registration_token_comes_over_standard_input(run: Run, admin: MLPlatform) -> None:
    register = run("register create anna --access-ttl 2h").stdout
    redeemed = run("register redeem", stdin=register)
    assert TOKEN.fullmatch(redeemed.stdout.strip())
    assert run("register redeem", stdin=register).returncode == 3
    (row,) = [info for info in json.loads(run("register list --json").stdout) if info["client_name"] == "anna"]
    assert (row["state"], row["replay_count"]) == ("REDEEMED", 1)
    admin.delete_token("anna")


def test_a_profile_s_life(run: Run, own: LocalPlatform, tmp_path: Path) -> None:
    plain = {"MLP_URL": "", "MLP_REFRESH_TOKEN": ""}
    token = run("token create kim --token-type admin").stdout
    done = run(f"auth login --url {own.url} --profile kim", stdin=token, **plain)
    assert done.returncode == 0, done.stderr
    assert "stored in profile 'kim'" in done.stderr
    kept = tmp_path / "config/mlplatform/tokens/kim"
    assert kept.read_text() == token
    told = json.loads(run("auth describe --json --profile kim", **plain).stdout)
    by_name = {line["setting"]: (line["value"], line["from"]) for line in told}
    assert by_name["url"] == (f"{own.url}/", "the profile 'kim'")
    assert by_name["refresh_token"] == ("mlpr_…", "the profile 'kim'")
    # The profile's own token: its file has the new value.
    rotated = run("token rotate kim", MLP_PROFILE="kim", **plain)
    assert "the profile 'kim' has the new value" in rotated.stderr
    assert kept.read_text() == rotated.stdout != token
    assert run("auth whoami", MLP_PROFILE="kim", **plain).returncode == 0
    assert run("auth logout --profile kim", **plain).returncode == 0
    assert not kept.exists()
    missing = run("auth whoami --profile kim", **plain)
    assert (missing.returncode, "mlp auth login" in missing.stderr) == (2, True)
    assert run("token delete kim").returncode == 0


def test_a_job_s_life(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text('echo "hello $1"; exit "$2"\n')
    for name, code, status in [("well", 0, "COMPLETED"), ("badly", 3, "FAILED")]:
        submitted = run(f"job submit hello.py --name {name} --conf spark.x=1 -- 'two words' {code}")
        assert (submitted.returncode, submitted.stdout) == (0, f"{name}\n"), submitted.stderr
        until(lambda name=name: json.loads(run(f"job show {name} --json").stdout)["status"] in FINAL)  # type: ignore[misc]
        assert json.loads(run(f"job show {name} --json").stdout)["status"] == status
        assert run(f"job logs {name}").stdout == "hello two words\n"
    assert "cause     exit-code" in run("job explain badly").stdout
    assert {row["job_name"] for row in json.loads(run("job events badly --json").stdout)} == {"badly"}
    described = json.loads(run("job describe well").stdout)
    assert described["spec"]["sparkConf"] == {"spark.x": "1"}
    assert described["spec"]["arguments"] == ["two words", "0"]
    assert run("job submit hello.py --name well").returncode == 1
    assert run("job delete well").returncode == 0
    assert run("job show well").returncode == 4
    assert run("job logs well").stdout == "hello two words\n"
    assert run("job delete badly").returncode == 0


def test_a_job_is_followed_and_waited_for(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(
        'echo "hello $1"; [ ! -n "$3" ] || until [ -e "$3" ]; do sleep 0.05; done; exit "$2"\n'
    )
    well = run("job submit hello.py --name followed --follow -- you 0")
    assert (well.returncode, well.stdout) == (0, "hello you\n"), well.stderr
    assert well.stderr.endswith("followed: COMPLETED\n")
    badly = run("job submit hello.py --name failed --follow --quiet -- you 3")
    assert (badly.returncode, badly.stdout) == (1, "hello you\n")
    assert badly.stderr.startswith("mlp: The program of 'failed' ended by itself with exit code 3")
    assert "\nhint: " in badly.stderr
    gate = tmp_path / "gate"
    assert run(f"job submit hello.py --name slow -- you 0 {gate}").returncode == 0
    assert run("job wait slow --until running --quiet").stderr == ""
    late = run("job wait slow --timeout 0.5")
    assert (late.returncode, "RUNNING" in late.stderr) == (5, True), late.stderr
    late = run("job logs slow --follow --timeout 0.5")
    assert (late.returncode, late.stdout) == (5, "hello you\n")
    assert "timed out (--timeout); the job 'slow' continues" in late.stderr
    process = subprocess.Popen([MLP, "job", "logs", "slow", "-f"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "hello you\n"
    assert run("job logs slow --output slow.log").returncode == 0
    assert (tmp_path / "slow.log").read_text() == "hello you\n"
    gate.touch()
    assert json.loads(run("job wait slow --json").stdout)["status"] == "COMPLETED"
    assert (process.wait(60), process.stdout.read()) == (0, "")
    process.stdout.close()
    assert run("job wait none").returncode == 4
    for name in ("followed", "failed", "slow"):
        run(f"job delete {name}")


def test_what_cannot_be_meant(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("spec: {driver: {memory: lots}}")
    for arguments, code, told in [
        ("tokn", 2, "a similar subcommand exists: 'token'"),
        ("token", 2, "Usage: mlp token"),
        ("cluster suspend-after 90s", 2, "write whole minutes"),
        ("register create anna --access-ttl soon", 2, "soon"),
        ("job submit", 2, "nothing to run"),
        ("job submit none.py", 2, "there is no such file"),
        ("job submit a.py --conf x", 2, "spark.sql.shuffle.partitions=8"),
        ("job show none -c nowhere", 4, "there is no cluster 'nowhere': the clusters are local"),
        ("manifest validate none.yaml", 4, "there is no such file"),
        ("manifest validate bad.yaml", 1, "spec.driver.memory (line 1): 'lots'"),
        ("token list --url http://127.0.0.1:9 --timeout 5", 1, "nothing listens there"),
        ("token list --profile none", 2, "there is no such profile"),
        ("audit list --since yesterday", 2, "yesterday"),
    ]:
        done = run(arguments)
        assert (done.returncode, told in done.stderr) == (code, True), (arguments, done.stderr)
        assert done.stdout == ""


def test_the_end_of_a_pipe_and_no_colour_in_one(run: Run) -> None:
    done = subprocess.run(
        [BASH, "-c", f'{MLP} manifest default | true; echo "${{PIPESTATUS[0]}}"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout in ("0\n", "141\n")
    assert done.stderr == ""
    assert "\x1b" not in run("--help").stdout


def test_a_prompt_is_left_with_the_echo_on(run: Run, own: LocalPlatform) -> None:
    """Ctrl-C at it; and what is typed is not shown."""
    code = f"""
import fcntl, os, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
before = termios.tcgetattr(0)
process = subprocess.Popen([{MLP!r}, "auth", "login", "--url", {own.url!r}])
import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)
print("code", process.wait(), "echo", bool(termios.tcgetattr(0)[3] & termios.ECHO), flush=True)
"""
    terminal = Terminal(code)
    try:
        terminal.until("not shown): ")
        terminal.type("secret-typed\x03")
        terminal.until("code 130 echo True")
        assert "secret-typed" not in terminal.shown
    finally:
        terminal.process.kill()
        terminal.process.wait()


def test_completion_and_serve(run: Run) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "suspend-after" in run(f"completion {shell}").stdout
    assert subprocess.run([BASH, "-n"], input=run("completion bash").stdout, text=True, check=False).returncode == 0
    assert "--job-user" in run("serve --help").stdout


def _commands(prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each command with its help."""
    text = subprocess.run([MLP, *prefix, "--help"], capture_output=True, text=True, check=True).stdout
    yield prefix, text
    if prefix != ("serve",) and "\nCommands:\n" in text:
        for line in text.split("\nCommands:\n")[1].split("\n\n")[0].splitlines():
            if name := re.match(r"  (\S+)", line):
                yield from _commands((*prefix, name[1]))


@pytest.fixture
def things(admin: MLPlatform, tmp_path: Path) -> Callable[[], None]:
    """What the examples speak of."""
    (tmp_path / "pi.py").write_text("echo 3.14\n")
    (tmp_path / "job.yaml").write_text(
        json.dumps(manifest("from-yaml", mainApplicationFile=f"local://{tmp_path}/pi.py"))
    )
    for kind in ("Secret", "ConfigMap"):
        text = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "settings"}, "data": {"a": "Yg=="}}
        (tmp_path / f"{kind.lower()}.yaml").write_text(json.dumps(text))
    cluster = admin.get_clusters()[0].id

    def make() -> None:
        for name in ("anna", "ci"):
            with contextlib.suppress(NotFoundException):
                admin.delete_token(name)
        register = admin.create_register_token("anna", "1h", token_type=MLPTokenType.USER)
        admin.create_refresh_token(register)
        (tmp_path / "registration-token").write_text(
            admin.create_register_token("from-a-file", "1h", token_type=MLPTokenType.USER)
        )
        for name in ("pi", "from-yaml"):
            with contextlib.suppress(NotFoundException):
                admin.spark_delete_job(cluster, name)
        admin.spark_submit_job(cluster, manifest("pi"), tmp_path / "pi.py")
        until(lambda: str(admin.spark_job_info(cluster, "pi").status) == "COMPLETED")
        with contextlib.suppress(ConflictException):
            admin.create_secret_from_yaml(cluster, tmp_path / "secret.yaml")
        with contextlib.suppress(ConflictException):
            admin.create_configmap_from_yaml(cluster, tmp_path / "configmap.yaml")

    return make


def test_every_command_has_examples_and_they_run(
    run: Run, own: LocalPlatform, admin: MLPlatform, things: Callable[[], None], tmp_path: Path
) -> None:
    examples = []
    for command, text in _commands():
        if "\nCommands:\n" in text and command:
            continue
        found = re.findall(r"^  (mlp .*)$", text.split("Examples:\n")[-1], re.MULTILINE) if "Examples:" in text else []
        if command != ("serve",):
            assert found, command
        examples += found
    for page in (*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"):
        blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        examples += [line for block in blocks for line in block.splitlines() if line.startswith("mlp ")]
    assert len(examples) > 50
    cluster = admin.get_clusters()[0].id
    for example in examples:
        things()
        admin.create_register_token("waits", "1h", token_type=MLPTokenType.USER)
        id_of = [info.id for info in admin.get_register_tokens_info() if info.client_name == "waits"][-1]
        line = re.sub(r"https://[\w.]*example\.com", own.url, example).replace("tok_0123456789abcdef", id_of)
        line = line.replace("mlp ", f"{MLP} ", 1)
        if "job submit" in line and "pi.py" in line:
            admin.spark_delete_job(cluster, "pi")
        for kind, delete in [("secret", admin.delete_secret), ("configmap", admin.delete_configmap)]:
            if f" {kind} create" in line:
                delete(cluster, "settings")
        done = subprocess.run(
            [BASH, "-c", line], input=str(own.admin_token), capture_output=True, text=True, check=False, cwd=tmp_path
        )
        # The local cluster runs, and one that runs cannot be woken up; nobody has that session.
        expected = 1 if " wake" in line else 4 if " close-session" in line else 0
        assert done.returncode == expected, (example, done.stderr)
        admin.delete_register_token(id_of)
        with contextlib.suppress(NotFoundException):
            admin.delete_token("from-a-file")


def test_ctrl_c_is_told_by_the_code(own: LocalPlatform, run: Run) -> None:
    """While an answer is waited for."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    process = subprocess.Popen(
        [MLP, "auth", "whoami", "--url", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    connection, _ = listener.accept()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    connection.close()
    listener.close()
    assert (process.returncode, out, err) == (130, "", "")
