"""Write `mlplatform_client/aio.pyi`: the stub of `AsyncMLPlatform`, made of that of `MLPlatform`.

The class itself is made of the other one when it is imported. Type checkers want it spelled out; a test holds the file
against what this makes.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "python" / "mlplatform_client"

TEMPLATE = """
__all__ = ["AsyncMLPlatform", "AsyncSparkJob", "AsyncSparkJobLogLines"]

class AsyncMLPlatform:
{init}
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc_info: object) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
{methods}

class AsyncSparkJob(Handle):
{handle}

class AsyncSparkJobLogLines:
    def __init__(self, lines: SparkJobLogLines) -> None: ...
    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> str: ...
    async def aclose(self) -> None: ...
"""


def made() -> str:
    """The stub as it has to be."""
    native, handle = _Source("_native.pyi", "MLPlatform"), _Source("core/spark_job.py", "SparkJob")
    init = next(text for name, text in native.methods if name == "__init__")
    body = TEMPLATE.format(init=init, methods="\n".join(native.awaited()), handle="\n".join(handle.awaited()))
    body = body.replace("-> SparkJob:", "-> AsyncSparkJob:").replace(
        "-> SparkJobLogLines:", "-> AsyncSparkJobLogLines:"
    )
    names = list(ast.walk(ast.parse(body)))
    used = {node.id for node in names if isinstance(node, ast.Name)}
    imports = [ast.unparse(node) for node in native.module.body if _only(node, used)]
    own = sorted(used & {node.name for node in native.module.body if isinstance(node, ast.ClassDef)})
    imports.append("from mlplatform_client.core.spark_job import Handle")
    imports.append(f"from mlplatform_client._native import {', '.join(own)}")
    return _formatted("\n".join(imports) + "\n" + body)


class _Source:
    """A file, and the methods of a class in it: each with its name and its text, without docstring and body."""

    def __init__(self, file: str, name: str) -> None:
        text = (PACKAGE / file).read_text(encoding="utf-8")
        self.module = ast.parse(text)
        found = next(node for node in self.module.body if isinstance(node, ast.ClassDef) and node.name == name)
        self.methods = []
        functions = [node for node in found.body if isinstance(node, ast.FunctionDef)]
        overloaded = {node.name for node in functions if node.decorator_list}
        for node in functions:
            # What overloads are of is no part of a stub.
            if node.decorator_list or node.name not in overloaded:
                node.body = [ast.Expr(ast.Constant(...))]
                self.methods.append(
                    (node.name, "    " + ast.unparse(node).replace("\n    ...", " ...").replace("\n", "\n    "))
                )

    def awaited(self) -> list[str]:
        return [text.replace("def ", "async def ", 1) for name, text in self.methods if not name.startswith("_")]


def _only(node: ast.stmt, used: set[str]) -> bool:
    """Whether it is an import of something that is used; of the others it loses."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        node.names = [alias for alias in node.names if (alias.asname or alias.name) in used]
        return bool(node.names)
    return False


def _formatted(text: str) -> str:
    for command in (["check", "--select", "I", "--fix", "--quiet"], ["format"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(PACKAGE / "aio.pyi"), "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout
    return text


if __name__ == "__main__":
    (PACKAGE / "aio.pyi").write_text(made(), encoding="utf-8")
