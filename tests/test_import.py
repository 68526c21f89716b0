"""Importing is quick, loads nothing heavy and starts nothing; help() reads well."""

from __future__ import annotations

import pydoc
import subprocess
import sys

import mlplatform_client
from mlplatform_client import MLPlatform

HEAVY = ["asyncio", "dataclasses", "inspect", "json", "pathlib", "subprocess", "threading", "typing", "requests"]


def _run(script: str) -> str:
    return subprocess.run([sys.executable, "-S", "-I", "-c", script], capture_output=True, text=True, check=True).stdout


def test_nothing_heavy_is_imported() -> None:
    """What the import adds to a bare interpreter; how long it takes is told by `make bench`."""
    folder = mlplatform_client.__path__[0].rsplit("/", 1)[0]
    script = f"import sys; sys.path.append({folder!r}); before = set(sys.modules); import mlplatform_client; "
    added = _run(script + "print(*(set(sys.modules) - before))").split()
    assert "mlplatform_client._native" in added
    assert set(HEAVY) & set(added) == set()


def test_import_starts_no_thread() -> None:
    folder = mlplatform_client.__path__[0].rsplit("/", 1)[0]
    script = f"import os, sys; sys.path.append({folder!r}); import mlplatform_client; "
    script += "mlplatform_client.MLPlatform('a token'); print(len(os.listdir('/proc/self/task')))"
    assert _run(script).strip() == "1"


def test_help_reads_well() -> None:
    package = pydoc.plain(pydoc.render_doc(mlplatform_client))
    for said in ("create_register_token(", "MLP_REFRESH_TOKEN", "LocalPlatform", "MLPlatformException"):
        assert said in package
    assert "expandtabs" not in package, "the methods of str bury ours"
    method = pydoc.plain(pydoc.render_doc(MLPlatform.create_register_token))
    signature = "(self, /, client_name, access_ttl, *, refresh_ttl=None, token_type, timeout=None, **kwargs)"
    assert signature in method
    for said in ("client_name : str", "2h45m30s", "never expires", "TokenStr", "ForbiddenException", "Examples"):
        assert said in method
    assert max(map(len, method.splitlines())) <= 120


def test_every_public_method_documents_itself() -> None:
    for name in dir(MLPlatform):
        if not name.startswith("_"):
            documentation = getattr(MLPlatform, name).__doc__
            assert documentation, name
            # Of a session, each other keyword is a setting of Spark.
            assert "timeout : float" in documentation or name in ("stop", "close", "spark_session"), name
