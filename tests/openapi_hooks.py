"""What schemathesis is told about a platform under test; loaded by its process, see openapi_run.py."""

from __future__ import annotations

import json
import os
import zlib
from typing import Any

import schemathesis

# The tester's own token and its issuer: without it there is nothing more to see.
NAMES = os.environ["OPENAPI_TOKEN_NAMES"].split("\n")
CLUSTER = os.environ["OPENAPI_CLUSTER"]
SEEN = os.environ["OPENAPI_SEEN"]
# They end a token or what its sessions are good for.
ENDS_TOKENS = {"delete_token", "rotate_token", "delete_issuer_tokens"}


def _name(operation: Any) -> Any:
    return operation.definition.raw.get("operationId")


@schemathesis.hook
def map_path_parameters(context: schemathesis.HookContext, path_parameters: dict[str, Any]) -> dict[str, Any]:
    """Ids are never guessed: three of four are the id of a cluster that there is."""
    operation = _name(context.operation)
    given = (path_parameters or {}).get("cluster_id")
    if isinstance(given, str) and operation != "delete_cluster" and zlib.crc32(given.encode("utf-8", "replace")) % 4:
        return {**path_parameters, "cluster_id": CLUSTER}
    return path_parameters


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: Any) -> bool:
    """Leave the tester its token, and the cluster."""
    operation = _name(case.operation)
    given = json.dumps([case.query, case.body], default=str)
    if operation in ENDS_TOKENS and any(name in given for name in NAMES):
        return False
    return operation != "delete_cluster" or CLUSTER not in str(case.path_parameters)


@schemathesis.hook
def after_call(context: schemathesis.HookContext, case: Any, response: schemathesis.Response) -> None:
    """Note which operation gave which status."""
    operation = _name(case.operation)
    with open(SEEN, "a", encoding="utf-8") as file:
        file.write(f"{operation} {response.status_code}\n")
