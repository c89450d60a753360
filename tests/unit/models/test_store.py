"""How the store looks at its volume: how often, from which thread, and how closely."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import safetensors as make
from tests.support.model_store import store
from worker.contract.types.model_ref import ModelRef
from worker.errors import HashMismatch, IncompatibleModel, InvalidInput, ModelNotFound
from worker.models import admin
from worker.models.sources.model_catalog import CatalogEntry, ModelCatalog
from worker.models.volume.integrity import complaint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.models.store import ModelStore
    from worker.models.volume.model import LocalModel
    from worker.settings import ModelKind

_WATCHED: list[Any] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    for watch in _WATCHED:
        watch(event, arguments)


sys.addaudithook(_hook)


class Accesses:
    """Looks at files below a folder, by kind and by thread."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = str(root)
        self.seen: Counter[str] = Counter()
        self.threads: set[int] = set()
        real = os.stat

        def stat(path: Any, **options: Any) -> os.stat_result:
            self.note("stat", (path,))
            return real(path, **options)

        monkeypatch.setattr(os, "stat", stat)

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        path = arguments[0] if arguments else None
        if event in {"open", "os.scandir", "os.listdir", "stat"} and str(path).startswith(self.root):
            self.seen[event] += 1
            self.threads.add(threading.get_ident())


@pytest.fixture
def where(tmp_path: Path) -> Iterator[ModelStore]:
    made = store(tmp_path, "http://127.0.0.1:9")
    for name in ("a", "b"):
        make.write(tmp_path / f"loras/{name}.safetensors", make.SDXL_LORA)
    make.write(tmp_path / "checkpoints/deep/x.safetensors", make.SDXL_CHECKPOINT)
    for folder in ("loras", "checkpoints", "checkpoints/deep"):
        os.utime(tmp_path / folder, (1, 1))
    yield made
    made.close()


@pytest.fixture
def accesses(where: ModelStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Accesses]:
    made = Accesses(where.volume.root, monkeypatch)
    _WATCHED.append(made.note)
    yield made
    _WATCHED.remove(made.note)


FOLDERS = {"checkpoint": "checkpoints", "lora": "loras", "vae": "vae"}
WANTED: list[tuple[str, ModelRef, ModelKind]] = [
    ("checkpoint", ModelRef(name="x"), "checkpoint"),
    ("loras[0]", ModelRef(name="a"), "lora"),
    ("loras[1]", ModelRef(name="b"), "lora"),
]


def test_models_that_are_there_and_unchanged_are_found_without_listing_or_opening_anything(
    where: ModelStore, accesses: Accesses
) -> None:
    first = [where.find(ref, kind) for _, ref, kind in WANTED]
    assert None not in first
    accesses.seen.clear()
    assert [where.find(ref, kind) for _, ref, kind in WANTED] == first
    assert accesses.seen["open"] == accesses.seen["os.scandir"] == 0
    assert accesses.seen["stat"] <= 7 * len(WANTED)


def test_what_changes_on_the_volume_is_seen_at_once(where: ModelStore, tmp_path: Path) -> None:
    assert where.find(ModelRef(name="c"), "lora") is None
    make.write(tmp_path / "loras/c.safetensors", make.SD15_LORA)
    found = where.find(ModelRef(name="c"), "lora")
    assert found is not None
    assert found.base_model == "SD 1.5"
    make.write(tmp_path / "loras/c.safetensors", make.SDXL_LORA)
    (tmp_path / "loras/a.txt").write_text("ohwx")
    changed, a = where.find(ModelRef(name="c"), "lora"), where.find(ModelRef(name="a"), "lora")
    assert changed is not None
    assert changed.base_model == "SDXL"
    assert a is not None
    assert a.trigger_words == ("ohwx",)
    (tmp_path / "loras/c.safetensors").unlink()
    assert where.find(ModelRef(name="c"), "lora") is None


def test_the_event_loops_thread_never_touches_the_volume(where: ModelStore, accesses: Accesses) -> None:
    async def run() -> None:
        models = await where.prepare(WANTED)
        async with where.held(models):
            await where.prepare(WANTED)
        await admin.prefetch(where, [])

    asyncio.run(run())
    assert accesses.seen["stat"] > 0
    assert threading.get_ident() not in accesses.threads


def test_a_mark_written_while_its_job_was_cancelled_is_taken_back(where: ModelStore) -> None:
    async def run() -> None:
        models = await where.prepare(WANTED)
        entered = where.held(models).__aenter__()
        task = asyncio.ensure_future(entered)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    assert where.marks.held() == frozenset()


@pytest.mark.parametrize(
    ("kind", "tensors", "found"),
    [
        ("lora", make.SDXL_CHECKPOINT, "checkpoint"),
        ("lora", make.VAE, "vae"),
        ("lora", make.EMBEDDING, "embedding"),
        ("checkpoint", make.SDXL_LORA, "lora"),
        ("checkpoint", make.VAE, "vae"),
        ("vae", make.SDXL_LORA, "lora"),
        ("vae", make.SDXL_CHECKPOINT, "checkpoint"),
    ],
)
def test_a_file_of_another_kind_is_refused_wherever_it_lies(
    tmp_path: Path, kind: ModelKind, tensors: dict[str, list[int]], found: str
) -> None:
    where = store(tmp_path, "http://127.0.0.1:9")
    make.write(where.volume.path(kind, "wrong.SafeTensors"), tensors)
    with pytest.raises(IncompatibleModel, match=rf"loras\[0\]: .*wrong.* is an? {found}, not a {kind}"):
        where.find(ModelRef(name="wrong"), kind, path="loras[0]")
    assert where.listed.sound(str(where.volume.path(kind, "wrong.SafeTensors")), kind) is None
    where.close()


@pytest.mark.parametrize("kind", ["checkpoint", "vae", "lora"])
def test_a_part_of_a_diffusers_repository_is_refused_with_what_to_take(tmp_path: Path, kind: ModelKind) -> None:
    where = store(tmp_path, "http://127.0.0.1:9")
    make.write(where.volume.path(kind, "part.safetensors"), {"down_blocks.0.resnets.0.conv1.weight": [8, 4]})
    with pytest.raises(IncompatibleModel, match="one part of a diffusers repository") as caught:
        where.find(ModelRef(name="part"), kind)
    assert "single-file" in (caught.value.hint or "")
    where.close()


@pytest.mark.parametrize(
    ("kind", "place", "tensors"),
    [
        ("lora", "Lora/old.safetensors", make.SDXL_LORA),
        ("lora", "LyCORIS/sub/old.safetensors", make.SDXL_LORA),
        ("lora", "checkpoints/old.safetensors", make.SDXL_LORA),
        ("checkpoint", "Stable-diffusion/old.safetensors", make.SDXL_CHECKPOINT),
        ("checkpoint", "old.safetensors", make.SDXL_CHECKPOINT),
        ("checkpoint", "loras/old.safetensors", make.SDXL_CHECKPOINT),
        ("vae", "VAE/old.safetensors", make.VAE),
    ],
)
def test_the_one_file_of_a_name_in_another_models_folder_is_used_where_it_lies(
    tmp_path: Path, kind: ModelKind, place: str, tensors: dict[str, list[int]]
) -> None:
    make.write(tmp_path / f"{FOLDERS[kind]}/another.safetensors", tensors)  # so that this folder is the one in use
    path = make.write(tmp_path / place, tensors)
    where = store(tmp_path, "http://127.0.0.1:9")
    (found,) = asyncio.run(where.prepare([("field", ModelRef(name="old"), kind)]))
    assert found.path == where.volume.path(kind, "old.safetensors")
    assert found.path.resolve() == path
    assert not found.path.readlink().is_absolute()  # a pod mounts the volume elsewhere
    where.close()


@pytest.mark.parametrize(
    ("kind", "places", "tensors", "words"),
    [
        ("lora", ["Lora/old", "old"], make.SDXL_LORA, "Lora/old.safetensors (a lora)"),
        ("checkpoint", ["unet/old"], make.SDXL_CHECKPOINT, "lies at unet/old.safetensors (a checkpoint)"),
        ("checkpoint", ["vae/old"], make.VAE, "vae/old.safetensors (a vae)"),
        ("lora", ["embeddings/old"], make.EMBEDDING, "embeddings/old.safetensors (an embedding)"),
    ],
)
def test_a_file_that_may_not_be_meant_is_named_with_the_folder_that_was_read(
    tmp_path: Path, kind: ModelKind, places: list[str], tensors: dict[str, list[int]], words: str
) -> None:
    make.write(tmp_path / f"{FOLDERS[kind]}/another.safetensors", tensors)
    for place in places:
        make.write(tmp_path / f"{place}.safetensors", tensors)
    where = store(tmp_path, "http://127.0.0.1:9")
    with pytest.raises(ModelNotFound) as caught:
        asyncio.run(where.prepare([("field", ModelRef(name="old"), kind)]))
    folder = where.volume.folders[kind].name
    assert words in caught.value.message
    assert f"in {folder}/" in caught.value.message
    assert f"{kind.upper()}_DIR" in (caught.value.hint or "")
    assert str(tmp_path) not in caught.value.message
    where.close()


@pytest.mark.timeout(20)
def test_pipes_keep_nobody_who_looks_for_a_model(tmp_path: Path) -> None:
    model = make.write(tmp_path / "loras/x.safetensors", make.SDXL_LORA)
    for pipe in (model.with_suffix(".txt"), tmp_path / "old.safetensors"):
        os.mkfifo(pipe)
    where = store(tmp_path, "http://127.0.0.1:9")
    assert where.find(ModelRef(name="x"), "lora") is not None
    with pytest.raises(ModelNotFound, match=r"a file of that name lies at old\.safetensors$"):
        asyncio.run(where.prepare([("field", ModelRef(name="old"), "lora")]))
    where.close()


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("lora", "Lora/old.safetensors"),
        ("lora", "LyCORIS/old.safetensors"),
        ("checkpoint", "Stable-diffusion/sub/old.safetensors"),
        ("vae", "VAE/old.safetensors"),
    ],
)
def test_a_volume_with_a1111s_own_folder_names_is_read_as_it_is(tmp_path: Path, kind: ModelKind, place: str) -> None:
    tensors = {"lora": make.SDXL_LORA, "checkpoint": make.SDXL_CHECKPOINT, "vae": make.VAE}[kind]
    path = make.write(tmp_path / place, tensors)
    (tmp_path / FOLDERS[kind]).mkdir()  # as an earlier start has left it
    where = store(tmp_path, "http://127.0.0.1:9")
    found = where.find(ModelRef(name="old"), kind)
    where.close()
    assert found is not None
    assert found.path == path


def test_of_two_folders_with_a1111s_names_each_file_is_found(tmp_path: Path) -> None:
    make.write(tmp_path / "Lora/old.safetensors", make.SDXL_LORA)
    make.write(tmp_path / "LyCORIS/new.safetensors", make.SDXL_LORA)
    where = store(tmp_path, "http://127.0.0.1:9")
    for name in ("old", "new"):
        (found,) = asyncio.run(where.prepare([("loras[0]", ModelRef(name=name), "lora")]))
        assert found.path == where.volume.path("lora", f"{name}.safetensors")
    where.close()


def test_a_title_of_the_webui_is_a_name_and_a_hash(tmp_path: Path) -> None:
    path = make.write(tmp_path / "checkpoints/mine.safetensors", make.SDXL_CHECKPOINT)
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:10]
    where = store(tmp_path, "http://127.0.0.1:9")

    def prepare(title: str) -> list[LocalModel]:
        return asyncio.run(where.prepare([("checkpoint", ModelRef(name=title), "checkpoint")]))

    assert prepare(f"mine.safetensors [{digits}]")[0].path == path
    with pytest.raises(HashMismatch, match="not abcdef1234"):
        prepare("mine.safetensors [abcdef1234]")
    with pytest.raises(ModelNotFound, match="did you mean 'mine'"):
        prepare("mne.safetensors [abcdef1234]")
    where.close()


def test_zero_is_no_number_of_a_version(tmp_path: Path) -> None:
    where = store(tmp_path, "http://127.0.0.1:9")
    assert where.resolve(ModelRef(name="0"), "checkpoint").locators == ()
    with pytest.raises(InvalidInput, match="begin with 1"):
        where.resolve(ModelRef(name="civitai:0"), "checkpoint")
    where.close()


def _catalog() -> ModelCatalog:
    entry = CatalogEntry(
        name="Detail Tweaker XL", aliases=("Detail Tweaker",), kind="lora", base_model="SDXL", sources=("civitai:5",),
        default_scale=1.5,
    )  # fmt: skip
    return ModelCatalog((entry,))


@pytest.mark.parametrize("name", ["detail_tweaker", "detail_tweaker.safetensors"])
def test_a_files_own_header_outranks_a_catalog_entry_that_only_shares_its_name(tmp_path: Path, name: str) -> None:
    make.write(tmp_path / "loras/detail_tweaker.safetensors", make.SD15_LORA)
    where = store(tmp_path, "http://127.0.0.1:9", catalog=_catalog())
    found = where.find(ModelRef(name=name), "lora")
    where.close()
    assert found is not None
    assert (found.base_model, found.default_scale, found.title) == ("SD 1.5", None, "detail_tweaker")


def test_a_catalog_name_never_means_a_file_of_another_architecture(tmp_path: Path) -> None:
    make.write(tmp_path / "loras/detail_tweaker.safetensors", make.SD15_LORA)
    where = store(tmp_path, "http://127.0.0.1:9", catalog=_catalog())
    resolution = where.resolve(ModelRef(name="Detail Tweaker XL"), "lora")
    loosely = where.resolve(ModelRef(name="Detail Tweaker"), "lora")
    where.close()
    for each in (resolution, loosely):
        assert each.file is None
        assert [locator.key for locator in each.locators] == ["civitai:5"]


def test_a_file_of_the_catalogs_architecture_under_its_alias_is_the_catalogs(tmp_path: Path) -> None:
    make.write(tmp_path / "loras/detail_tweaker.safetensors", make.SDXL_LORA)
    where = store(tmp_path, "http://127.0.0.1:9", catalog=_catalog())
    found = where.find(ModelRef(name="detail_tweaker"), "lora")
    where.close()
    assert found is not None
    assert (found.base_model, found.default_scale) == ("SDXL", 1.5)


@pytest.mark.parametrize("ending", [".safetensors", ".SAFETENSORS", ".ckpt", ".PT", ".pth", ".bin"])
def test_verifying_looks_into_files_of_every_ending_in_any_case(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"page{ending}"
    path.write_bytes(b"<!DOCTYPE html><html><body>Please sign in</body></html>")
    assert "HTML" in (complaint(path, sha256=None) or "")


@pytest.mark.parametrize("ending", [".ckpt", ".pt"])
def test_a_pickle_that_begins_like_one_passes(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"fine{ending}"
    path.write_bytes(b"PK\x03\x04" + b"x" * 100)
    assert complaint(path, sha256=None) is None
