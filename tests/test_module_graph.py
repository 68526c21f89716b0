"""The check for import cycles finds them, and the table of layers in CONTRIBUTING is what Cargo says."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import module_graph
import pytest

ROOT = Path(__file__).parent.parent


def cycles(folder: Path, files: dict[str, str]) -> list[list[str]]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    found = module_graph.read_crate(folder / "lib.rs").cycles()
    return [["::".join(module) or "crate" for module in cycle] for cycle in found]


@pytest.mark.parametrize(
    "reference",
    [
        "use crate::b::B;",
        "use super::b;",
        "use super::{b::{self, B}, c};",
        "use crate::{\n    c,\n    b::{\n        B,\n    },\n};",
        "pub use crate::b::*;",
        "fn f() { crate::b::g() }",
        "fn f() -> super::b::B { unimplemented!() }",
        "mod inner { use super::super::b::B; }",
        '#[serde(with = "crate::b")] struct S;',
        "macro_rules! m { () => { $crate::b::g() }; }",
        '#[cfg(feature = "x")] use crate::b::B;',
        "use crate::c; fn f() -> c::super_::B { c::super_::g() }",
    ],
)
def test_a_reference_that_closes_a_cycle_is_found(tmp_path: Path, reference: str) -> None:
    files = {
        "lib.rs": "mod a; mod b; mod c;",
        "a.rs": reference,
        "b.rs": "use crate::a;",
        "c.rs": "pub mod super_;",
        "c/super_.rs": "pub use crate::b::B;",
    }
    found = cycles(tmp_path, files)
    assert found in ([["a", "b", "a"]], [["a", "c::super_", "b", "a"]])


@pytest.mark.parametrize(
    "reference",
    [
        "// use crate::b::B;",
        "/* use crate::b; /* nested */ use crate::b; */",
        'const TEXT: &str = "use crate::b;";',
        'const TEXT: &str = r#"crate::b::"B""#;',
        "#[cfg(test)] mod tests { use crate::b::B; }",
        "#[cfg(test)]\n#[allow(unused)]\nuse crate::b::{B, C};",
        "#[cfg(all(test, unix))] fn f() -> u8 { crate::b::g() }",
        "pub(in crate::b) fn f() {}",
        "use other::b::B; fn f(c: char) -> bool { c == '\"' || c == '\\'' }",
        "fn f<'a>(b: &'a B) -> &'a str { b.name() }",
        "fn f() -> impl Iterator<Item = u8> + use<'_> { other::b::g() }",
    ],
)
def test_what_is_no_reference_of_the_crate_is_left_out(tmp_path: Path, reference: str) -> None:
    files = {"lib.rs": "mod a; mod b;", "a.rs": reference, "b.rs": "use crate::a::A;"}
    assert cycles(tmp_path, files) == []


def test_code_behind_a_test_item_counts(tmp_path: Path) -> None:
    text = "#[cfg(test)] const X: [u8; 1] = { [0] }; #[cfg(test)] mod t { } use crate::b::B;"
    files = {"lib.rs": "mod a; mod b;", "a.rs": text, "b.rs": "use crate::a::A;"}
    assert cycles(tmp_path, files) == [["a", "b", "a"]]


def test_re_exports_and_parents_count_as_modules(tmp_path: Path) -> None:
    files = {"lib.rs": "mod a; pub use a::A;", "a.rs": "use crate::Other;"}
    assert cycles(tmp_path / "root", files) == [["crate", "a", "crate"]]
    files = {"lib.rs": "mod a;", "a/mod.rs": "mod b; use b::B;", "a/b.rs": "use super::A;"}
    assert cycles(tmp_path / "parent", files) == [["a", "a::b", "a"]]
    files = {"lib.rs": "mod a;", "a.rs": "mod b;", "a/b.rs": "use super::A;"}
    assert cycles(tmp_path / "child", files) == []


def test_each_cycle_is_reported_with_its_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {
        "lib.rs": "mod a; mod b; mod c; mod d; mod e;",
        "a.rs": "\nuse crate::b;",
        "b.rs": "use crate::c;",
        "c.rs": "\n\nuse crate::{\n    a,\n};",
        "d.rs": "use crate::{a, e};",
        "e.rs": "use crate::d;",
    }
    assert cycles(tmp_path, files) == [["a", "b", "c", "a"], ["d", "e", "d"]]
    crate = module_graph.read_crate(tmp_path / "lib.rs")
    text = module_graph.describe(crate, crate.cycles()[0])
    assert text.splitlines() == [
        "a",
        f"  -> b ({tmp_path / 'a.rs'}:2)",
        f"  -> c ({tmp_path / 'b.rs'}:1)",
        f"  -> a ({tmp_path / 'c.rs'}:4)",
    ]


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file for `mod gone;`"):
        cycles(tmp_path, {"lib.rs": "mod gone;"})


def _packages() -> list[dict[str, Any]]:
    """Of the workspace, as Cargo knows them."""
    command = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    packages: list[dict[str, Any]] = json.loads(done.stdout)["packages"]
    return packages


def test_one_crate_names_sqlx() -> None:
    """Also among tests, which look into a database by that crate's `testing`."""
    users = {package["name"] for package in _packages() for entry in package["dependencies"] if entry["name"] == "sqlx"}
    assert users == {"mlplatform-store"}


def test_the_table_of_layers_is_what_cargo_says() -> None:
    packages = _packages()
    names = {package["name"] for package in packages}
    expected = {}
    for package in packages:
        folder = Path(package["manifest_path"]).parent.relative_to(ROOT).as_posix()
        # Dev-dependencies are not layers: tests may use anything.
        imports = {entry["name"] for entry in package["dependencies"] if entry["kind"] != "dev"} & names
        expected[package["name"]] = (folder, imports)
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\S+)` \| `(\S+)` \| .* \| (.*) \|$", text, re.MULTILINE)
    found = {crate: (folder, set(re.findall(r"`(\S+?)`", imports))) for folder, crate, imports in rows}
    assert found == expected
    above: set[str] = set()
    for _, crate, _ in rows:
        assert expected[crate][1] <= above, f"{crate} stands above a crate that it imports"
        above.add(crate)
