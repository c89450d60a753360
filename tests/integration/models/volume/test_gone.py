"""A model that is gone from the volume while the WebUI still lists it: the client is told, and nothing is restarted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import Worker
from tests.support import models
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def plot(label: str, *values: str) -> dict[str, Any]:
    return {"script": {"name": "x/y/z plot", "args": {"X type": label, "X values": list(values)}}}


GONE: dict[str, tuple[str, dict[str, Any]]] = {
    "a checkpoint": ("checkpoints/Other_v1.safetensors", {"checkpoint": "Other_v1"}),
    "a LoRA": ("loras/style_two.safetensors", {"loras": ["style_two"]}),
    "a LoRA's tag": ("loras/add_detail.safetensors", {"prompt": "a cat <lora:add_detail:1>"}),
    "a VAE": ("vae/tinyvae.safetensors", {"vae": "tinyvae"}),
    "a plotted checkpoint": ("checkpoints/plotted.safetensors", plot("Checkpoint name", "plotted")),
    "a plotted LoRA": ("loras/plotted.safetensors", plot("Prompt S/R", "cat", "cat <lora:plotted:1>")),
    "an embedding": ("embeddings/goodemb.safetensors", {"embeddings": ["goodemb"]}),
}


@pytest.fixture(scope="module")
def own_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Path]]:
    folder = tmp_path_factory.mktemp("gone")
    models.model_folders(folder / "models")
    models.checkpoint(folder / "models/checkpoints/plotted.safetensors")
    models.lora(folder / "models/loras/plotted.safetensors")
    with running_host(folder) as host:
        yield Worker(host), folder / "models"


@pytest.mark.parametrize("case", GONE)
def test_it_is_refused_by_name(own_worker: tuple[Worker, Path], case: str) -> None:
    worker, folder = own_worker
    file, job = GONE[case]
    pid = worker.host.backend.pid
    assert worker.run(**job).get("images"), "it is there at first"
    (folder / file).unlink()
    worker.run()
    answer = worker.run(**job)
    failed = answer if "error" in answer else next(part["error"] for part in answer["parts"] if part.get("error"))
    assert failed["error_code"] in {"invalid_input", "model_not_found"}, answer
    assert worker.host.backend.pid == pid
    assert worker.run()["images"]


def test_the_default_checkpoint_is_in_use_as_long_as_the_worker_lives(tmp_path: Path) -> None:
    remove = {"input": {"action": "models.remove", "models": [{"name": "Deliberate_v6", "kind": "checkpoint"}]}}
    with running_host(tmp_path, {"MODEL_REMOVE": "true"}) as host:
        worker = Worker(host)
        worker.run(checkpoint="Other_v1")
        assert "in use" in worker.run_job(remove)["error"]
        assert worker.run(checkpoint="Deliberate_v6")["images"]
