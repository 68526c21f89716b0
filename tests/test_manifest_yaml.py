"""Manifests as YAML: what is read and written is PyYAML's, too; hostile texts are refused with a line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mlplatform_client.core.exceptions import BadRequestException
from mlplatform_client.core.manifest import Manifest

MANIFESTS = sorted((ROOT / "tests" / "manifests").glob("*.yaml"))

# Texts that one generation of readers or the other takes for something else.
TRAPS = (
    "yes no on off y n Yes NO true null ~ 12:30 1:2:3 2026-11-22 1e3 1E5 010 0o17 0b1 0x1F 1_000 .5 -.5 1. +1 .inf .nan"
)
TRAPS += " = << - ? : & * ! % @ ` , [] {} | > # --- ... 2026-11-22T10:00:00Z 190:20:30.15 -0 0. 1.5e3 685_230.15"
text = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [*TRAPS.split(), "", " ", "\n", "a\n", "a\n\nb", " a", "a: b", "a #b", "\t", "é", "🚀", "\x85", "\ufeff"]
    ),
    st.from_regex(r"[0-9eExXobB:_.+-]{1,8}", fullmatch=True),
)
scalars = st.one_of(text, st.integers(), st.floats(allow_nan=False, allow_infinity=True), st.booleans(), st.none())
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=12
)
documents = st.dictionaries(text, values, max_size=5)
LOADERS: list[type[yaml.SafeLoader] | type[yaml.CSafeLoader]] = [
    yaml.SafeLoader,
    *([yaml.CSafeLoader] if yaml.__with_libyaml__ else []),
]


def _strict(value: Any) -> Any:
    """Equal only where types, order of keys and values are."""
    if isinstance(value, dict):
        return [(key, _strict(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [_strict(inner) for inner in value]
    return type(value), value


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents)
def test_pyyaml_reads_what_we_write(document: dict[str, Any]) -> None:
    written = Manifest(document).to_yaml()
    for loader in LOADERS:
        assert _strict(yaml.load(written, loader)) == _strict(document), written  # noqa: S506 - both are safe loaders
    assert _strict(Manifest(written).to_dict()) == _strict(document)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents, st.booleans(), st.booleans())
def test_we_read_what_pyyaml_writes(document: dict[str, Any], flow: bool, unicode: bool) -> None:
    written = yaml.safe_dump(document, sort_keys=False, default_flow_style=flow, allow_unicode=unicode)
    # To YAML 1.1 these are line breaks, to 1.2 they are not: no two readers of different generations agree about them.
    assume(not any(char in written for char in "\x85\u2028\u2029"))
    try:
        read = Manifest(written).to_dict()
    except BadRequestException as error:
        # PyYAML writes a text plain that begins with what looks like a space or a quote; a person never means that.
        assume("neither indents nor separates" not in str(error) and "quotes nothing" not in str(error))
        raise
    assert _strict(read) == _strict(document), written


def test_there_are_twenty_of_them() -> None:
    assert len(MANIFESTS) >= 20


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_hand_written_manifests_keep_every_value_and_the_order(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    expected = yaml.safe_load(content)
    manifest = Manifest.from_yaml_file(path)
    assert _strict(manifest.to_dict()) == _strict(expected)
    manifest.save_yaml(tmp_path / "saved.yaml")
    saved = (tmp_path / "saved.yaml").read_text(encoding="utf-8")
    assert _strict(yaml.safe_load(saved)) == _strict(expected)
    assert Manifest.from_yaml_file(tmp_path / "saved.yaml") == manifest
    # A second saving changes nothing, and an edit changes one line.
    manifest.main_class = "org.example.Edited"
    edited = manifest.to_yaml().splitlines()
    added = [line for line in edited if line not in saved.splitlines()]
    assert added in (["  mainClass: org.example.Edited"], ["spec:", "  mainClass: org.example.Edited"])
    manifest.main_class = None
    again = manifest.to_dict()
    assert again.pop("spec") == expected.pop("spec", {})
    assert _strict(again) == _strict(expected)


def test_plain_scalars_keep_their_source_text() -> None:
    text = "a: 010\nb: 1.50\nc: yes\nd: 1e3\ne: 12:30\nf: 2026-11-22\ng: ~\nh:\n"
    manifest = Manifest(text)
    manifest.job_name = "edited"
    assert manifest.to_yaml() == text + "metadata:\n  name: edited\n"


def _laughs() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    return "\n".join(lines)


HOSTILE = [
    ("spec:\n  a: 1\n  a: 2\n", "line 3: the key 'a' is there already, in line 2"),
    ("a: 1\n---\nb: 1\n", "line 2: a second document begins here"),
    ("a: 1\nb: " + "[" * 1000, "line 2: nested too deeply"),
    ("a: 1\n" + "- " * 1000, "line 2: "),
    (_laughs(), "line 5: too large"),
    ("a: 1\nb: " + "x" * 1_100_000, "line 2: this text has 1100000 bytes"),
    ("a: 1\n" * 500_000, "line 1: the document has 2500000 bytes"),
    ("a:\n\tb: 1\n", "line 2: "),
    (
        "a: 1\nb: !!python/object/apply:os.system [id]\n",
        "line 2: the tag '!!python/object/apply:os.system' means nothing",
    ),
    ("a: &a\n  b: *a\n", "line 2: this alias stands inside of what it names"),
    ("a: 1\nb: \x00\n", "line 2: here is the control character U+0000"),
    ("a: 'never ends\n", "this is not YAML"),
    ("", "there is nothing here"),
    ("- a\n", "line 1: a manifest is a mapping with apiVersion, kind, metadata and spec, and this is a list"),
    ("just text", "and this is a text"),
]


@pytest.mark.parametrize(("text", "said"), HOSTILE, ids=[said for _, said in HOSTILE])
def test_hostile_yaml_is_refused_with_its_line(text: str, said: str) -> None:
    began = time.monotonic()
    with pytest.raises(BadRequestException) as caught:
        Manifest(text)
    assert time.monotonic() - began < 60
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


def test_bytes_that_are_not_utf_8_are_refused_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "latin1.yaml").write_bytes("a: 1\nb: café\n".encode("latin-1"))
    with pytest.raises(BadRequestException, match=r"latin1\.yaml: line 2: here is a byte that is not UTF-8"):
        Manifest.from_yaml_file(tmp_path / "latin1.yaml")


def test_values_that_yaml_does_not_have_are_refused_with_their_place() -> None:
    with pytest.raises(TypeError, match=r"content\.spec\.a\[1\] must be a dict, list, .*, not set"):
        Manifest({"spec": {"a": [1, {2}]}})
    with pytest.raises(TypeError, match=r"content\.spec must have str keys, not int"):
        Manifest({"spec": {1: 2}})
    endless: dict[str, Any] = {}
    endless["again"] = endless
    with pytest.raises(TypeError, match="nested too deeply, or contains itself"):
        Manifest(endless)
