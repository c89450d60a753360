"""The GPU goes to the next job while the WebUI still encodes and sends the last one's pictures."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Worker

JOB = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 42}
LATE_S = 2.0
TOO_LATE_S = 8.0


def spans(worker: Worker) -> list[tuple[float, float]]:
    """When jobs began and ended on the WebUI's GPU."""
    return [(began, ended) for began, ended in requests.get(f"{worker.url}/standin/spans", timeout=10).json()]


def paths(worker: Worker) -> list[str]:
    """What the WebUI was asked for since the last reset."""
    return [entry["path"] for entry in requests.get(f"{worker.url}/standin/requests", timeout=10).json()]


async def run(worker: Worker, name: str, **job: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await worker.host.run({"id": name, "input": {**JOB, **job}}, on_progress=lambda _: None)
    return answer


async def until(condition: Callable[[], object]) -> None:
    """Return once `condition`, asked in a thread, holds."""
    while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - the stand-in has to be asked, it does not call
        await asyncio.sleep(0.01)  # as above


def test_the_next_job_begins_before_the_answer_to_the_last_has_come(worker: Worker) -> None:
    worker.fault("late", path="txt2img", seconds=LATE_S)

    async def both() -> list[dict[str, Any]]:
        return list(await asyncio.gather(run(worker, "one"), run(worker, "two", seed=43)))

    answers = asyncio.run(both())
    assert [answer["seeds"] for answer in answers] == [[42], [43]]
    (_, ended), (began, _) = spans(worker)
    assert began - ended < LATE_S / 2


def test_cancelling_a_job_that_has_left_the_gpu_does_not_touch_the_next_one(worker: Worker) -> None:
    alone = worker.run(seed=43, steps=40)
    worker.reset()
    worker.fault("late", path="txt2img", seconds=TOO_LATE_S)

    async def cancel_the_first() -> tuple[Any, dict[str, Any]]:
        first = asyncio.ensure_future(run(worker, "one"))
        await until(lambda: spans(worker))
        second = asyncio.ensure_future(run(worker, "two", seed=43, steps=40))
        await until(lambda: len(worker.sent()) == 2)  # the worker has seen that the GPU is free
        first.cancel()
        ends = await asyncio.gather(first, return_exceptions=True)
        assert time.monotonic() - began < TOO_LATE_S
        return ends[0], await second

    began = time.monotonic()
    gone, answer = asyncio.run(cancel_the_first())
    assert isinstance(gone, asyncio.CancelledError)
    assert answer["images"] == alone["images"]
    assert "/sdapi/v1/interrupt" not in paths(worker)


def test_a_deadline_that_comes_once_the_gpu_was_left_does_not_touch_the_next_job(worker: Worker) -> None:
    alone = worker.run(seed=43, steps=40)
    worker.reset()
    worker.fault("late", path="txt2img", seconds=TOO_LATE_S)
    before = requests.get(f"{worker.url}/standin", timeout=10).json()["pid"]

    async def both() -> tuple[dict[str, Any], dict[str, Any]]:
        first = asyncio.ensure_future(run(worker, "one", timeout_s=3))
        await until(lambda: spans(worker))
        second = asyncio.ensure_future(run(worker, "two", seed=43, steps=40))
        await first
        assert time.monotonic() - began < TOO_LATE_S
        return await first, await second

    began = time.monotonic()
    late, answer = asyncio.run(both())
    assert (late["error_code"], late["details"]["abandoned"]) == ("deadline_exceeded", False)
    assert answer["images"] == alone["images"]
    assert requests.get(f"{worker.url}/standin", timeout=10).json()["pid"] == before
    assert "/sdapi/v1/interrupt" not in paths(worker)


def test_a_cancelled_job_keeps_the_gpu_until_its_answer_has_come(worker: Worker) -> None:
    worker.fault("slow-step", count=-1, seconds=0.05)

    async def cancel_the_first() -> dict[str, Any]:
        first = asyncio.ensure_future(run(worker, "one", steps=100))
        await until(lambda: [sent for sent in worker.sent() if sent["steps"] == 100])
        second = asyncio.ensure_future(run(worker, "two", seed=43))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        return await second

    answer = asyncio.run(cancel_the_first())
    worker.reset()
    assert answer["images"] == worker.run(seed=43)["images"]


def test_what_fails_late_is_not_blamed_on_the_next_job(worker: Worker) -> None:
    worker.fault("error", error="ValueError", message="too late")

    async def both() -> list[dict[str, Any]]:
        return list(await asyncio.gather(run(worker, "one"), run(worker, "two", seed=43)))

    failed, made = sorted(asyncio.run(both()), key=lambda answer: "error" not in answer)  # either may come first
    assert failed["error_code"] == "webui_error"
    assert made["seeds"] in ([42], [43])
