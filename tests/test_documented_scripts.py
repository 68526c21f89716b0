"""The documented scripts, in our own words: run as files, with only MLP_URL set and the placeholders filled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TOKEN

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform
from mlplatform_client.serializers.auth import MLPTokenType

ISSUE = """
from mlplatform_client import MLPlatform
from mlplatform_client.serializers.auth import MLPTokenType

platform = MLPlatform("{admin}")
value = platform.create_register_token(
    client_name="{name}",
    access_ttl="2h45m30s",
    refresh_ttl="2h",
    token_type=MLPTokenType.{role})
print(value)
"""

REDEEM = """
from mlplatform_client import MLPlatform

REGISTRATION = "{register_token}"
platform = MLPlatform()
value = platform.create_refresh_token(REGISTRATION)

print(value)
"""

DELETE = """
from mlplatform_client import MLPlatform

NAME = "{name}"
platform = MLPlatform("{admin}")
platform.delete_token(token_name=NAME)
print("Token", NAME, "was deleted.")
"""


def _run(folder: Path, url: str, script: str) -> str:
    file = folder / "script.py"
    file.write_text(script)
    environment = {**os.environ, "MLP_URL": url}
    done = subprocess.run([sys.executable, str(file)], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


@pytest.mark.parametrize("role", list(MLPTokenType))
def test_issue_redeem_delete(tmp_path: Path, platform: LocalPlatform, admin: MLPlatform, role: MLPTokenType) -> None:
    name = f"scripted {role}"
    register_token = _run(tmp_path, platform.url, ISSUE.format(admin=platform.admin_token, name=name, role=role))
    assert register_token.endswith("\n")
    assert TOKEN.fullmatch(register_token.strip())
    refresh_token = _run(tmp_path, platform.url, REDEEM.format(register_token=register_token.strip()))
    assert TOKEN.fullmatch(refresh_token.strip())
    assert MLPlatform(refresh_token.strip(), url=platform.url).who_am_i().type is role
    said = _run(tmp_path, platform.url, DELETE.format(admin=platform.admin_token, name=name))
    assert said == f"Token {name} was deleted.\n"
    assert name not in [info.name for info in admin.get_project_tokens_info()]
