"""Files that no want of room removes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support import safetensors as make
from tests.support.loopback_http import serve
from tests.support.model_store import fetch, ranged, store
from worker.contract.types.model_ref import ModelRef

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.models.store import ModelStore
    from worker.models.volume.model import LocalModel

SMALL = make.safetensors(make.SDXL_LORA)


@pytest.fixture
def fetched(tmp_path: Path) -> Iterator[tuple[ModelStore, list[LocalModel]]]:
    """A store that may evict, with three fetched LoRAs from the least to the most recently used."""
    with serve(lambda request: ranged(request, SMALL)) as server:
        where = store(tmp_path, server.url, MODEL_EVICT="1")
        models = [asyncio.run(fetch(where, ModelRef(url=f"{server.url}/{n}.safetensors"))) for n in range(3)]
        where.close()
    where = store(tmp_path, "http://127.0.0.1:9", MODEL_EVICT="1")
    yield where, models
    where.close()


def make_room(where: ModelStore, root: Path, size: int, keep: frozenset[str] = frozenset()) -> bool:
    return where.space.make_room(root / "loras", size, keep=keep, full=True)


def there(models: list[LocalModel]) -> list[bool]:
    return [model.path.exists() for model in models]


def test_no_more_goes_than_is_needed(fetched: tuple[ModelStore, list[LocalModel]], tmp_path: Path) -> None:
    where, models = fetched
    assert make_room(where, tmp_path, len(SMALL))
    assert there(models) == [False, True, True]
    assert make_room(where, tmp_path, len(SMALL) + 1)
    assert there(models) == [False, False, False]


def test_where_all_would_not_be_enough_nothing_goes(
    fetched: tuple[ModelStore, list[LocalModel]], tmp_path: Path
) -> None:
    where, models = fetched
    assert not make_room(where, tmp_path, 3 * len(SMALL) + 1)
    assert there(models) == [True, True, True]


def test_files_that_people_put_there_stay(fetched: tuple[ModelStore, list[LocalModel]], tmp_path: Path) -> None:
    where, models = fetched
    mine = make.write(tmp_path / "loras/by_hand.safetensors", make.SDXL_LORA)
    file = where.volume.look("lora", "by_hand.safetensors")
    assert file is not None
    where.inventory.pin(file, pinned=True)
    where.inventory.pin(file, pinned=False)  # measured and known, and still nobody knows where to fetch it from
    assert make_room(where, tmp_path, 3 * len(SMALL))
    assert not make_room(where, tmp_path, 1)
    assert mine.exists()
    assert there(models) == [False, False, False]


def test_a_link_to_a_file_elsewhere_stays(fetched: tuple[ModelStore, list[LocalModel]], tmp_path: Path) -> None:
    where, models = fetched
    elsewhere = tmp_path / "elsewhere.safetensors"
    models[0].path.rename(elsewhere)
    models[0].path.symlink_to(elsewhere)
    assert make_room(where, tmp_path, len(SMALL))
    assert there(models) == [True, False, True], "removing a link frees nothing"
    assert models[0].path.is_symlink()


def test_a_file_that_people_put_in_a_fetched_ones_place_stays(
    fetched: tuple[ModelStore, list[LocalModel]], tmp_path: Path
) -> None:
    where, models = fetched
    models[0].path.write_bytes(make.safetensors(make.SDXL_LORA, fill=b"\xdd"))
    assert make_room(where, tmp_path, len(SMALL))
    assert there(models) == [True, False, True]


def test_models_that_the_job_itself_needs_stay(fetched: tuple[ModelStore, list[LocalModel]], tmp_path: Path) -> None:
    where, models = fetched
    assert make_room(where, tmp_path, len(SMALL), keep=frozenset({models[0].key}))
    assert there(models) == [True, False, True]


def test_models_used_a_moment_ago_go_last(fetched: tuple[ModelStore, list[LocalModel]], tmp_path: Path) -> None:
    where, models = fetched
    with where.holding([models[0]]):
        pass
    assert make_room(where, tmp_path, len(SMALL))
    assert there(models) == [True, False, True]


def test_where_it_can_not_be_read_what_others_use_nothing_goes(
    fetched: tuple[ModelStore, list[LocalModel]], tmp_path: Path
) -> None:
    where, models = fetched
    uses = where.volume.store / "uses"
    if uses.exists():
        uses.rename(uses.with_name("aside"))
    uses.write_text("a volume that answers nonsense", encoding="utf-8")
    assert not make_room(where, tmp_path, len(SMALL))
    assert there(models) == [True, True, True]
    uses.unlink()
