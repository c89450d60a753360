"""What is removed to make room, and what never is."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.model_store import store
from worker.models.volume.eviction import STALE_PARTIAL_S, Evictor
from worker.models.volume.in_use import UsageMarkers
from worker.models.volume.leases import this_process
from worker.models.volume.registry import Entry
from worker.settings import LISTED_AT_START

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.models.store import ModelStore
    from worker.settings import ModelKind

SIZE = 1000


@pytest.fixture
def where(tmp_path: Path) -> Iterator[ModelStore]:
    made = store(tmp_path, "http://127.0.0.1:9")
    yield made
    made.close()


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    with TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


def placed(
    where: ModelStore, name: str, *, kind: ModelKind = "lora", source: str | None = "civitai:1", **more: Any
) -> Path:
    path = where.volume.path(kind, f"{name}.safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * SIZE)
    facts: dict[str, Any] = {"sha256": "ab" * 32, "changed": path.stat().st_mtime_ns, "last_used": 1.0, **more}
    where.inventory.record(Entry(kind, path.name, SIZE, source=source, **facts))
    return path


def room(where: ModelStore, size: int, *, free: int = 0, keep: frozenset[str] = frozenset(), wall: float = 0.0) -> bool:
    evictor = Evictor(where.inventory, where.marks, floor=0, evict=True, free=lambda _: free, wall=lambda: wall)
    folder = where.volume.folders["lora"]
    folder.mkdir(parents=True, exist_ok=True)
    return evictor.make_room(folder, size, keep=keep)


def test_the_least_recently_used_go_and_no_more_than_is_needed(where: ModelStore) -> None:
    old, new = placed(where, "old", last_used=1.0), placed(where, "new", source="civitai:2", last_used=2.0)
    assert room(where, SIZE)
    assert (old.exists(), new.exists()) == (False, True)
    assert set(where.inventory.entries()) == {"lora/new.safetensors"}


def test_nothing_goes_where_all_of_it_would_not_be_enough(where: ModelStore) -> None:
    path = placed(where, "one")
    assert not room(where, SIZE + 1)
    assert path.exists()


def test_a_measured_file_that_people_put_there_stays(where: ModelStore) -> None:
    path = placed(where, "own", source=None)
    assert not room(where, SIZE)
    assert path.exists()


def test_a_pinned_file_stays(where: ModelStore) -> None:
    path = placed(where, "pinned", pinned=True)
    assert not room(where, SIZE)
    assert path.exists()


@pytest.mark.parametrize("kind", sorted(LISTED_AT_START))
def test_a_file_that_the_webui_lists_once_when_it_starts_stays(where: ModelStore, kind: ModelKind) -> None:
    path = placed(where, "listed", kind=kind)
    assert not room(where, SIZE)
    assert path.exists()


def test_a_file_that_people_replaced_stays(where: ModelStore) -> None:
    path = placed(where, "mine")
    path.write_bytes(b"y" * SIZE)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**10))
    assert not room(where, SIZE)
    assert path.exists()


def test_a_file_of_another_size_than_was_fetched_stays_and_hinders_no_other(where: ModelStore) -> None:
    replaced, fetched = placed(where, "mine"), placed(where, "other")
    replaced.write_bytes(b"y" * (SIZE + 1))
    assert not room(where, 2 * SIZE)
    assert room(where, SIZE)
    assert replaced.exists()
    assert not fetched.exists()


def test_a_link_and_what_it_leads_to_stay(where: ModelStore, tmp_path: Path) -> None:
    path = placed(where, "linked")
    target = path.rename(tmp_path / "elsewhere.safetensors")
    path.symlink_to(target)
    assert not room(where, SIZE)
    assert path.is_symlink()
    assert target.exists()


def test_a_file_on_another_disk_stays(tmp_path: Path, other_disk: Path) -> None:
    where = store(tmp_path, "http://127.0.0.1:9", CHECKPOINT_DIR=str(other_disk))
    path = placed(where, "far", kind="checkpoint")
    assert not room(where, SIZE)
    assert path.exists()
    where.close()


def test_room_on_another_disk_does_not_count(tmp_path: Path, other_disk: Path) -> None:
    where = store(tmp_path, "http://127.0.0.1:9", CHECKPOINT_DIR=str(other_disk))
    left = [where.volume.incoming("checkpoint") / "x.part", where.volume.quarantine("checkpoint") / "1-x.corrupt"]
    for path in left:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * 100_000)
        os.utime(path, (1, 1))
    near = placed(where, "near")
    assert room(where, SIZE, wall=STALE_PARTIAL_S + 10)
    assert not near.exists()  # what lies on the other disk would not have helped
    assert all(path.exists() for path in left)
    where.close()


@pytest.mark.parametrize("where_left", ["incoming", "quarantine"])
def test_leftovers_of_the_same_disk_go_before_any_model(where: ModelStore, where_left: str) -> None:
    name = {"incoming": "x.part", "quarantine": "1-x.corrupt"}[where_left]
    left = getattr(where.volume, where_left)("vae") / name
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x" * 100_000)
    os.utime(left, (1, 1))
    path = placed(where, "one")
    assert room(where, SIZE, wall=STALE_PARTIAL_S + 10)
    assert path.exists()
    assert not left.exists()


def test_what_people_set_aside_in_the_quarantine_stays(where: ModelStore) -> None:
    own = where.volume.quarantine("lora") / "1-mine.safetensors.set-aside"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"x" * 100_000)
    assert not room(where, SIZE)
    assert own.exists()


def test_what_another_worker_uses_stays(where: ModelStore) -> None:
    path = placed(where, "busy")
    other = UsageMarkers(where.volume.store / "uses", this_process())
    other.hold(["lora/busy.safetensors"])
    assert not room(where, SIZE)
    assert path.exists()
    other.close()
    assert room(where, SIZE)
    assert not path.exists()


def test_nothing_goes_while_nobody_can_tell_what_others_use(where: ModelStore) -> None:
    path = placed(where, "one")
    uses = where.volume.store / "uses"
    uses.parent.mkdir(parents=True, exist_ok=True)
    uses.write_text("a file where a folder has to be: it can't be read, for root too")
    assert not room(where, SIZE)
    assert path.exists()


def test_what_this_worker_holds_or_must_keep_stays(where: ModelStore) -> None:
    held, kept = placed(where, "held"), placed(where, "kept", source="civitai:2")
    where.marks.hold(["lora/held.safetensors"])
    assert not room(where, SIZE, keep=frozenset({"lora/kept.safetensors"}))
    assert held.exists()
    assert kept.exists()


def test_what_was_used_a_moment_ago_goes_only_when_nothing_else_will_do(where: ModelStore) -> None:
    just_now = placed(where, "just-now", last_used=1.0)
    later = placed(where, "later", source="civitai:2", last_used=2.0)
    where.marks.hold(["lora/just-now.safetensors"])
    where.marks.release(["lora/just-now.safetensors"])
    assert room(where, SIZE)
    assert (just_now.exists(), later.exists()) == (True, False)
    assert room(where, SIZE)
    assert not just_now.exists()


def test_free_room_counts(where: ModelStore) -> None:
    path = placed(where, "one")
    assert room(where, SIZE, free=SIZE)
    assert path.exists()
