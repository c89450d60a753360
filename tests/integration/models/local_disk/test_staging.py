"""Local copies of checkpoints: what the WebUI's view leads to, whatever happens to files, room and workers."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from worker.models.local_disk.copies import Staging
from worker.models.local_disk.view import CheckpointView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZE = 3_000_000
LONG = 20.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint folder: two models, one of them in a sub-folder with a file beside it, and what must stay hidden."""
    folder = tmp_path / "volume/checkpoints"
    for name in ("one.safetensors", "sub/two.safetensors", ".incoming/half.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() * (SIZE // len(name)))
    (folder / "sub/two.yaml").write_text("model: x\n")
    return folder


@contextmanager
def staging(
    folder: Path, root: Path, *, floor: int = 0, free: Callable[[Path], int] = lambda _: 10 * SIZE
) -> Iterator[Staging]:
    made = Staging(folder, root, floor=floor, free=free)
    try:
        yield made
    finally:
        made.close()


def copied(made: Staging, path: Path) -> None:
    made.use(path)
    assert made.settle(LONG)


def names(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*") if not path.is_dir()}


def test_the_view_has_every_file_of_the_folder_and_none_that_is_hidden(folder: Path, tmp_path: Path) -> None:
    with staging(folder, tmp_path / "disk") as made:
        assert names(made.view.place) == {"one.safetensors", "sub/two.safetensors", "sub/two.yaml"}
        shown = made.view.shown(folder / "sub/two.safetensors")
        assert shown.readlink() == folder / "sub/two.safetensors"
        assert made.true(str(shown)) == str(folder / "sub/two.safetensors")
        assert made.true("/elsewhere/x.safetensors") == "/elsewhere/x.safetensors"


def test_the_longest_name_is_shown_too(folder: Path, tmp_path: Path) -> None:
    name = f"{'x' * 243}.safetensors"
    (folder / name).write_bytes(b"x")
    view = CheckpointView(folder, tmp_path / "view")
    view.update(view.files(), {})
    assert (tmp_path / "view" / name).read_bytes() == b"x"


def test_a_checkpoint_that_is_used_gets_a_copy_under_the_same_name(folder: Path, tmp_path: Path) -> None:
    with staging(folder, tmp_path / "disk") as made:
        copied(made, folder / "sub/two.safetensors")
        shown = made.view.shown(folder / "sub/two.safetensors")
        assert shown.resolve().is_relative_to(tmp_path / "disk")
        assert shown.read_bytes() == (folder / "sub/two.safetensors").read_bytes()
        assert made.view.shown(folder / "one.safetensors").resolve() == folder / "one.safetensors"
        assert names(made.view.place) == {"one.safetensors", "sub/two.safetensors", "sub/two.yaml"}


def test_a_file_that_was_replaced_or_removed_has_no_copy_any_more(folder: Path, tmp_path: Path) -> None:
    with staging(folder, tmp_path / "disk") as made:
        for name in ("one.safetensors", "sub/two.safetensors"):
            copied(made, folder / name)
        (folder / "one.safetensors").write_bytes(b"anew")
        (folder / "sub/two.safetensors").unlink()
        (folder / "three.safetensors").write_bytes(b"three")
        made.sync()
        assert made.staged() == []
        assert made.view.shown(folder / "one.safetensors").read_bytes() == b"anew"
        assert names(made.view.place) == {"one.safetensors", "three.safetensors", "sub/two.yaml"}
        copied(made, folder / "one.safetensors")
        assert made.view.shown(folder / "one.safetensors").read_bytes() == b"anew"
        assert made.staged() == ["one.safetensors"]


def test_a_replaced_file_is_noticed_at_its_next_use(folder: Path, tmp_path: Path) -> None:
    with staging(folder, tmp_path / "disk") as made:
        copied(made, folder / "one.safetensors")
        (folder / "one.safetensors").write_bytes(b"anew")
        copied(made, folder / "one.safetensors")
        assert made.view.shown(folder / "one.safetensors").read_bytes() == b"anew"


def test_where_there_is_no_room_the_true_file_does(folder: Path, tmp_path: Path) -> None:
    with staging(folder, tmp_path / "disk", floor=1000, free=lambda _: SIZE // 2) as made:
        copied(made, folder / "one.safetensors")
        assert made.staged() == []
        assert made.view.shown(folder / "one.safetensors").resolve() == folder / "one.safetensors"


def test_the_least_recently_used_copy_makes_room(folder: Path, tmp_path: Path) -> None:
    (folder / "three.safetensors").write_bytes(b"3" * SIZE)
    root = tmp_path / "disk"

    def free(_: Path) -> int:
        used = sum(path.stat().st_size for path in root.rglob("copies/*"))
        return 2 * SIZE + 1000 - used

    with staging(folder, root, floor=500, free=free) as made:
        for name in ("one", "sub/two", "one", "three"):
            copied(made, folder / f"{name}.safetensors")
        assert made.staged() == ["one.safetensors", "three.safetensors"]
        assert made.view.shown(folder / "sub/two.safetensors").resolve() == folder / "sub/two.safetensors"


def test_a_full_disk_mid_way_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from worker.models.local_disk.copies import Staging\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "folder, root = map(Path, sys.argv[1:])\n"
        "made = Staging(folder, root, floor=0)\n"
        "made.use(folder / 'one.safetensors'); assert made.settle(20)\n"
        "assert made.staged() == [], made.staged()\n"
        "assert made.view.shown(folder / 'one.safetensors').resolve() == (folder / 'one.safetensors').resolve()\n"
        "assert not list(root.rglob('*.part'))\n"
    )
    subprocess.run([sys.executable, "-c", code, folder, tmp_path / "disk"], check=True)


def test_a_copy_that_is_doubted_is_dropped(folder: Path, tmp_path: Path) -> None:
    with staging(folder, tmp_path / "disk") as made:
        copied(made, folder / "one.safetensors")
        made.doubt(folder / "one.safetensors")
        assert made.view.shown(folder / "one.safetensors").resolve() == folder / "one.safetensors"
        assert not list((tmp_path / "disk").rglob("copies/*"))


def test_the_copies_of_a_dead_worker_are_taken_over_and_the_rest_of_it_is_removed(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "disk"
    with staging(folder, root) as first:
        for name in ("one.safetensors", "sub/two.safetensors"):
            copied(first, folder / name)
        inode = first.view.shown(folder / "one.safetensors").stat().st_ino
    (folder / "sub/two.safetensors").write_bytes(b"other")
    with staging(folder, root) as second:
        assert second.staged() == ["one.safetensors"]
        assert second.view.shown(folder / "one.safetensors").stat().st_ino == inode
        assert second.view.shown(folder / "sub/two.safetensors").read_bytes() == b"other"
        assert [path.name for path in root.glob("worker-*")] == [second.view.place.parent.name]
        assert len(list(root.rglob("copies/*"))) == 1


def test_a_living_worker_keeps_its_copies(folder: Path, tmp_path: Path) -> None:
    with staging(folder, tmp_path / "disk") as first, staging(folder, tmp_path / "disk") as second:
        copied(first, folder / "one.safetensors")
        copied(second, folder / "one.safetensors")
        with staging(folder, tmp_path / "disk"):
            assert first.view.shown(folder / "one.safetensors").read_bytes()
            assert second.view.shown(folder / "one.safetensors").read_bytes()


def test_a_folder_that_can_not_be_read_for_a_moment_changes_nothing(folder: Path, tmp_path: Path) -> None:
    with staging(folder, tmp_path / "disk") as made:
        copied(made, folder / "one.safetensors")
        away = folder.rename(folder.with_name("away"))
        made.sync()
        assert made.staged() == ["one.safetensors"]
        away.rename(folder)
        assert names(made.view.place) == {"one.safetensors", "sub/two.safetensors", "sub/two.yaml"}


def test_a_root_that_can_not_be_written_is_an_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="exists"):
        Staging(folder, tmp_path / "file", floor=0)
