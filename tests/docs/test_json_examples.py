"""Every job in the pages is run by a worker, and every answer in them has the form that the worker's have."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import Worker
from tests.support import models
from tests.support.documents.pages import PAGES, ROOT, every, examples
from tests.support.loopback_http import Reply, Request, serve
from tests.support.pictures import png
from tests.support.servers.fake_s3 import FakeStore
from tests.support.webui_dir import running_host
from worker.contract.answers import ErrorAnswer, JobAnswer
from worker.contract.workflow_answers import WorkflowAnswer
from worker.models.sources.model_catalog import read_catalog
from worker.settings import LISTED_AT_START

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LANGUAGES = {"bash", "json", "python", "mermaid"}
A_HASH = "0123456789"
"""Stands in the pages for the hash of a file at an address."""


def objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects of a block, one after the other."""
    found, rest = [], text.strip()
    while rest:
        one, end = json.JSONDecoder().raw_decode(rest)
        found.append(one)
        rest = rest[end:].lstrip()
    return found


FOUND = [
    (example, one) for example in every("json") if example.page.name != "errors.md" for one in objects(example.text)
]
REFUSED = [(example, one, told) for (example, one), (_, told) in pairwise(FOUND) if "input" in one and "error" in told]
"""A job, and the error that the page shows after it."""

MISTAKES = [example for example, _, _ in REFUSED]
JOBS = [pytest.param(one, id=str(where)) for where, one in FOUND if "input" in one and where not in MISTAKES]
ANSWERS = [pytest.param(one, id=str(where)) for where, one in FOUND if "input" not in one]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Callable[[str], str]]]:
    """A worker with every model that the pages name, and what puts this machine's addresses into an example."""
    folder = tmp_path_factory.mktemp("world")
    root = folder / "models"
    models.model_folders(root)
    for entry in read_catalog().entries:
        if entry.kind in LISTED_AT_START:
            weights = root / f"{entry.kind}s" / f"{entry.stem}.pth"
            weights.parent.mkdir(parents=True, exist_ok=True)
            weights.write_bytes(b"PK\x03\x04" + bytes(100))
            continue
        architecture = "sd1" if entry.base_model == "SD 1.5" else "sdxl"
        make = models.checkpoint if entry.kind == "checkpoint" else models.lora
        make(root / f"{entry.kind}s" / f"{entry.stem}.safetensors", architecture)
    models.checkpoint(root / "controlnet" / "control_v11p_sd15_openpose.safetensors")
    (folder / "webui/extensions/sd-webui-controlnet").mkdir(parents=True)
    more = {
        "STANDIN_EXTENSIONS": "controlnet,adetailer,ultimate-sd-upscale",
        "STANDIN_ANNOTATORS": "all",
        "ALLOW_HOSTS": "127.0.0.1",
        "MODEL_REMOVE": "true",
        "MODEL_FREE_BYTES": "0",
    }
    served = {
        "checkpoint": models.checkpoint(folder / "served/checkpoint.safetensors").read_bytes(),
        "lora": models.lora(folder / "served/lora.safetensors").read_bytes(),
        "vae": models.vae(folder / "served/vae.safetensors").read_bytes(),
    }

    def answer(request: Request) -> Reply:
        path = PurePosixPath(request.path)
        kind = {"x.safetensors": "vae", "1": "checkpoint", "2": "lora"}.get(path.name)
        return Reply(200, served[kind] if kind else png(64, 64))

    store = FakeStore(lambda *_: None)
    store.server.start()
    with serve(answer) as site, running_host(folder, more) as host:
        places = {
            "https://example.com": site.url,
            "https://civitai.com": site.url,
            "https://s3.eu-central-1.amazonaws.com": store.server.url,
            A_HASH: hashlib.sha256(served["checkpoint"]).hexdigest()[:10],
        }

        def settle(text: str) -> str:
            for there, here in places.items():
                text = text.replace(there, here)
            return text

        yield Worker(host), settle
    store.server.stop()


@pytest.mark.parametrize("job", JOBS)
def test_a_job_in_a_page_runs(world: tuple[Worker, Callable[[str], str]], job: dict[str, Any]) -> None:
    worker, settle = world
    answer: Any = worker.run_job(json.loads(settle(json.dumps(job))))
    assert isinstance(answer, list) or "error" not in answer, answer


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_in_a_page_has_the_form_of_the_worker_s(answer: dict[str, Any]) -> None:
    shape: Any = ErrorAnswer if "error" in answer else WorkflowAnswer if "stages" in answer else JobAnswer
    assert set(answer) <= set(shape.__annotations__)
    assert set(answer) >= (set(ErrorAnswer.__annotations__) if "error" in answer else {"images", "seeds", "applied"})


def test_the_readme_s_answer_is_the_one_that_its_job_gets(world: tuple[Worker, Callable[[str], str]]) -> None:
    job, told = [objects(one.text)[0] for one in examples(ROOT / "README.md") if one.language == "json"][:2]
    answer = world[0].run_job(job)
    assert answer["applied"] == told["applied"]
    assert answer["seeds"] == told["seeds"]
    assert set(answer) == set(told)
    assert set(answer["phase_ms"]) == set(told["phase_ms"])
    assert set(answer["worker"]) == set(told["worker"])


@pytest.mark.parametrize(("job", "told"), [pytest.param(job, told, id=str(where)) for where, job, told in REFUSED])
def test_a_mistake_in_a_page_is_answered_as_it_says(
    world: tuple[Worker, Callable[[str], str]], job: dict[str, Any], told: dict[str, Any]
) -> None:
    assert world[0].run_job(job) == told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_not_run_has_a_reason(page: Path) -> None:
    for example in examples(page):
        if example.language not in LANGUAGES:
            assert example.reason, f"{example}: a block in {example.language or 'no language'} that nothing runs"
        if example.reason is not None:
            assert len(example.reason.split()) >= 3, f"{example}: why?"


def test_the_marks_are_those_there_are() -> None:
    for page in PAGES:
        for example in examples(page):
            known = not example.mark or example.reason is not None or example.keeps_running
            assert known or example.mark.startswith(("table:", "end")), f"{example}: {example.mark}"
