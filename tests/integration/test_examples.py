"""Every example is a job that runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter

from tests.integration.conftest import Worker
from tests.support.ports import free_port
from worker.app import Worker as WorkerApp
from worker.contract import answers
from worker.contract.accept import accept
from worker.contract.operator.presets import Preset, read_presets
from worker.contract.workflow_answers import WorkflowAnswer
from worker.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.json"))


SHAPES: dict[str, Any] = {
    **dict.fromkeys(("txt2img", "img2img", "inpaint"), answers.JobAnswer),
    "upscale": answers.UpscaleAnswer,
    "workflow": WorkflowAnswer,
    "png_info": answers.PngInfoAnswer,
    "judge": answers.JudgeAnswer,
    "listing": answers.ListingAnswer,
    "refresh": answers.RefreshAnswer,
    "validate": answers.ValidateAnswer,
}
"""Kind of job → the documented shape of its answer."""


def presets() -> dict[str, Preset]:
    return read_presets((ROOT / "worker/contract/operator/data/presets.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def out_of_the_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker with no setting but where its files go: the stand-in with its own small models and extensions."""
    variables = {
        "PATH": os.environ["PATH"],
        "OUT_DIR": str(tmp_path_factory.mktemp("out")),
        "WEBUI_PORT": str(free_port()),
        "STANDIN_STEP_SECONDS": "0",
        "STANDIN_LOAD_SECONDS": "0",
    }
    host = WorkerApp(read_settings(variables), variables)
    try:
        host.spawn()
        host.wait_ready()
        yield Worker(host)
    finally:
        host.close()


def job(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(out_of_the_box: Worker, path: Path) -> None:
    answer: Any = out_of_the_box.run_job(job(path))
    assert isinstance(answer, list) or "error" not in answer, answer
    shape = None if path.stem.startswith("form_") else SHAPES[accept(job(path)["input"], presets=presets()).job.kind]
    if shape is not None:
        TypeAdapter(shape).validate_python(answer, strict=True)
        assert set(answer) <= set(shape.__annotations__)


def test_every_kind_has_an_example() -> None:
    kinds = {accept(job(path)["input"], presets=presets()).job.kind for path in EXAMPLES}
    assert kinds >= {"txt2img", "img2img", "inpaint", "upscale", "png_info", "listing", "validate", "refresh"}


def test_every_example_is_in_the_docs() -> None:
    text = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    shown = {path.stem for path in EXAMPLES if not path.stem.startswith("form_")} - {"health", "loras", "batch"}
    assert all(f"examples/{name}.json" in text for name in shown)
