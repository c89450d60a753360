"""The folder of links that the WebUI is given as its checkpoint folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.models.local_disk.view import CheckpointView

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def view(tmp_path: Path) -> CheckpointView:
    for name in ("a.safetensors", "a.yaml", "sub/deep/b.ckpt", ".hidden", "sub/.c.safetensors"):
        path = tmp_path / "true" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return CheckpointView(tmp_path / "true", tmp_path / "view")


def shown(view: CheckpointView) -> dict[str, str]:
    """Return what each link of the view leads to, by its place in it."""
    return {
        str(path.relative_to(view.place)): str(path.readlink()) for path in view.place.rglob("*") if path.is_symlink()
    }


def test_every_file_that_is_not_hidden_is_a_link_of_the_same_place(view: CheckpointView) -> None:
    files = view.files()
    assert sorted(files) == ["a.safetensors", "a.yaml", "sub/deep/b.ckpt"]
    view.update(files, {})
    assert shown(view) == {name: str(view.folder / name) for name in files}
    assert view.shown(view.folder / "sub/deep/b.ckpt") == view.place / "sub/deep/b.ckpt"
    assert view.true(str(view.place / "a.yaml")) == str(view.folder / "a.yaml")
    assert view.true("/elsewhere/a.yaml") == "/elsewhere/a.yaml"


def test_a_view_that_is_there_already_is_taken_over(view: CheckpointView, tmp_path: Path) -> None:
    view.update(view.files(), {})
    CheckpointView(view.folder, view.place).update({"a.yaml": tmp_path / "other"}, {})
    assert shown(view) == {"a.yaml": str(tmp_path / "other")}


def test_links_follow_the_files_and_their_copies(view: CheckpointView, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    view.update(view.files(), {"a.safetensors": copy})
    assert shown(view)["a.safetensors"] == str(copy)
    (view.folder / "a.yaml").unlink()
    (view.folder / "new.safetensors").write_text("new")
    view.update(view.files(), {})
    assert shown(view) == {
        name: str(view.folder / name) for name in ("a.safetensors", "new.safetensors", "sub/deep/b.ckpt")
    }


def test_a_link_is_turned_where_it_is_and_left_alone_where_it_leads_right(view: CheckpointView, tmp_path: Path) -> None:
    view.link("sub/x.safetensors", tmp_path / "one")
    before = (view.place / "sub/x.safetensors").lstat()
    view.link("sub/x.safetensors", tmp_path / "one")
    assert (view.place / "sub/x.safetensors").lstat().st_ino == before.st_ino
    view.link("sub/x.safetensors", tmp_path / "two")
    assert shown(view) == {"sub/x.safetensors": str(tmp_path / "two")}
    assert [path.name for path in (view.place / "sub").iterdir()] == ["x.safetensors"], "no temporary link is left"


def test_what_a_failed_attempt_left_half_done_is_in_nobodys_way(view: CheckpointView, tmp_path: Path) -> None:
    (view.place / "x.safetensors").mkdir()
    with pytest.raises(OSError, match=r"x\.safetensors"):
        view.link("x.safetensors", tmp_path / "one")
    (view.place / "x.safetensors").rmdir()
    view.link("x.safetensors", tmp_path / "two")
    assert shown(view) == {"x.safetensors": str(tmp_path / "two")}


def test_a_folder_that_is_gone_is_an_error_and_changes_no_link(view: CheckpointView) -> None:
    view.update(view.files(), {})
    before = shown(view)
    view.folder.rename(view.folder.with_name("away"))
    with pytest.raises(OSError, match="true"):
        view.files()
    assert shown(view) == before
