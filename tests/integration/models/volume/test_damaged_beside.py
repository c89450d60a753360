"""Damaged files that a job names beside its own fields: told before the WebUI is asked, which would be torn by them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import Worker
from tests.support import models
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from collections.abc import Iterator


def plot(label: str, *values: str, **job: Any) -> dict[str, Any]:
    return {**job, "script": {"name": "x/y/z plot", "args": {"X type": label, "X values": list(values)}}}


LINES = {"name": "prompts from file or textbox", "args": {"List of prompt inputs": "a dog\na cat <lora:cut:1>"}}
NAMED: dict[str, dict[str, Any]] = {
    "a plotted checkpoint": plot("Checkpoint name", "Deliberate_v6", "Cut_v1"),
    "a plotted refiner": plot("Refiner checkpoint", "None", "Cut_v1", refiner_switch_at=0.5),
    "a plotted VAE": plot("VAE", "Automatic", "cut.safetensors"),
    "a plotted LoRA": plot("Prompt S/R", "cat", "dog <lora:cut:1>"),
    "a LoRA of a line": {"script": LINES},
    "a detector's checkpoint": {"adetailer": [{"model": "mediapipe_face_full", "checkpoint": "Cut_v1"}]},
    "a detector's VAE": {"adetailer": [{"model": "mediapipe_face_full", "vae": "cut"}]},
}


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("cut")
    models.model_folders(folder / "models")
    models.truncated(models.checkpoint(folder / "models/checkpoints/Cut_v1.safetensors"))
    models.truncated(models.vae(folder / "models/vae/cut.safetensors"))
    models.truncated(models.lora(folder / "models/loras/cut.safetensors"))
    with running_host(folder, {"STANDIN_EXTENSIONS": "adetailer"}) as host:
        yield Worker(host)


@pytest.mark.parametrize("case", NAMED)
def test_they_are_refused_by_name(cut: Worker, case: str) -> None:
    cut.reset()
    pid = cut.host.backend.pid
    answer = cut.run(**NAMED[case])
    failed = answer if "error" in answer else next(part["error"] for part in answer["parts"] if part.get("error"))
    assert failed["error_code"] == "model_damaged", answer
    assert "cut" in failed["details"]["model"].lower()
    assert all("cut" not in json.dumps(body).lower() for body in cut.sent())
    assert cut.host.backend.pid == pid


def test_whole_ones_make_their_pictures(cut: Worker) -> None:
    assert "images" in cut.run(**plot("Checkpoint name", "Deliberate_v6", "Other_v1"))
    assert "images" in cut.run(**plot("VAE", "Automatic", "tinyvae.safetensors"))
    assert "images" in cut.run(**plot("Prompt S/R", "cat", "dog <lora:style_two:1>"))
