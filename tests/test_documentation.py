"""The code of README and the guides runs, and their tables say what the code says."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import documentation
import pytest
from conftest import ROOT, TOKEN
from guides import ON_SPARK, python_of

from mlplatform_client import __version__
from mlplatform_client._native import contract
from mlplatform_client.core import exceptions

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


GUIDES = [
    guide
    for guide in sorted((ROOT / "docs").glob("*.md"))
    if "```python" in guide.read_text(encoding="utf-8") and guide.name not in ON_SPARK
]


def _run_blocks(text: str, folder: Path) -> str:
    """Run the Python blocks as one script, which must end well and show no token; return what it printed.

    Files that the guide writes lie beside it. If there are tests among them, they must pass.
    """
    files, script = python_of(text)
    for name, block in {**files, "guide.py": script}.items():
        (folder / name).write_text(block)
    printed = _run(folder, "guide.py")
    if any(name.startswith("test_") for name in files):
        printed += _run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}", *files)
    return printed


def _run(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert not TOKEN.search(done.stdout)
    return done.stdout


def _rows(page: str, heading: str) -> list[list[str]]:
    """The rows of a page's table whose first heading is that."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    table = text.split(f"\n| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def _targets(page: Path) -> list[str]:
    """The files that its links lead to."""
    return re.findall(r"\]\((?!http)([^)#]+)(?:#[\w-]+)?\)", page.read_text(encoding="utf-8"))


def test_python_blocks_run_as_one_script(tmp_path: Path) -> None:
    printed = _run_blocks(README, tmp_path)
    assert "Token anna:\n\tid: tok_" in printed


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_a_guide_s_python_blocks_run_as_one_script(guide: Path, tmp_path: Path) -> None:
    _run_blocks(guide.read_text(encoding="utf-8"), tmp_path)


def test_the_example_plays_the_story_and_shows_no_token() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "tokens.py")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("   refused: <Response [403]>. Info: ") == 4
    for said in ("Token anna:", "ml-platform:Manage", "already redeemed at", "token has expired"):
        assert said in done.stdout
    assert not TOKEN.search(done.stdout)


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for file in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"^make (\w+)", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_routes_are_those_of_the_protocol() -> None:
    roles = {"Public": "–", "User": "User", "Administrator": "Administrator"}
    whose = {"Vendor": "the vendor's", "Project": "this project's"}
    expected = [
        [f"`{name}`", f"`{method} {path}`", whose[origin], roles[access]]
        for name, method, path, access, origin in contract()["routes"]
    ]
    assert _rows("routes.md", "method") == expected


def test_settings_are_those_of_the_client() -> None:
    rows = {row[0]: row for row in _rows("configuration.md", "argument")}
    for name, variable, default, _secret in contract()["settings"]:
        row = rows.pop(f"`{name}`")
        assert row[1] == f"`{variable}`"
        assert default is None or row[2] == f"`{default}`"
    assert rows == {}


def test_errors_exist_and_are_what_the_table_says() -> None:
    import builtins

    for names, _, also, remedy in _rows("errors.md", "class"):
        assert remedy
        for name in re.findall(r"`(\w+)`", names):
            cls = getattr(exceptions, name)
            for base in re.findall(r"`(\w+)`", also):
                assert issubclass(cls, getattr(exceptions, base, None) or getattr(builtins, base))


def test_the_proofs_of_docs_security_exist() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    proofs = re.findall(r"`([\w/.]+)::(\w+)`", text)
    assert len(proofs) > 30
    for file, test in proofs:
        keyword = "def" if file.endswith(".py") else "fn"
        assert f"{keyword} {test}(" in (ROOT / file).read_text(encoding="utf-8"), (file, test)


def test_versions_agree() -> None:
    for file in ("Cargo.toml", "CHANGELOG.md"):
        assert __version__ in (ROOT / file).read_text(encoding="utf-8")


def test_the_published_pattern_is_the_protocol_s() -> None:
    for file in ("README.md", "SECURITY.md"):
        assert contract()["token_pattern"] in (ROOT / file).read_text(encoding="utf-8")


def _shell_lines() -> set[str]:
    """Those of blocks without a name; one that has a name is run by the test that asks for it."""
    blocks = [
        re.findall(r"(?<!-->\n)```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL) for page in PAGES
    ]
    return {line for block in itertools.chain(*blocks) for line in block.splitlines() if line}


def test_a_command_that_nothing_runs_is_one_of_these() -> None:
    """`mlp` is run by test_command.py, `mlplatform-server` below; what installs is run by test_packaging.py."""
    known = ("mlp ", "mlplatform-server ", "make ", "pip install ", "pip uninstall ", "export MLP_URL=", "curl -s ")
    assert [line for line in _shell_lines() if not line.startswith(known)] == []


def test_the_platform_s_program_knows_what_the_pages_write() -> None:
    """`--help` behind a line: it is parsed up to there."""
    program = Path(sys.executable).with_name("mlplatform-server")
    lines = {line for line in _shell_lines() if line.startswith("mlplatform-server ")}
    assert len(lines) > 5
    for line in lines:
        done = subprocess.run([program, *shlex.split(line)[1:], "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stderr)


def test_the_site_s_contents_name_every_page_once() -> None:
    named = ["index.md", *itertools.chain(*documentation.CONTENTS.values())]
    assert sorted(named) == sorted({page.name for page in (ROOT / "docs").glob("*.md")} | documentation.MADE)


def test_the_site_s_pages_link_to_each_other(tmp_path: Path) -> None:
    """As they are put together; whether a heading is there, `make docs` tells."""
    (tmp_path / "reference.md").write_text("# Reference\n")
    documentation.assemble(tmp_path / "pages", tmp_path / "reference.md")
    for page in (tmp_path / "pages").glob("*.md"):
        for target in _targets(page):
            assert (page.parent / target).exists(), (page.name, target)
    api = (tmp_path / "pages" / "api.md").read_text(encoding="utf-8")
    for name in ("autoclass:: mlplatform_client.MLPlatform", "autofunction:: mlplatform_client.testing.status"):
        assert name in api


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs"])
def test_links_lead_somewhere(file: str) -> None:
    place = ROOT / file
    for page in place.glob("*.md") if place.is_dir() else [place]:
        for target in _targets(page):
            assert (page.parent / target).exists(), target
