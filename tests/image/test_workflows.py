"""The GitHub workflows: pinned, least permissions, and calling what a person calls."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))


def read(file: Path) -> dict[Any, Any]:
    content: dict[Any, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content


def steps(file: Path) -> list[dict[str, Any]]:
    return [step for job in read(file)["jobs"].values() for step in job["steps"]]


def test_there_are_workflows_for_tests_image_locks_and_release() -> None:
    assert [file.stem for file in FILES] == ["ci", "image", "locks", "release"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_actions_are_pinned_by_commit_with_their_version_beside_it(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    for line in re.findall(r"uses: (.*)", text):
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_one_action_has_one_commit_everywhere() -> None:
    seen: dict[str, set[str]] = {}
    for file in FILES:
        for name, commit in re.findall(r"uses: ([\w./-]+)@(\w+)", file.read_text(encoding="utf-8")):
            seen.setdefault(name, set()).add(commit)
    assert {name: len(commits) for name, commits in seen.items() if len(commits) > 1} == {}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_permissions_are_the_least_that_will_do(file: Path) -> None:
    workflow = read(file)
    assert workflow["permissions"] == {"contents": "read"}
    more = {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
    assert more == {
        "release": {"publish": {"contents": "read", "packages": "write"}},
        "locks": {"renew": {"contents": "write", "pull-requests": "write"}},
    }.get(file.stem, {})
    for step in steps(file):
        if str(step.get("uses", "")).startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_nothing_from_outside_is_pasted_into_a_script(file: Path) -> None:
    assert "pull_request_target" not in file.read_text(encoding="utf-8")
    for step in steps(file):
        assert "${{" not in str(step.get("run", "")), step


def test_a_push_and_a_pull_request_that_touch_the_image_build_it() -> None:
    triggers = read(ROOT / ".github/workflows/image.yml")[True]  # YAML reads `on` as true
    assert triggers["push"]["paths"] == triggers["pull_request"]["paths"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_yaml_alias_that_linters_do_not_know(file: Path) -> None:
    assert not re.search(r":\s+[&*]\w", file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_job_has_a_deadline(file: Path) -> None:
    for name, job in read(file)["jobs"].items():
        assert job["timeout-minutes"] <= 90, name


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_make_targets_exist(file: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for step in steps(file):
        for target in re.findall(r"^make ([\w-]+)", str(step.get("run", "")), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_only_the_release_sees_a_secret() -> None:
    for file in FILES:
        assert ("secrets." in file.read_text(encoding="utf-8")) == (file.stem == "release")


def test_what_is_released_carries_a_bill_of_materials_and_its_provenance() -> None:
    (build,) = [one for one in steps(ROOT / ".github/workflows/release.yml") if "build-push" in str(one.get("uses"))]
    assert build["with"]["push"] is True
    assert build["with"]["sbom"] is True
    assert build["with"]["provenance"] == "mode=max"


def test_every_supported_python_is_tested() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    supported = re.findall(r"Python :: (3\.\d+)", project)
    assert read(ROOT / ".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]["python"] == supported


def test_locks_are_renewed_by_the_clock_and_proposed() -> None:
    locks = ROOT / ".github/workflows/locks.yml"
    assert read(locks)[True]["schedule"]
    scripts = [str(step.get("run", "")) for step in steps(locks)]
    assert "make lock UPGRADE=1" in scripts
    assert "gh pr create" in scripts[-1]
