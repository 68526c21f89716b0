"""Settings that were saved: `login()` at a real prompt, profiles, and which token goes where."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Newcomer

from mlplatform_client import MLPlatform, login
from mlplatform_client.core.exceptions import ConfigurationException
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty configuration folder; a profile is read from there."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "mlplatform"


class Terminal:
    """A program that has a terminal of its own."""

    def __init__(self, code: str) -> None:
        self._own, its = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=its, stdout=its, stderr=its, start_new_session=True
        )
        os.close(its)
        self.shown = ""

    def until(self, text: str) -> None:
        end = time.monotonic() + 60
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            if select.select([self._own], [], [], 1)[0]:
                try:
                    self.shown += os.read(self._own, 4096).decode()
                except OSError:
                    pytest.fail(f"the program has ended: {self.shown}")

    def type(self, text: str) -> None:
        os.write(self._own, text.encode())

    def end(self) -> int:
        """Read until the program closes its terminal; its exit code."""
        while True:
            try:
                piece = os.read(self._own, 4096)
            except OSError:
                piece = b""
            if not piece:
                break
            self.shown += piece.decode()
        os.close(self._own)
        return self.process.wait(60)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    made: list[Terminal] = []
    yield made
    for terminal in made:
        terminal.process.kill()
        terminal.process.wait()


ASK = "import mlplatform_client as mlp; p = mlp.login({arguments}); print('I am', p.who_am_i().name); p"


def test_a_token_is_asked_for_and_kept(
    config: Path, platform: LocalPlatform, newcomer: Newcomer, terminals: list[Terminal]
) -> None:
    name, token = newcomer()
    terminals.append(terminal := Terminal(ASK.format(arguments=f"url={platform.url!r}")))
    terminal.until("not shown): ")
    terminal.type(f"  {token}\n")
    assert terminal.end() == 0, terminal.shown
    assert f"as '{name}' (User); stored in profile 'default'." in terminal.shown
    assert f"I am {name}" in terminal.shown
    assert token not in terminal.shown
    kept = config / "tokens/default"
    assert kept.read_text() == f"{token}\n"
    assert [path.stat().st_mode & 0o777 for path in (kept, kept.parent, config / "config.toml")] == [
        0o600,
        0o700,
        0o600,
    ]
    assert (config / "config.toml").read_text() == f'[profiles.default]\nurl = "{platform.url}/"\n'
    with MLPlatform() as mine:
        assert mine.who_am_i().name == name


def test_a_registration_token_is_redeemed(
    config: Path, platform: LocalPlatform, admin: MLPlatform, terminals: list[Terminal]
) -> None:
    pasted = admin.create_register_token("pasted", "10m", token_type=MLPTokenType.ADMIN)
    terminals.append(terminal := Terminal(ASK.format(arguments=f"'own', url={platform.url!r}")))
    terminal.until("not shown): ")
    terminal.type(f"{pasted}\n")
    assert terminal.end() == 0, terminal.shown
    assert "as 'pasted' (Admin); stored in profile 'own'." in terminal.shown
    assert "to use this profile, set MLP_PROFILE=own" in terminal.shown
    assert "mlpr_" not in terminal.shown
    with MLPlatform(profile="own") as mine:
        assert mine.who_am_i().name == "pasted"
    admin.delete_token("pasted")


def test_what_is_wrong_is_kept_nowhere(
    config: Path, platform: LocalPlatform, newcomer: Newcomer, admin: MLPlatform, terminals: list[Terminal]
) -> None:
    name, token = newcomer()
    registration = admin.create_register_token("not-lost", "10m", token_type=MLPTokenType.USER)
    for arguments, typed, told in [
        (f"url={platform.url!r}", token[:-1] + ("a" if token[-1] != "a" else "b"), "at least one character is wrong"),
        (f"url={platform.url!r}", "", "it is empty"),
        (f"url={platform.url!r}, save=False", registration, "would be lost with save=False"),
    ]:
        terminals.append(terminal := Terminal(ASK.format(arguments=arguments)))
        terminal.until("not shown): ")
        terminal.type(f"{typed}\n")
        assert terminal.end() == 1
        assert told in terminal.shown, terminal.shown
        assert not (config / "tokens/default").exists()
        assert not (config / "config.toml").exists()
    (waiting,) = [info for info in admin.get_register_tokens_info() if info.client_name == "not-lost"]
    assert waiting.state == "WAITING"
    terminals.append(terminal := Terminal(ASK.format(arguments=f"url={platform.url!r}, save=False")))
    terminal.until("not shown): ")
    terminal.type(f"{token}\n")
    assert terminal.end() == 0, terminal.shown
    assert f"as '{name}' (User).\r\n" in terminal.shown
    assert not [path for path in config.rglob("*") if path.is_file()]


def test_ctrl_c_at_the_prompt(config: Path, platform: LocalPlatform, terminals: list[Terminal]) -> None:
    code = "import mlplatform_client as mlp\ntry: mlp.login(url={!r})\nexcept KeyboardInterrupt: print('left')"
    # The terminal's own Ctrl-C goes to the program that the terminal belongs to.
    own = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    terminals.append(terminal := Terminal(own + code.format(platform.url)))
    terminal.until("not shown): ")
    terminal.type("\x03")
    terminal.until("left")
    assert terminal.end() == 0


def test_nobody_is_there_to_answer(config: Path, platform: LocalPlatform) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(arguments=f"url={platform.url!r}")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "there is nobody here to answer" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_home_that_cannot_be_written(config: Path, platform: LocalPlatform) -> None:
    config.parent.mkdir(mode=0o500)
    with pytest.raises(ConfigurationException, match="cannot be written"):
        login(url=platform.url)


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_asked(config: Path, platform: LocalPlatform) -> None:
    config.parent.write_text("a file")
    with pytest.raises(ConfigurationException, match=r"the profiles cannot be written: '.*/mlplatform'"):
        login(url=platform.url)
    # Nothing there is no profile, and no error.
    assert "refresh_token=none" in repr(MLPlatform())


def test_a_profile_s_token_goes_to_its_own_address_alone(
    config: Path, platform: LocalPlatform, newcomer: Newcomer
) -> None:
    name, token = newcomer()
    (config / "tokens").mkdir(parents=True)
    for profile, url in [("default", platform.url), ("other", "https://other.example")]:
        (config / "tokens" / profile).write_text(token)
        (config / "tokens" / profile).chmod(0o600)
        with open(config / "config.toml", "a") as file:
            file.write(f"[profiles.{profile}]\nurl = '{url}'\n")
    assert MLPlatform().who_am_i().name == name
    assert MLPlatform(url=f"{platform.url}/").who_am_i().name == name
    assert "refresh_token=none" in repr(MLPlatform(url="https://else.example"))
    assert "url='https://other.example/' refresh_token=given" in repr(MLPlatform(profile="other"))
    with pytest.raises(ConfigurationException, match=r"the profile 'other' is for 'https://other\.example'"):
        MLPlatform(profile="other", url=platform.url)
    with pytest.raises(ConfigurationException, match="existing: default, other"):
        MLPlatform(profile="nope")
    (config / "tokens/default").chmod(0o644)
    with pytest.raises(ConfigurationException, match="chmod 600"):
        MLPlatform()
    # Whoever gives a token is not hindered by what is wrong with another.
    assert MLPlatform(token).who_am_i().name == name


def test_the_import_loads_nothing_of_it() -> None:
    code = (
        "import sys, mlplatform_client; print([m for m in ('getpass', 'mlplatform_client._login') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
