"""The workflows for a forge say what the rest of the repository says. `actionlint` checks their form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

WORKFLOWS = [*sorted((ROOT / ".github" / "workflows").glob("*.yml")), ROOT / "examples" / "ci" / "github.yml"]
RELEASE = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commits_and_rights_are_few(workflow: Path) -> None:
    text = workflow.read_text(encoding="utf-8")
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert used
    for action, comment in used:
        if not action.startswith("./"):
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r" # v[\d.]+", comment), action
    plan = yaml.safe_load(text)
    assert plan["permissions"] == {"contents": "read"}
    for name, job in plan["jobs"].items():
        assert "uses" in job or job["timeout-minutes"] <= 120, name
        for step in job.get("steps", []):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


def test_ci_runs_what_make_test_runs() -> None:
    plan = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert ".ci/run" in [step.get("run") for step in plan["jobs"]["test"]["steps"]]
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").rstrip().endswith("exec make test")


def test_the_release_builds_with_the_maturin_of_the_tests() -> None:
    wanted = re.search(r"^maturin==(\S+)$", (ROOT / "requirements-build.txt").read_text(), flags=re.MULTILINE)
    assert wanted is not None
    assert yaml.safe_load(RELEASE)["env"]["MATURIN"] == f"v{wanted[1]}"


def test_every_build_is_in_the_release() -> None:
    """Only what is named `packages-…` is collected, and only when all have built and the tests have passed."""
    jobs = yaml.safe_load(RELEASE)["jobs"]
    assert set(jobs["release"]["needs"]) == set(jobs) - {"release", "publish"}
    for name in set(jobs) - {"test", "release", "publish"}:
        uploads = [step["with"]["name"] for step in jobs[name]["steps"] if "upload-artifact" in step.get("uses", "")]
        assert uploads
        assert all(upload.startswith("packages-") for upload in uploads)
