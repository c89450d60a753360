"""Models by URL on a real A1111 that the worker starts.

Needs WEBUI_DIR (and what starting it there needs: WEBUI_PYTHON, WEBUI_ARGS), and MODELS_DIR with two SD 1.5
checkpoints, ``Deliberate_v6`` and ``Other_v1``, and a LoRA ``add_detail``.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.loopback_http import Server, serve
from tests.support.model_store import ranged
from tests.support.ports import free_port
from worker.app import Worker
from worker.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(os.environ.get("MODELS_DIR", ""))
READY = "WEBUI_DIR" in os.environ and (SOURCE / "checkpoints/Other_v1.safetensors").is_file()
pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not READY, reason="needs WEBUI_DIR and MODELS_DIR"),
]


def _run(root: Path, job: dict[str, Any]) -> dict[str, Any]:
    more = {"MODELS_DIR": str(root), "ALLOW_HOSTS": "127.0.0.1", "WEBUI_PORT": str(free_port())}
    arguments = f"{os.environ.get('WEBUI_ARGS', '')} --data-dir {root.parent / 'data'}"
    variables = {**os.environ, **more, "WEBUI_ARGS": arguments, "DEFAULT_CHECKPOINT": "Deliberate_v6"}
    host = Worker(read_settings(variables), variables)
    try:
        host.spawn()
        host.wait_ready()
        answer: dict[str, Any] = asyncio.run(host.run({"id": "real", "input": job}, on_progress=lambda _: None))
    finally:
        host.close()
    return answer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Model folders with the default checkpoint alone."""
    root = tmp_path / "models"
    for kind in ("checkpoints", "loras", "embeddings", "vae"):
        (root / kind).mkdir(parents=True)
    shutil.copy(SOURCE / "checkpoints/Deliberate_v6.safetensors", root / "checkpoints")
    return root


@pytest.fixture
def server() -> Iterator[Server]:
    bodies = {
        "/Other.safetensors": (SOURCE / "checkpoints/Other_v1.safetensors").read_bytes(),
        "/detail.safetensors": (SOURCE / "loras/add_detail.safetensors").read_bytes(),
    }
    with serve(lambda request: ranged(request, bodies[request.path])) as running:
        yield running


def _job(server: Server) -> dict[str, Any]:
    return {
        "prompt": "a cat",
        "steps": 4,
        "width": 64,
        "height": 64,
        "seed": 7,
        "checkpoint": {"name": "My Other", "url": f"{server.url}/Other.safetensors"},
        "loras": [{"url": f"{server.url}/detail.safetensors", "scale": 0.8}],
    }


def test_uncached_models_by_url_are_in_the_picture_and_fetched_once_for_all_workers(root: Path, server: Server) -> None:
    job = _job(server)
    first = _run(root, job)
    assert first["applied"]["checkpoint"] == "My_Other", first
    assert [each["name"].split("-")[0] for each in first["applied"]["loras"]] == ["detail"], first
    asked = len(server.seen)
    assert asked >= 2
    second = _run(root, job)
    assert len(server.seen) == asked
    plain = _run(root, {**job, "loras": []})
    assert second["images"] == first["images"]
    assert plain["images"] != first["images"]


def test_a_checkpoint_that_was_corrupted_is_fetched_anew_and_the_job_goes_on(root: Path, server: Server) -> None:
    job = {**_job(server), "loras": []}
    first = _run(root, job)
    path = root / "checkpoints/My_Other.safetensors"
    with path.open("r+b") as file:
        file.seek(8)
        file.write(b"\xff" * 8)
    again = _run(root, job)
    assert again["images"] == first["images"], again
    assert list((root / "checkpoints/.quarantine").glob("*.corrupt"))
