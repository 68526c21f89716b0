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
__all__ = ["AsyncMLPlatform"]

class AsyncMLPlatform:
{init}
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc_info: object) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
{methods}
"""


def made() -> str:
    """The stub as it has to be."""
    source = (PACKAGE / "_native.pyi").read_text(encoding="utf-8")
    module = ast.parse(source)
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    functions = [node for node in classes["MLPlatform"].body if isinstance(node, ast.FunctionDef)]
    text = {node: "\n".join(source.splitlines()[node.lineno - 1 : node.end_lineno]) for node in functions}
    init = next(text[node] for node in functions if node.name == "__init__")
    overloaded = "    @overload\n"
    methods = [
        (overloaded if node.decorator_list else "") + text[node].replace("def ", "async def ", 1)
        for node in functions
        if not node.name.startswith("_")
    ]
    body = TEMPLATE.format(init=init, methods="\n".join(methods))
    used = {node.id for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Name)}
    used |= {node.value.id for node in ast.walk(ast.parse(body)) if _is_of_module(node)}  # type: ignore[attr-defined]
    imports = [ast.unparse(node) for node in module.body if _only(node, used)]
    own = sorted(used & classes.keys())
    imports.append(f"from mlplatform_client._native import {', '.join(own)}")
    return _formatted("\n".join(imports) + "\n" + body)


def _is_of_module(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)


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
