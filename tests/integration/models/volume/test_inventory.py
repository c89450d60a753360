from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
from pathlib import Path

import orjson
import pytest

from tests.support import safetensors as make
from worker.contract.types.model_ref import ModelRef
from worker.errors import InvalidInput, ModelDamaged
from worker.models.sources.model_catalog import CATALOG_PATH
from worker.models.store import ModelStore
from worker.models.volume.in_use import UsageMarkers
from worker.models.volume.inventory import Inventory, registry_path
from worker.models.volume.layout import Volume
from worker.models.volume.leases import this_process
from worker.models.volume.registry import Entry
from worker.settings import Settings, read_settings


def _settings(root: Path) -> Settings:
    return read_settings({"MODELS_DIR": str(root)})


def _inventory(root: Path, now: float = 2e9) -> Inventory:
    return Inventory(Volume.of(_settings(root)), now=lambda: now)


def test_a_model_is_found_with_what_is_known_of_it(tmp_path: Path) -> None:
    make.write(tmp_path / "loras/Detail_Tweaker_XL.safetensors", make.SDXL_LORA)
    (tmp_path / "loras/Detail_Tweaker_XL.txt").write_text("more detail, sharp")
    model = ModelStore(_settings(tmp_path)).find(ModelRef(name="detail tweaker xl"), "lora")
    assert model is not None
    assert model.name == "Detail_Tweaker_XL"
    assert model.path == (tmp_path / "loras/Detail_Tweaker_XL.safetensors").absolute()
    assert (model.base_model, model.default_scale, model.trigger_words) == ("SDXL", 1.5, ("more detail", "sharp"))
    assert not model.fetched


def test_a_name_that_leaves_the_folder_is_an_error_at_its_field(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"loras\[0\].*inside the model folder"):
        ModelStore(_settings(tmp_path)).find(ModelRef(name="../../etc/passwd"), "lora", path="loras[0]")


def test_an_unknown_name_is_refused_with_what_was_meant(tmp_path: Path) -> None:
    store = ModelStore(_settings(tmp_path))
    ref = ModelRef(name="Detial Tweaker")
    error = store.not_found(store.resolve(ref, "lora"), ref, path="loras[0]")
    assert "loras[0]" in error.message
    assert error.details["suggestions"][0] == "Detail Tweaker"
    ref = ModelRef(name="Deliberate v6")
    assert "known as a checkpoint" in store.not_found(store.resolve(ref, "lora"), ref).message


def test_a_hit_writes_nothing_and_uses_are_merged_in_one_batch(tmp_path: Path) -> None:
    make.write(tmp_path / "loras/x.safetensors", make.SDXL_LORA)
    inventory = _inventory(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for _ in range(5):
        inventory.use("lora/x.safetensors")
    assert sorted(tmp_path.rglob("*")) == before
    inventory.flush()
    entry = _inventory(tmp_path).entries()["lora/x.safetensors"]
    assert (entry.uses, entry.last_used, entry.base_model) == (5, 2e9, "SDXL")


def test_uses_are_flushed_about_once_a_minute(tmp_path: Path) -> None:
    make.write(tmp_path / "loras/x.safetensors", make.SDXL_LORA)
    clock = [1000.0]
    inventory = Inventory(Volume.of(_settings(tmp_path)), now=lambda: clock[0])
    inventory.use("lora/x.safetensors")
    assert not inventory.flush_is_due()
    clock[0] += 61
    assert inventory.flush_is_due()
    inventory.flush()
    inventory.use("lora/x.safetensors")
    assert not inventory.flush_is_due()


def test_a_lost_registry_is_rebuilt_from_the_folder(tmp_path: Path) -> None:
    make.write(tmp_path / "loras/sub/x.safetensors", make.SDXL_LORA)
    make.write(tmp_path / "checkpoints/y.safetensors", make.SD15_CHECKPOINT)
    rebuilt = _inventory(tmp_path).rebuild()
    assert {key: entry.base_model for key, entry in rebuilt.items()} == {
        "lora/sub/x.safetensors": "SDXL",
        "checkpoint/y.safetensors": "SD 1.5",
    }
    assert _inventory(tmp_path).entries() == rebuilt


def test_a_broken_registry_is_kept_aside_and_rebuilt(tmp_path: Path) -> None:
    make.write(tmp_path / "loras/x.safetensors", make.SDXL_LORA)
    (tmp_path / "cache_registry.json").write_text('{"schema": "a1111-wor')
    inventory = _inventory(tmp_path)
    assert inventory.entries() == {}
    inventory.use("lora/x.safetensors")
    inventory.flush()
    assert list(_inventory(tmp_path).entries()) == ["lora/x.safetensors"]
    assert len(list(tmp_path.glob("cache_registry.json.broken-*"))) == 1


def test_a_registry_that_can_not_be_read_just_now_is_not_taken_for_a_broken_one(tmp_path: Path) -> None:
    path = tmp_path / "cache_registry.json"
    first = _inventory(tmp_path)
    first.record(Entry("lora", "x.safetensors", 5, source="civitai:1"))
    known = first.entries()
    path.rename(tmp_path / "kept")
    path.symlink_to(path)  # opening it is an error, as on a network volume now and then
    inventory = _inventory(tmp_path)
    inventory.record(Entry("lora", "y.safetensors", 5, source="civitai:2"))
    (tmp_path / "kept").replace(path)
    assert list(tmp_path.glob("*.broken-*")) == []
    assert first.entries() == known
    assert {**known, **inventory.entries()}.keys() == {"lora/x.safetensors", "lora/y.safetensors"}


def test_a_damaged_file_that_was_mended_with_its_old_time_is_whole(tmp_path: Path) -> None:
    """rsync and `cp -p` set the time of change back."""
    path = make.write(tmp_path / "loras/x.safetensors", make.SDXL_LORA)
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)))
    os.utime(path, (1e9, 1e9))
    where = ModelStore(_settings(tmp_path), hf_caches=())
    with pytest.raises(ModelDamaged):
        where.find(ModelRef(name="x"), "lora")
    path.write_bytes(whole)
    os.utime(path, (1e9, 1e9))
    assert where.find(ModelRef(name="x"), "lora") is not None
    where.close()


@pytest.mark.parametrize("case", ["empty", "folder", "link"])
def test_a_name_with_nothing_behind_it_is_told_as_that(tmp_path: Path, case: str) -> None:
    path = tmp_path / "loras/x.safetensors"
    path.parent.mkdir()
    if case == "folder":
        path.mkdir()
    elif case == "link":
        path.symlink_to("nowhere")
    else:
        path.touch()
    where = ModelStore(_settings(tmp_path), hf_caches=())
    with pytest.raises(ModelDamaged, match="leads nowhere"):
        asyncio.run(where.prepare([("loras[0]", ModelRef(name="x"), "lora")]))
    where.close()


def test_the_longest_name_can_be_set_aside(tmp_path: Path) -> None:
    name = "x" * 243
    make.write(tmp_path / f"loras/{name}.safetensors", make.SDXL_LORA)
    where = ModelStore(_settings(tmp_path), hf_caches=())
    model = where.find(ModelRef(name=name), "lora")
    assert model is not None
    assert where.quarantine.put(model, "bad") is not None
    where.close()


def test_a_file_name_that_is_not_unicode_does_no_harm(tmp_path: Path) -> None:
    make.write(tmp_path / "loras/x.safetensors", make.SDXL_LORA)
    Path(os.fsdecode(os.fsencode(tmp_path / "loras") + b"/caf\xe9.safetensors")).write_bytes(b"from another system")
    inventory = _inventory(tmp_path)
    assert list(inventory.rebuild()) == ["lora/x.safetensors"]
    assert list(_inventory(tmp_path).entries()) == ["lora/x.safetensors"]


def test_a_worker_that_was_taken_for_dead_shows_again_what_it_holds(tmp_path: Path) -> None:
    """Frozen for minutes, and its file removed by another worker."""
    frozen, other = UsageMarkers(tmp_path, this_process()), UsageMarkers(tmp_path, this_process())
    frozen.hold(["lora/x.safetensors"])
    (file,) = tmp_path.glob("*.uses")
    file.unlink()
    frozen._refresh()
    assert other.others() == {"lora/x.safetensors"}
    frozen.close()
    other.close()


def test_the_older_registry_is_read_and_replaced_by_ours(tmp_path: Path) -> None:
    path = make.write(tmp_path / "loras/My LoRA.safetensors", make.SDXL_LORA)
    facts = {"url": "https://h.example/x", "path": str(path), "file_size": path.stat().st_size, "usage_count": 2}
    (tmp_path / "cache_registry.json").write_text(json.dumps({"checkpoints": {}, "loras": {"My LoRA": facts}}))
    found = ModelStore(_settings(tmp_path)).find(ModelRef(url="https://h.example/x"), "lora")
    assert found is not None
    assert found.title == "My LoRA"
    inventory = _inventory(tmp_path)
    inventory.use("lora/My LoRA.safetensors")
    inventory.flush()
    assert orjson.loads((tmp_path / "cache_registry.json").read_bytes())["schema"] == "a1111-worker/volume/1"
    assert inventory.entries()["lora/My LoRA.safetensors"].uses == 3


def test_what_the_older_registry_does_not_say_is_read_from_the_files(tmp_path: Path) -> None:
    whole = make.write(tmp_path / "loras/whole.safetensors", make.SDXL_LORA)
    torn = tmp_path / "loras/torn.safetensors"
    torn.write_bytes(whole.read_bytes()[:-5])
    old = {
        path.stem: {"url": f"https://example.com/{path.name}", "path": str(path), "file_size": path.stat().st_size}
        for path in (whole, torn)
    }
    (tmp_path / "cache_registry.json").write_text(json.dumps({"checkpoints": {}, "loras": old}))
    store = ModelStore(_settings(tmp_path))
    found = store.find(ModelRef(name="whole"), "lora")
    assert found is not None
    assert (found.base_model, found.source) == ("SDXL", "https://example.com/whole.safetensors")
    with pytest.raises(ModelDamaged):
        store.find(ModelRef(name="torn"), "lora")


def test_a_replaced_file_is_not_believed_to_be_the_old_one(tmp_path: Path) -> None:
    path = make.write(tmp_path / "loras/x.safetensors", make.SDXL_LORA)
    inventory = _inventory(tmp_path)
    inventory.record(Entry("lora", "x.safetensors", path.stat().st_size, sha256="ab" * 32))
    make.write(path, make.SD15_LORA)
    file = inventory.volume.look("lora", "x.safetensors")
    assert file is not None
    assert (inventory.entry(file).sha256, inventory.entry(file).base_model) == (None, "SD 1.5")


def test_an_entry_lost_in_another_workers_merge_comes_back(tmp_path: Path) -> None:
    path = make.write(tmp_path / "loras/x.safetensors", make.SDXL_LORA)
    inventory = _inventory(tmp_path)
    inventory.record(Entry("lora", "x.safetensors", path.stat().st_size, source="civitai:1"))
    (tmp_path / "cache_registry.json").write_text('{"schema": "a1111-worker/volume/1", "models": {}}')
    assert inventory.entries()["lora/x.safetensors"].source == "civitai:1"
    inventory.flush()
    assert _inventory(tmp_path).entries()["lora/x.safetensors"].source == "civitai:1"


def test_a_volume_that_can_not_be_written_works_from_memory(tmp_path: Path) -> None:
    make.write(tmp_path / "loras/x.safetensors", make.SDXL_LORA)
    (tmp_path / ".store").write_text("a file where a folder has to be: every write fails, for root too")
    inventory = _inventory(tmp_path)
    inventory.use("lora/x.safetensors")
    inventory.flush()
    inventory.record(Entry("lora", "x.safetensors", 1))
    assert inventory.read_only
    assert not (tmp_path / "cache_registry.json").exists()


def test_the_registry_never_takes_the_place_of_the_catalog() -> None:
    assert registry_path(CATALOG_PATH.parent) == CATALOG_PATH.parent / ".store" / "cache_registry.json"


def _merge_many(root: str, worker: int) -> None:
    inventory = _inventory(Path(root))
    for number in range(20):
        inventory.record(Entry("lora", f"{worker}-{number}.safetensors", 1, source=f"civitai:{os.getpid()}"))


def test_merges_of_several_processes_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_merge_many, args=(str(tmp_path), number)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(_inventory(tmp_path).entries()) == 40
    assert not list(tmp_path.glob(".*.tmp"))


def test_what_is_known_of_a_listed_file_holds_while_neither_it_nor_the_registry_changes(tmp_path: Path) -> None:
    path = make.write(tmp_path / "loras/style.safetensors", make.SDXL_LORA)
    store = ModelStore(_settings(tmp_path))

    def base() -> str | None:
        model = store.listed.model(f"/elsewhere/{path.name}", "lora")
        return None if model is None else model.base_model

    assert base() == "SDXL"
    assert store.listed.model(str(path), "lora") is store.listed.model(str(path), "lora")
    store.inventory.record(Entry("lora", path.name, path.stat().st_size, base_model="SDXL (Pony)"))
    assert base() == "SDXL (Pony)"
    store.inventory.forget(f"lora/{path.name}")
    assert base() == "SDXL"
    make.write(path, make.SD15_LORA)
    assert base() == "SD 1.5"
    path.unlink()
    assert base() is None


def test_a_listed_file_that_is_not_on_the_volume_is_unknown(tmp_path: Path) -> None:
    make.write(tmp_path / "loras/style v2.safetensors", make.SDXL_LORA)
    store = ModelStore(_settings(tmp_path))
    assert store.listed.model("/elsewhere/style.safetensors", "lora") is None
    assert store.listed.model("", "lora") is None
