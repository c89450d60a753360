from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.common.cancellation import cancel_and_wait, unless_set
from worker.common.strict_json import encoded_size, find_flaw
from worker.serving.answer import SealedAnswer, seal
from worker.serving.background import run_in_background
from worker.serving.job_table import JobIdTaken, JobRecord, JobRequest, JobTable, QueueFull
from worker.serving.local_result import lines_for_people, save_locally
from worker.serving.reporter import Reporter
from worker.telemetry.progress import Progress, Throttle

if TYPE_CHECKING:
    from pathlib import Path

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_strict_json_passes_unchanged(answer: dict[str, Any]) -> None:
    assert seal(answer, limit_bytes=10**9) == answer


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_size_is_what_the_sdk_would_post(answer: dict[str, Any]) -> None:
    posted = len(json.dumps(answer, ensure_ascii=False).encode())
    assert abs(encoded_size(answer) - posted) <= 8 * json.dumps(answer).count("e"), "only floats are spelled otherwise"


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (float("nan"), "answer.a[1] is nan"),
        (float("-inf"), "answer.a[1] is -inf"),
        (b"x", "answer.a[1] is a bytes"),
        ({1}, "answer.a[1] is a set"),
        ("\udcff", "answer.a[1] has half a surrogate pair"),
        ({1: 2}, "answer.a[1] has the key 1"),
        ({"\ud800": 2}, r"answer.a[1] has the key '\ud800'"),
        (object, "answer.a[1] is a type"),
    ],
)
def test_what_is_not_strict_json_is_found_and_named(value: object, where: str) -> None:
    assert find_flaw({"a": [0, value]}) == where
    sealed: Any = seal({"a": [0, value]}, limit_bytes=10**6)
    assert sealed["error"] == f"internal_error: the answer is not strict JSON: {where}"
    json.dumps(sealed, allow_nan=False, ensure_ascii=False).encode()


def test_an_answer_over_the_limit_says_how_large_it_is() -> None:
    sealed: Any = seal({"images": ["x" * 1000]}, limit_bytes=1000)
    assert sealed["error_code"] == "output_too_large"
    assert sealed["details"]["bytes"] > 1000
    assert "error" not in seal({"images": ["x" * 900]}, limit_bytes=1000)


def test_an_answer_that_is_no_object_is_an_error() -> None:
    refused: Any = seal(None, limit_bytes=1000)
    assert refused["error_code"] == "internal_error"


def test_an_answer_does_not_print_its_content() -> None:
    assert "secret" not in f"{SealedAnswer(images=['secret'])} {[SealedAnswer(images=['secret'])]}"


def test_a_cancelled_job_is_waited_for_however_often_it_is_cancelled() -> None:
    async def story() -> list[str]:
        told: list[str] = []
        running = asyncio.Event()

        async def job() -> None:
            try:
                running.set()
                await asyncio.sleep(60)
            finally:
                for _ in range(5):
                    await asyncio.sleep(0.01)  # a job that takes its time to end
                told.append("idle")

        task = asyncio.ensure_future(cancel_and_wait(job()))
        await running.wait()
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        told.append("passed on")
        return told

    assert asyncio.run(story()) == ["idle", "passed on"]


def test_a_job_that_raises_raises() -> None:
    async def job() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        asyncio.run(cancel_and_wait(job()))


def test_an_event_that_comes_first_cancels_the_work() -> None:
    async def story() -> tuple[str | None, str | None]:
        event = asyncio.Event()

        async def slow() -> str:
            await asyncio.sleep(60)
            return "slow"

        async def quick() -> str:
            return "quick"

        first = await unless_set(event, quick())
        event.set()
        return first, await unless_set(event, slow())

    assert asyncio.run(story()) == ("quick", None)


def test_work_that_is_nearly_done_is_given_its_grace() -> None:
    async def story() -> str | None:
        event = asyncio.Event()
        event.set()

        async def nearly() -> str:
            await asyncio.sleep(0.01)
            return "done"

        return await unless_set(event, nearly(), grace_s=lambda: 30)

    assert asyncio.run(story()) == "done"


class Postbox:
    """A platform that takes its time."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.bodies: list[dict[str, Any]] = []
        self.open = 0
        self.most_open = 0

    async def __call__(self, body: dict[str, Any]) -> None:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        await asyncio.sleep(self.delay)
        self.open -= 1
        self.bodies.append(body)


def eager() -> Throttle:
    return Throttle(min_interval_s=0.0, min_percent=0.0, clock=time.monotonic)


def test_updates_go_out_one_at_a_time_newest_only_and_none_is_on_its_way_at_the_end() -> None:
    async def story() -> Postbox:
        postbox = Postbox(delay=0.02)
        async with Reporter(postbox, eager()) as sink:
            for number in range(100):
                await asyncio.to_thread(sink, Progress("generate", percent=number))
        sink(Progress("generate", percent=100))
        at_the_end = postbox.open
        await asyncio.sleep(0.05)  # longer than a posting takes
        assert at_the_end == 0
        return postbox

    postbox = asyncio.run(story())
    assert postbox.most_open == 1
    assert 1 <= len(postbox.bodies) <= 50
    assert [body["percent"] for body in postbox.bodies] == sorted(body["percent"] for body in postbox.bodies)


def test_a_platform_that_fails_to_take_progress_does_not_fail_the_job() -> None:
    async def refuse(_: dict[str, Any]) -> None:
        raise ConnectionError("no")

    async def story() -> str:
        async with Reporter(refuse, eager()) as sink:
            sink(Progress("generate", percent=1))
            await asyncio.sleep(0.01)
        return "done"

    assert asyncio.run(story()) == "done"


def test_a_preview_waits_to_be_told_and_is_told_once() -> None:
    async def story() -> list[dict[str, Any]]:
        begun, go_on = asyncio.Event(), asyncio.Event()
        taken: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        async def post(body: dict[str, Any]) -> None:
            begun.set()
            await go_on.wait()
            taken.put_nowait(body)

        async with Reporter(post, eager()) as sink:
            sink(Progress("generate", percent=1))
            await begun.wait()
            sink(Progress("generate", percent=2, preview="picture"))
            sink(Progress("generate", percent=3))
            go_on.set()
            bodies = [await taken.get(), await taken.get()]
            sink(Progress("generate", percent=4))
            return [*bodies, await taken.get()]

    bodies = asyncio.run(story())
    assert [(body["percent"], body.get("preview")) for body in bodies] == [(1, None), (3, "picture"), (4, None)]


PNG = b"\x89PNG\r\n\x1a\n and so on"


def test_a_local_run_leaves_pictures_and_an_answer_that_names_them(tmp_path: Path) -> None:
    inline = base64.b64encode(PNG).decode()
    answer = {"images": [inline, "https://bucket/1.png", f"data:image/jpeg;base64,{base64.b64encode(b'x').decode()}"]}
    drawn = {**answer, "worker": {"backend": "stand-in"}}
    lines = lines_for_people(drawn, save_locally(drawn, tmp_path / "out"))
    assert (tmp_path / "out" / "001.png").read_bytes() == PNG
    assert json.loads((tmp_path / "out" / "answer.json").read_text())["images"] == [
        "001.png",
        "https://bucket/1.png",
        "003.bin",
    ]
    assert "Drawn by the stand-in" in lines[0]
    assert lines[1] == f"Answer: {tmp_path / 'out' / 'answer.json'}"
    assert lines[2].startswith(f"Pictures: {tmp_path / 'out' / '001.png'}, https://bucket/1.png, ")
    assert len(lines) == 3


def test_the_answers_line_of_a_local_run_says_what_made_the_picture(tmp_path: Path) -> None:
    applied = {"checkpoint": "Deliberate_v6", "sampler": "DPM++ 2M", "scheduler": "Karras"}
    answer = {
        "images": [base64.b64encode(PNG).decode()],
        "seeds": [7],
        "applied": applied,
        "phase_ms": {"total": 1342.0},
        "warnings": ["the VAE was ignored"],
    }
    assert lines_for_people(answer, save_locally(answer, tmp_path)) == [
        "Warning: the VAE was ignored",
        f"Answer: {tmp_path / 'answer.json'} (Deliberate_v6, DPM++ 2M Karras, seed 7, 1.3 s)",
        f"Picture: {tmp_path / '001.png'}",
    ]


def test_every_mistake_of_a_failed_local_run_has_a_line_and_none_is_said_twice(tmp_path: Path) -> None:
    problems = [
        {"path": "stepz", "message": "is not a field", "suggestion": "steps"},
        {"path": "width", "message": "must be a multiple of 8, not 500"},
    ]
    answer = {"error": "invalid_input: …", "error_code": "invalid_input", "details": {"problems": problems}}
    assert lines_for_people(answer, save_locally(answer, tmp_path)) == [
        "The job failed: invalid_input, 2 mistakes",
        "  stepz: is not a field (did you mean 'steps'?)",
        "  width: must be a multiple of 8, not 500",
        f"Answer: {tmp_path / 'answer.json'}",
    ]


def test_a_local_run_leaves_the_facts_about_a_picture_beside_it(tmp_path: Path) -> None:
    rows = [{"index": 0, "metadata": {"seed": 7}}, {"index": 1, "metadata": "https://bucket/1.json"}, {"index": 2}]
    answer = {"images": [base64.b64encode(PNG).decode(), "https://bucket/1.png"], "pictures": rows}
    save_locally(answer, tmp_path)
    assert json.loads((tmp_path / "001.json").read_text()) == {"seed": 7}
    told = json.loads((tmp_path / "answer.json").read_text())["pictures"]
    assert [row.get("metadata") for row in told] == ["001.json", "https://bucket/1.json", None]
    save_locally({"images": [base64.b64encode(PNG).decode()], "pictures": [{"index": 0}]}, tmp_path)
    assert not (tmp_path / "001.json").exists()


def test_pictures_of_a_real_webui_are_not_called_drawn(tmp_path: Path) -> None:
    answer = {"images": [base64.b64encode(PNG).decode()], "worker": {"backend": "a1111"}}
    assert "stand-in" not in " ".join(lines_for_people(answer, save_locally(answer, tmp_path)))


def test_a_failed_local_run_leaves_its_error(tmp_path: Path) -> None:
    answer = {"error": "invalid_input: steps"}
    assert lines_for_people(answer, save_locally(answer, tmp_path))[0] == "The job failed: invalid_input: steps"
    assert json.loads((tmp_path / "answer.json").read_text())["error"] == "invalid_input: steps"


def table(handle: Any, **options: Any) -> JobTable:
    return JobTable(handle, json.loads, **{"at_once": 1, "max_waiting": 9, "keep_s": 60, **options})


def posted(name: str, body: bytes = b'{"input": {}}') -> JobRequest:
    return JobRequest(name, hashlib.sha256(body).digest(), body)


async def finished(jobs: JobTable, request: JobRequest) -> JobRecord:
    job = jobs.submit(request)
    while not job.over:
        await job.changed.wait()
    return job


def test_a_job_over_http_carries_the_trace_context_of_the_request_that_brought_it() -> None:
    async def story() -> list[Any]:
        async def handle(job: dict[str, Any]) -> dict[str, Any]:
            return {"traceparent": job.get("traceparent")}

        jobs = table(handle)
        requests = [JobRequest("a", b"a", b'{"input": {}}', traceparent="00-x"), posted("b")]
        return [(await finished(jobs, request)).answer["traceparent"] for request in requests]

    assert asyncio.run(story()) == ["00-x", None]


def test_answers_over_http_are_kept_up_to_a_size_the_newest_longest() -> None:
    async def story() -> list[bool]:
        async def handle(_job: dict[str, Any]) -> dict[str, Any]:
            return {"images": ["x" * 1000]}

        jobs = table(handle, max_kept=2500)
        for number in range(4):
            await finished(jobs, posted(f"job-{number}"))
        return [jobs.get(f"job-{number}") is not None for number in range(4)]

    assert asyncio.run(story()) == [False, False, True, True]


def test_a_job_over_http_keeps_its_answer_and_not_its_body() -> None:
    async def story() -> JobRecord:
        async def handle(job: dict[str, Any]) -> dict[str, Any]:
            return {"echo": job["input"]["prompt"], "id": job["id"]}

        jobs = table(handle)
        body = b'{"input": {"prompt": "cat", "more": [' + b"[]," * 100_000 + b"[]]}}"
        job = await finished(jobs, posted("a", body))
        assert jobs.submit(posted("a", body)) is job
        with pytest.raises(JobIdTaken):
            jobs.submit(posted("a", b'{"input": {}}'))
        return job

    job = asyncio.run(story())
    assert (job.body, job.answer) == (b"", {"echo": "cat", "id": "a"})


def test_bodies_of_jobs_that_wait_are_bounded_in_bytes_as_they_came() -> None:
    async def story() -> tuple[list[str], str]:
        go_on = asyncio.Event()

        async def handle(_job: dict[str, Any]) -> dict[str, Any]:
            await go_on.wait()
            return {}

        jobs = table(handle, max_held_bytes=250)
        body = b'{"input": {"prompt": "' + b"x" * 77 + b'"}}'
        statuses: list[str] = [jobs.submit(posted(name, body)).status for name in ("a", "b")]
        with pytest.raises(QueueFull):
            jobs.submit(posted("c", body))
        go_on.set()
        await finished(jobs, posted("b", body))
        return statuses, (await finished(jobs, posted("c", body))).status

    assert asyncio.run(story()) == (["IN_PROGRESS", "IN_QUEUE"], "COMPLETED")


def test_background_work_returns_or_raises_where_its_result_is_asked_for() -> None:
    assert run_in_background(lambda: 7).result(5) == 7
    with pytest.raises(ValueError, match="no"):
        run_in_background(lambda: int("no")).result(5)


def test_a_local_run_leaves_its_own_pictures_alone_in_the_folder(tmp_path: Path) -> None:
    picture = "data:image/png;base64,iVBORw0KGgo="
    save_locally({"images": [picture, picture]}, tmp_path)
    (tmp_path / "mine.png").touch()
    save_locally({"images": [picture]}, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["001.png", "answer.json", "mine.png"]
