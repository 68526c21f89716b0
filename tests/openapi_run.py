"""A run of schemathesis against a platform of its own."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from conftest import TOKEN

from mlplatform_client import MLPlatform
from mlplatform_client.local import LocalPlatform

# `positive_data_acceptance` stays out: a name that is taken is on its schema and refused all the same.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,ignored_auth,unsupported_method,allow_header_conformance"
)
Seen = collections.Counter[tuple[str, int]]


def get(url: str) -> Any:
    """Read a public JSON document."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - a platform of ours
        return json.load(answer)


def run(folder: Path, phases: str, seconds: int, examples: int, seed: int) -> Seen:
    """Test every operation; fail with what schemathesis found. Return how often an operation gave a status."""
    seen = folder / "seen"
    with LocalPlatform() as platform, MLPlatform(platform.admin_token, url=platform.url) as admin:
        me, cluster = admin.who_am_i(), admin.get_clusters()[0].id
        config = folder / "schemathesis.toml"
        config.write_text(
            "continue-on-failure = true\n"
            '[auth.openapi.session]\nbearer = "${OPENAPI_SESSION}"\n'
            "[cache]\nenabled = false\n"
            # What is too long may be too long for a body as well.
            "[checks.negative_data_rejection]\nexpected-statuses = [400, 401, 403, 404, 405, 409, 413, 415, 429]\n"
        )
        environment = {
            **os.environ,
            "SCHEMATHESIS_HOOKS": "openapi_hooks",
            "PYTHONPATH": str(Path(__file__).parent),
            "OPENAPI_SESSION": _session(platform),
            "OPENAPI_TOKEN_NAMES": f"{me.name}\n{me.issuer_name}",
            "OPENAPI_CLUSTER": cluster,
            "OPENAPI_SEEN": str(seen),
        }
        command = [str(Path(sys.executable).with_name("schemathesis")), f"--config-file={config}", "run"]
        command += [f"{platform.url}/openapi.json", f"--checks={CHECKS}", f"--phases={phases}", f"--seed={seed}"]
        command += [f"--max-time={seconds}", f"--max-examples={examples}", "--no-color", "--generation-database=none"]
        command += ["--warnings=off", "--suppress-health-check=all", "--request-timeout=60"]
        done = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=seconds * 3 + 120
        )
        told = TOKEN.sub("***", done.stdout + done.stderr)
        assert done.returncode == 0, told
        # It has outlived all that.
        assert admin.who_am_i().id == me.id
    return collections.Counter(
        (operation, int(status)) for operation, status in map(str.split, seen.read_text().splitlines())
    )


def _session(platform: LocalPlatform) -> str:
    body = json.dumps({"refresh_token": str(platform.admin_token)}).encode()
    request = urllib.request.Request(  # noqa: S310 - a platform of ours
        f"{platform.url}/v1_0/sessions", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - a platform of ours
        session: str = json.load(answer)["session_token"]
    return session
