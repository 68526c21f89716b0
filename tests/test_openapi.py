"""`/openapi.json` describes every route, and the platform answers as it says."""

from __future__ import annotations

from pathlib import Path

from openapi_run import get, run

from mlplatform_client._native import contract
from mlplatform_client.local import LocalPlatform


def test_every_route_is_described(platform: LocalPlatform) -> None:
    document = get(f"{platform.url}/openapi.json")
    assert document["openapi"] == "3.1.0"
    described = {
        (operation["operationId"], method.upper(), path, operation["x-origin"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert described == {(name, method, path, origin.lower()) for name, method, path, _, origin in contract()["routes"]}
    # The session of a role that is too low is refused; which role it takes is in the document.
    assert document["paths"]["/v1_0/audit"]["get"]["security"][0] == {"session": ["ml-platform:Manage"]}


def test_every_answer_is_on_its_schema(tmp_path: Path) -> None:
    seen = run(tmp_path, "coverage,fuzzing", seconds=35, examples=5, seed=1)
    # The document itself was read before.
    assert {operation for operation, _ in seen} | {"openapi"} == {name for name, *_ in contract()["routes"]}
    done = {operation for operation, status in seen if status < 300}
    assert done >= {"healthz", "who_am_i", "get_register_tokens_info", "get_clusters", "get_audit"}
