"""The rules of the structure, held by reading the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONGEST_MODULE = 400

LAYERS = [
    {"settings", "errors", "lifecycle", "common", "ingress"},
    {"contract", "telemetry", "net", "gpu_queue"},
    {"images", "storage"},
    {"delivery", "judges"},
    {"models", "webui"},
    {"recovery"},
    {"jobs"},
    {"serving"},
    {"service", "client", "bridge", "plan", "doctor"},
    {"default_checkpoint", "app", "assembly", "runpod_adapter", "gallery"},
    {"cli", "__main__"},
]
"""From the ground up; a part may import from its own layer and those below, types included."""
LARGEST_FOLDER = 12

ONLY_THERE = {
    "runpod": {"worker/runpod_adapter.py"},
    "boto3": {"worker/storage/s3.py", "worker/gallery/store/bucket.py"},
    "botocore": {"worker/storage/s3.py", "worker/gallery/store/bucket.py"},
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


def layer(name: str) -> int:
    """The height of a part of the worker; of the entry point, the top."""
    return next((level for level, parts in enumerate(LAYERS) if name in parts), len(LAYERS))


def own_part(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    return name.split("/")[1].removesuffix(".py") if name.startswith("worker/") else ""


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """The sets of nodes that lead to each other."""
    graph = {node: {other for other in others if other != node} for node, others in arrows.items()}

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        pending = [start]
        while pending:
            for other in graph.get(pending.pop(), set()) - found:
                found.add(other)
                pending.append(other)
        return found

    far = {node: reached(node) for node in graph}
    rings = {frozenset({other for other in far[node] if node in far[other]}) for node in graph if node in far[node]}
    return sorted((set(ring) for ring in rings), key=sorted)


def test_every_part_of_the_worker_has_a_layer() -> None:
    parts = {own_part(path) for path in modules()} - {"", "__init__"}
    assert parts - set().union(*LAYERS) == set()


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    own = own_part(path)
    above = set().union(*LAYERS[layer(own) + 1 :])
    assert not {other for other in imports(path) if part(other) in above}


def test_no_two_packages_import_each_other_not_even_for_types() -> None:
    arrows: dict[str, set[str]] = {}
    for path in modules():
        arrows.setdefault(own_part(path), set()).update(part(other) for other in imports(path) if part(other))
    assert circles(arrows) == []


def test_recovery_knows_nothing_of_jobs() -> None:
    for path in (ROOT / "worker" / "recovery").glob("*.py"):
        assert not {other for other in imports(path) if part(other) in ("jobs", "service")}, path


def test_a_folder_holds_at_most_a_dozen_modules() -> None:
    folders: dict[str, int] = {}
    for path in programs():
        if path.parent != ROOT and path.name != "__init__.py":
            name = path.parent.relative_to(ROOT).as_posix()
            folders[name] = folders.get(name, 0) + 1
    too_large = {name: count for name, count in folders.items() if count > LARGEST_FOLDER}
    assert too_large == {}


def test_no_name_means_two_things() -> None:
    classes: dict[str, set[str]] = {}
    names: dict[str, set[str]] = {}
    for path in modules():
        where = path.relative_to(ROOT).as_posix()
        if path.stem not in ("__init__", "__main__"):
            names.setdefault(path.stem, set()).add(where)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, set()).add(where)
    assert {name for name, places in classes.items() if len(places) > 1} == set()
    assert {name for name, places in names.items() if len(places) > 1} == set()


IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
import worker
seen = []
def hook(event, arguments):
    if event not in ("open", "os.mkdir", "os.listdir", "os.scandir", "os.remove", "subprocess.Popen") \
            and not event.startswith("socket.") or event == "socket.__new__":
        return
    frame = sys._getframe(1)
    while frame is not None and "importlib" not in frame.f_code.co_filename:
        if "/worker/" in frame.f_code.co_filename:
            seen.append(f"{event} {arguments[:1]} by {frame.f_code.co_filename}:{frame.f_lineno}")
            return
        frame = frame.f_back
names = [found.name for found in pkgutil.walk_packages(worker.__path__, "worker.")]
sys.addaudithook(hook)
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print("\\n".join(["imported", *seen]))
"""


def test_nothing_is_read_written_or_asked_for_at_import() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout.splitlines() == ["imported"], done.stderr


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
    allowed = {"handler.py", "worker/assembly.py", "worker/runpod_adapter.py", "worker/service.py"}
    for path in modules():
        name = path.relative_to(ROOT).as_posix()
        if name not in allowed and not name.startswith("worker/cli/"):
            assert "worker.service" not in imports(path), name


@pytest.mark.parametrize("path", programs(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_one_reason_to_change(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


def test_nothing_is_printed_outside_the_command_line() -> None:
    for path in modules():
        if path.is_relative_to(ROOT / "worker" / "cli"):
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], path
