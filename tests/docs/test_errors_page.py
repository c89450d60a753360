"""The page on errors: every code, and each example as the worker says it."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import Worker
from tests.support import models
from tests.support.documents.pages import ROOT
from tests.support.loopback_http import Reply, serve
from tests.support.webui_dir import running_host
from tests.support.workerproc import WorkerProcess
from tools.error_page import ADVICE
from worker.errors import all_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
ERRORS = {error.code: error for error in all_errors()}
AT_START = {"settings_invalid", "webui_boot_failed"}
SMALL = {"steps": 2, "width": 64, "height": 64, "seed": 1}
PLAIN: dict[str, Any] = {"prompt": "a cat", **SMALL}


def blocks(code: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in re.findall(r"```json\n(.*?)```", SECTIONS[code], re.DOTALL)]


def told(code: str) -> dict[str, Any]:
    return blocks(code)[-1]


def form(answer: Any) -> Any:
    """An answer without the numbers, hashes and addresses that differ from run to run, and the tests' own requests."""
    details = dict(answer.get("details", {}))
    if "log" in details:
        details["log"] = [line for line in details["log"] if "/standin/" not in line]
    text = json.dumps({**answer, "details": details} if details else answer, ensure_ascii=False)
    text = re.sub(r"(https?://)?(\b[\w.-]+\.com\b|127\.0\.0\.1)(:\d+)?", "HOST", text)
    text = re.sub(r"\b[0-9a-f]{64}\b", "HASH", text)
    return json.loads(re.sub(r"\d+", "0", text))


def test_every_code_has_its_section_and_its_counsel() -> None:
    assert set(SECTIONS) == set(ADVICE) == set(ERRORS)


@pytest.mark.parametrize("code", sorted(ADVICE))
def test_a_http_status_agrees_with_whose_fault_it_is(code: str) -> None:
    assert ERRORS[code].http_status // 100 == (4 if ERRORS[code].fault == "client" else 5)
    assert len(ADVICE[code]) > 20


@pytest.mark.parametrize("code", sorted(set(SECTIONS) - AT_START))
def test_an_example_has_the_form_of_its_error(code: str) -> None:
    example, error = told(code), ERRORS[code]
    assert example["error"].startswith(f"{code}: ")
    answer = error.__new__(error)
    Exception.__init__(answer)
    answer.message, answer.hint, answer.details = example["error"].removeprefix(f"{code}: "), None, example["details"]
    assert answer.to_answer() == example


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("errors")
    more = {"RERUNS": "0", "ALLOW_HOSTS": "127.0.0.1", "STALL_TIMEOUT_S": "1", "MODEL_FREE_BYTES": "9000000000000"}
    with running_host(folder, {**more, "IDLE_TIMEOUT_S": "1"}) as host:
        yield Worker(host)


def volume(worker: Worker) -> Path:
    return worker.host.settings.models_root


def with_fault(fault: str, *, count: int = 1, parameters: dict[str, Any] | None = None, **job: Any) -> Any:
    def play(worker: Worker) -> dict[str, Any]:
        worker.fault(fault, count, **(parameters or {}))
        return worker.run_job({"input": {**PLAIN, **job}})

    return play


def the_job(worker: Worker, code: str) -> dict[str, Any]:
    job = blocks(code)[0]["input"]
    return worker.run_job({"input": {**SMALL, **job}})


def damaged(worker: Worker) -> dict[str, Any]:
    models.truncated(models.checkpoint(volume(worker) / "checkpoints" / "Other_v1.safetensors"))
    try:
        return the_job(worker, "model_damaged")
    finally:
        models.checkpoint(volume(worker) / "checkpoints" / "Other_v1.safetensors")


def without_volume(worker: Worker) -> dict[str, Any]:
    away = volume(worker).with_name("away")
    volume(worker).rename(away)
    try:
        return worker.run_job({"input": {**PLAIN, "checkpoint": "Other_v1"}})
    finally:
        away.rename(volume(worker))


def from_a_site(reply: Reply, **job: Any) -> Any:
    def play(worker: Worker) -> dict[str, Any]:
        with serve(lambda _: reply) as site:
            name = {"checkpoint": f"{site.url}/{'new' if reply.status == 200 else 'x'}.safetensors"}
            return worker.run_job({"input": {**PLAIN, **name, **job}})

    return play


def to_a_broken_store(worker: Worker) -> dict[str, Any]:
    with serve(lambda _: Reply(503)) as site:
        store = {"accessId": "k", "accessSecret": "s", "bucketName": "pics", "endpointUrl": site.url}
        job = {"id": "8f2e", "input": {**PLAIN, "output": {"delivery": "s3"}}, "s3Config": store}
        return worker.run_job(job)


PLAYED: dict[str, Callable[[Worker], dict[str, Any]]] = {
    **{
        code: partial(the_job, code=code)
        for code in ("invalid_input", "model_not_found", "incompatible_model", "download_refused", "hash_mismatch")
    },
    "model_damaged": damaged,
    "volume_unavailable": without_volume,
    "no_space": from_a_site(Reply(200, bytes(2184))),
    "delivery_failed": to_a_broken_store,
    "out_of_memory": with_fault("oom", count=4, batch_size=4),
    "webui_rejected": with_fault("http-error", parameters={"status": 422, "path": "txt2img"}),
    "wrong_result": with_fault("wrong-seed"),
    "nan_image": with_fault("black"),
    "deadline_exceeded": with_fault("slow-step", parameters={"seconds": 0.2}, timeout_s=1, steps=20),
    "generation_stalled": with_fault("hang", steps=20),
    "webui_crashed": with_fault("die"),
}
"""What leads to each; the others need a defect or a machine in trouble, or take too long."""


@pytest.mark.parametrize("code", PLAYED)
def test_an_example_is_what_the_worker_says(worker: Worker, code: str) -> None:
    assert "images" in worker.run_job({"input": PLAIN})  # the WebUI may be on its way back from the last one
    worker.reset()
    answer = PLAYED[code](worker)
    assert form(answer) == form(told(code))


@pytest.mark.parametrize(
    ("code", "variables"), [("settings_invalid", {"CONCURRENCY": "99"}), ("webui_boot_failed", {"WEBUI_DIR": "webui"})]
)
def test_a_worker_that_can_not_start_says_so_in_its_log(code: str, variables: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "webui").mkdir()
    (tmp_path / "webui" / "launch.py").touch()
    (tmp_path / "test_input.json").write_text('{"prompt": "x"}', encoding="utf-8")
    with WorkerProcess([str(ROOT / "handler.py")], {"LOG_FORMAT": "json", **variables}, tmp_path) as process:
        assert process.wait() == 1
        said = json.loads(process.log.splitlines()[-1])
    assert set(said) == set(told(code))
    assert said["code"] == code
