"""A volume that was there and is not any more, told apart from a model that nobody has."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from worker.errors import VolumeUnavailable
from worker.models.volume.availability import Availability, is_broken
from worker.models.volume.layout import Volume
from worker.settings import read_settings

if TYPE_CHECKING:
    from pathlib import Path


def there(root: Path) -> Availability:
    (root / "loras").mkdir(parents=True)
    availability = Availability(Volume.of(read_settings({"MODELS_DIR": str(root)})))
    availability.note()
    return availability


def test_a_folder_that_is_there_is_not_lost(tmp_path: Path) -> None:
    assert there(tmp_path).lost("lora") is None


def test_a_folder_that_never_was_is_not_lost(tmp_path: Path) -> None:
    assert there(tmp_path).lost("vae") is None


def test_a_folder_that_came_later_is_remembered_once_it_was_used(tmp_path: Path) -> None:
    availability = there(tmp_path)
    (tmp_path / "vae").mkdir()
    availability.note_kind("vae")
    (tmp_path / "vae").rmdir()
    assert availability.lost("vae") == "it is gone"


def test_a_folder_that_went_is_lost_and_comes_back(tmp_path: Path) -> None:
    availability = there(tmp_path)
    (tmp_path / "loras").rename(tmp_path / "away")
    with pytest.raises(VolumeUnavailable, match=r"loras\[0\]: the lora folder of the volume can't be read: it is gone"):
        availability.require("lora", path="loras[0]")
    (tmp_path / "away").rename(tmp_path / "loras")
    availability.require("lora")


def test_every_folder_is_lost_with_the_root(tmp_path: Path) -> None:
    availability = there(tmp_path / "models")
    (tmp_path / "models").rename(tmp_path / "away")
    assert availability.lost("vae") is not None
    assert availability.root_lost() is not None


def test_a_folder_that_is_no_folder_any_more_is_lost(tmp_path: Path) -> None:
    availability = there(tmp_path)
    (tmp_path / "loras").rmdir()
    (tmp_path / "loras").write_text("")
    assert availability.lost("lora") == "Not a directory"


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT])
def test_errors_of_a_file_system_that_is_gone_are_known(number: int) -> None:
    assert is_broken(OSError(number, "gone"))


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_errors_of_one_file_are_not_taken_for_it(number: int) -> None:
    assert not is_broken(OSError(number, "no"))
