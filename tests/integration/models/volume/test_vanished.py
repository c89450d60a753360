"""A volume that vanishes under a running worker: no client is told that the model does not exist, nothing is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import Worker
from tests.support import models
from tests.support.disks import dead_mount, mounted
from tests.support.loopback_http import serve
from tests.support.model_store import fetch, ranged, store
from tests.support.webui_dir import running_host
from worker.contract.types.model_ref import ModelRef
from worker.errors import ModelNotFound, VolumeUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMED: dict[str, dict[str, Any]] = {
    "a checkpoint": {"checkpoint": "Other_v1"},
    "a LoRA": {"loras": ["style_two"]},
    "a LoRA's tag": {"prompt": "a cat <lora:add_detail:1>"},
    "a LoRA that the WebUI does not know": {"loras": ["put_there_yesterday"]},
    "a tag that the WebUI does not know": {"prompt": "a cat <lora:put_there_yesterday:1>"},
    "a VAE": {"vae": "tinyvae"},
    "an embedding": {"embeddings": ["goodemb"]},
    "a plotted checkpoint": {
        "script": {"name": "x/y/z plot", "args": {"X type": "Checkpoint name", "X values": "Other_v1"}}
    },
    "a refresh": {"type": "refresh"},
    "a list": {"type": "models.list"},
    "a question": {"type": "validate", "job": {"prompt": "a cat", "checkpoint": "Other_v1"}},
}


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Path]]:
    """A worker whose volume is gone, and where the volume is now."""
    folder = tmp_path_factory.mktemp("vanished")
    with running_host(folder) as host:
        (folder / "models").rename(folder / "elsewhere")
        yield Worker(host), folder


@pytest.mark.parametrize("case", NAMED)
def test_a_job_that_names_a_model_is_told_of_the_volume(lost: tuple[Worker, Path], case: str) -> None:
    worker, folder = lost
    job = NAMED[case] if "type" in NAMED[case] else {"prompt": "a cat", "steps": 2, "width": 64, "height": 64}
    answer = worker.run_job({"input": {**job, **NAMED[case]}})
    assert answer.get("error_code") == "volume_unavailable", answer
    assert (answer["fault"], answer["retryable"]) == ("platform", True)
    assert str(folder) not in answer["error"]


def test_a_job_for_the_checkpoint_that_is_loaded_still_gets_its_picture_and_all_works_when_the_volume_is_back(
    tmp_path: Path,
) -> None:
    with running_host(tmp_path) as host:
        worker, pid = Worker(host), host.backend.pid
        (tmp_path / "models").rename(tmp_path / "elsewhere")
        assert worker.run(loras=["style_two"])["error_code"] == "volume_unavailable"
        assert worker.run()["images"]
        assert not (tmp_path / "models").exists(), "nothing is put where the volume was"
        (tmp_path / "elsewhere").rename(tmp_path / "models")
        assert worker.run(loras=["style_two"])["images"]
        assert worker.run(loras=["nobody_has_it"])["error_code"] == "model_not_found"
        assert host.backend.pid == pid


def test_nothing_is_fetched_to_where_the_volume_was(tmp_path: Path) -> None:
    body = models.lora(tmp_path / "source/new.safetensors").read_bytes()
    root = tmp_path / "models"
    with serve(lambda request: ranged(request, body)) as server:
        mine = store(root, server.url)
        ref = ModelRef(url=f"{server.url}/new.safetensors")
        asyncio.run(fetch(mine, ref))
        count = len(server.seen)
        root.rename(tmp_path / "away")
        with pytest.raises(VolumeUnavailable):
            asyncio.run(fetch(mine, ModelRef(url=f"{server.url}/other.safetensors")))
        with pytest.raises(VolumeUnavailable):
            asyncio.run(fetch(mine, ref))
        assert len(server.seen) == count
        assert not root.exists()
        mine.close()
        assert not (root / "cache_registry.json").exists()


def test_an_empty_mount_point_is_no_volume(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    with mounted(root, "size=8m") as done:
        if not done:
            pytest.skip("may not mount here")  # a container without CAP_SYS_ADMIN: nothing can be unmounted
        models.lora(root / "loras/mine.safetensors")
        mine = store(root, "http://127.0.0.1:9")
        ref = ModelRef(name="mine")
        assert mine.find(ref, "lora") is not None
        with mounted(root, "size=8m"):  # what is below a volume shows when it goes
            (root / "loras").mkdir()
            with pytest.raises(VolumeUnavailable, match="another, empty file system"):
                asyncio.run(fetch(mine, ref))
        assert asyncio.run(fetch(mine, ref)).name == "mine"
        with pytest.raises(ModelNotFound):
            asyncio.run(fetch(mine, ModelRef(name="nobody_has_it")))
        mine.close()


def test_a_volume_whose_server_is_gone_says_nothing_about_its_models(tmp_path: Path) -> None:
    models.lora(tmp_path / "loras/mine.safetensors")
    mine = store(tmp_path, "http://127.0.0.1:9")
    mine.inventory.rebuild()
    assert mine.inventory.entries()
    before = (tmp_path / "cache_registry.json").read_bytes()
    ref = ModelRef(name="mine")
    with dead_mount(tmp_path):
        with pytest.raises(VolumeUnavailable, match="Transport endpoint is not connected"):
            asyncio.run(fetch(mine, ref))
        assert set(mine.inventory.entries()) == {"lora/mine.safetensors"}, "what is known stays known"
        mine.inventory.rebuild()
    assert asyncio.run(fetch(mine, ref)).name == "mine"
    assert (tmp_path / "cache_registry.json").read_bytes() == before
    mine.close()


def test_the_registry_is_kept_for_folders_that_can_not_be_read(tmp_path: Path) -> None:
    models.lora(tmp_path / "loras/mine.safetensors")
    models.checkpoint(tmp_path / "checkpoints/big.safetensors")
    mine = store(tmp_path, "http://127.0.0.1:9")
    mine.availability.note()
    assert set(mine.inventory.rebuild()) == {"lora/mine.safetensors", "checkpoint/big.safetensors"}
    (tmp_path / "loras").rename(tmp_path / "away")
    assert set(mine.inventory.rebuild()) == {"lora/mine.safetensors", "checkpoint/big.safetensors"}
    mine.close()
