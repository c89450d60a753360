"""Workflows on the stand-in: what they make, what they tell, and what a repeat of them need not make again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.integration.conftest import Worker
from tests.support.pictures import pixels_of
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL: dict[str, Any] = {"prompt": "a cat", "steps": 2, "seed": 7}
STAGES: list[dict[str, Any]] = [
    {"name": "base", "type": "txt2img", "width": 64, "height": 96},
    {"name": "mid", "type": "img2img", "scale": 2, "denoising_strength": 0.25, "seed_offset": 1000},
    {"name": "final", "type": "upscale", "scale": 2, "upscaler": "Lanczos"},
]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("studio")
    with running_host(folder, {"RERUNS": "0", "RESULTS_DIR": str(folder / "results")}) as host:
        yield Worker(host)


@pytest.fixture
def worker(studio: Worker) -> Iterator[Worker]:
    studio.reset()
    yield studio
    studio.reset()


def workflow(worker: Worker, name: str = "wf", **fields: Any) -> dict[str, Any]:
    return worker.run_job({"id": name, "input": {"type": "workflow", **SMALL, "stages": STAGES, **fields}})


def paths(worker: Worker) -> list[str]:
    """The pictures that the WebUI was asked for, by what was asked."""
    entries = requests.get(f"{worker.url}/standin/requests", timeout=10).json()
    kinds = ("txt2img", "img2img", "extra-single-image")
    return [name for entry in entries if (name := entry["path"].rpartition("/")[2]) in kinds]


def test_three_stages_make_what_three_jobs_by_hand_make(worker: Worker) -> None:
    answer = workflow(worker, "three", output={"intermediates": ["base", "mid"]})
    base = worker.run_job({"id": "a", "input": {**SMALL, "width": 64, "height": 96}})
    start = {"init_images": base["images"], "denoising_strength": 0.25, "width": 128, "height": 192}
    mid = worker.run_job({"id": "b", "input": {**SMALL, "seed": 1007, **start}})
    final = worker.run_job({"id": "c", "input": {"image": mid["images"][0], "scale": 2, "upscaler": "Lanczos"}})
    told = {stage["name"]: stage for stage in answer["stages"]}
    assert pixels_of(told["base"]["images"][0]) == pixels_of(base["images"][0])
    assert pixels_of(told["mid"]["images"][0]) == pixels_of(mid["images"][0])
    assert pixels_of(answer["images"][0]) == pixels_of(final["images"][0])
    assert answer["applied"]["size"] == {"width": 256, "height": 384}
    assert [stage["seeds"] for stage in answer["stages"]] == [[7], [1007], [7]]


def test_a(worker: Worker) -> None:
    answer = worker.run_job({"id": "v", "input": {"type": "validate", "job": {"type": "workflow", **SMALL, "stages": STAGES}}})
    print(answer)
    assert 0
