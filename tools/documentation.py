"""Builds the site: the guides of docs/, the repository's own pages, and the references, as HTML by Sphinx.

    python tools/documentation.py --command-reference FILE --out FOLDER

Strict: a link that leads nowhere, a page that is in no table of contents and a docstring that cannot be read fail.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

CONTENTS = {
    "Start": ["migrating.md", "configuration.md", "errors.md"],
    "Tokens": ["tokens-administrators.md", "tokens-users.md"],
    "Spark": [
        "spark.md",
        "spark-connect.md",
        "waiting.md",
        "manifests.md",
        "clusters.md",
        "kubernetes.md",
        "notebooks.md",
        "v2.md",
    ],
    "The command": ["command.md", "command-reference.md"],
    "For programs": ["async.md", "testing.md", "integrations.md", "api.md", "routes.md"],
    "The platform": [
        "platform.md",
        "running.md",
        "security-policy.md",
        "security.md",
        "reliability.md",
        "benchmarks.md",
        "changelog.md",
    ],
}
# Pages that do not lie in docs/, by what they are made of.
REPOSITORY = {"security-policy.md": "SECURITY.md", "changelog.md": "CHANGELOG.md"}
MADE = {*REPOSITORY, "command-reference.md", "api.md"}

# The public modules; of a package that has no `__all__` of its own, or a longer one, the names that are meant.
MODULES: dict[str, list[str]] = {
    "mlplatform_client": ["MLPlatform", "login", "TokenStr"],
    "mlplatform_client.aio": [],
    "mlplatform_client.core.spark_job": [],
    "mlplatform_client.core.manifest": [],
    "mlplatform_client.core.exceptions": [],
    "mlplatform_client.serializers.auth": [],
    "mlplatform_client.serializers.spark_proxy": [],
    "mlplatform_client.serializers.audit": [],
    "mlplatform_client.local": [],
    "mlplatform_client.testing": [],
}


def api() -> str:
    """The page of the API: every public name, for autodoc to fill in."""
    parts = ["# API reference\n\nEvery public name, from its docstring: `help(…)` tells the same.\n"]
    for module_name, chosen in MODULES.items():
        module = importlib.import_module(module_name)
        summary = (module.__doc__ or "").partition("\n")[0]
        parts.append(f"## {module_name}\n\n{summary}\n")
        for name in chosen or module.__all__:
            parts.append("```{eval-rst}\n" + _directive(f"{module_name}.{name}", getattr(module, name)) + "\n```\n")
    return "\n".join(parts)


def _directive(path: str, value: object) -> str:
    if inspect.isclass(value) and issubclass(value, BaseException):
        return f".. autoexception:: {path}\n   :members:\n   :show-inheritance:"
    if inspect.isclass(value):
        members = "" if issubclass(value, str) else "\n   :members:"
        return f".. autoclass:: {path}{members}"
    if inspect.isroutine(value):
        return f".. autofunction:: {path}"
    return f".. autodata:: {path}"


def assemble(folder: Path, command_reference: Path) -> None:
    """Put all pages into an empty folder, their links changed to lead from there."""
    # Decisions are for those who work on the code.
    shutil.copytree(ROOT / "docs", folder, ignore=shutil.ignore_patterns("dev"))
    for name, source in REPOSITORY.items():
        shutil.copy(ROOT / source, folder / name)
    shutil.copy(command_reference, folder / "command-reference.md")
    (folder / "api.md").write_text(api(), encoding="utf-8")
    for page in folder.glob("*.md"):
        text = re.sub(r"\]\(docs/", "](", page.read_text(encoding="utf-8"))
        for name, source in REPOSITORY.items():
            text = text.replace(f"](../{source}", f"]({name}").replace(f"]({source}", f"]({name}")
        page.write_text(text, encoding="utf-8")
    with (folder / "index.md").open("a", encoding="utf-8") as index:
        for caption, pages in CONTENTS.items():
            index.write("\n```{toctree}\n:hidden:\n:caption: " + caption + "\n\n" + "\n".join(pages) + "\n```\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command-reference", type=Path, required=True, help="what the example `reference` printed")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the site; what is in it is replaced")
    arguments = parser.parse_args()
    sources = arguments.out.with_name(f"{arguments.out.name}-sources")
    for folder in (sources, arguments.out):
        shutil.rmtree(folder, ignore_errors=True)
    assemble(sources, arguments.command_reference)
    sphinx = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--fresh-env"]
    configuration = ["--conf-dir", str(ROOT / "tools" / "sphinx")]
    # Its caches lie beside the pages' sources.
    done = subprocess.run(
        [*sphinx, *configuration, "--doctree-dir", str(sources / ".doctrees"), str(sources), str(arguments.out)],
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.returncode)
    print(f"{arguments.out / 'index.html'}: {len([*arguments.out.glob('*.html')])} pages")


if __name__ == "__main__":
    main()
