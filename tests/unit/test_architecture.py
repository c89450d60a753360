"""The house's rules, held by reading the source."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONGEST_MODULE = 340
LONG_FOR_A_REASON = {"worker/settings.py"}  # every environment variable, in one class

LAYERS = [
    {"settings", "env_fields", "redaction", "errors", "lifecycle", "suggestions", "files", "aio", "clock"},
    {"contract", "telemetry", "net"},
    {"models", "webui", "images", "delivery", "safety"},
    {"stages", "recovery"},
    {"service", "serving"},
]
"""From the ground up; a part may import from its own layer and those below."""

ONLY_THERE = {
    "runpod": {"worker/runpod_adapter.py"},
    "boto3": {"worker/delivery/s3.py", "worker/models/s3.py"},
    "botocore": {"worker/delivery/s3.py", "worker/models/s3.py"},
}


def modules() -> list[Path]:
    return sorted([*(ROOT / "worker").rglob("*.py"), ROOT / "handler.py"])


def programs() -> list[Path]:
    """The worker's modules, and those of the programs beside it."""
    return sorted([*modules(), *(ROOT / "standin").rglob("*.py"), *(ROOT / "tools").rglob("*.py")])


@cache
def imports(path: Path) -> set[str]:
    """Every module that `path` imports, also late ones and those for types only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part(name: str) -> str:
    return name.split(".")[1] if name.startswith("worker.") else ""


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    own = name.split("/")[1].removesuffix(".py") if name.startswith("worker/") else ""
    height = next((level for level, layer in enumerate(LAYERS) if own in layer), len(LAYERS))
    above = set().union(*LAYERS[height + 1 :])
    assert not {other for other in imports(path) if part(other) in above}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_foreign_libraries_are_known_in_one_place(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    for library, places in ONLY_THERE.items():
        if name not in places:
            assert not {other for other in imports(path) if other.split(".")[0] == library}


def test_the_stand_in_and_the_worker_share_nothing_but_http() -> None:
    for path in programs():
        foreign = {"worker", "tools"} if path.is_relative_to(ROOT / "standin") else {"standin"}
        assert not {other for other in imports(path) if other.split(".")[0] in foreign}, path


def test_the_worker_needs_no_tool_that_writes_the_docs() -> None:
    for path in modules():
        assert not {other for other in imports(path) if other.split(".")[0] == "tools"}, path


def test_nobody_imports_the_service_but_those_who_serve() -> None:
    allowed = {"handler.py", "worker/host.py", "worker/runpod_adapter.py", "worker/service.py"}
    for path in modules():
        name = path.relative_to(ROOT).as_posix()
        if name not in allowed and not name.startswith("worker/cli/"):
            assert "worker.service" not in imports(path), name


@pytest.mark.parametrize("path", programs(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_one_reason_to_change(path: Path) -> None:
    if path.relative_to(ROOT).as_posix() in LONG_FOR_A_REASON:
        return
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


def test_nothing_is_printed_outside_the_command_line() -> None:
    for path in modules():
        if path.is_relative_to(ROOT / "worker" / "cli"):
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], path
