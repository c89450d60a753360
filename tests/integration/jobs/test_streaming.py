"""Pictures told before their job is over: in order, as they will be in the answer, with their mistakes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter

from worker.contract.answers import StreamedPiece

if TYPE_CHECKING:
    from tests.integration.conftest import Worker

JOB = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 42}
SHAPE = TypeAdapter(StreamedPiece)


def streamed(worker: Worker, *, breaks: int = 0, **job: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run a job; return its pieces and its answer. The first `breaks` pieces can't be posted."""
    pieces: list[dict[str, Any]] = []
    broken = iter(range(breaks))

    async def take(piece: dict[str, Any]) -> None:
        if next(broken, None) is not None:
            raise ConnectionError("no")
        SHAPE.validate_python(piece, strict=True)
        pieces.append(piece)

    fields = {**JOB, "stream": True, **job}
    if "prompts" in job:
        del fields["prompt"]
    whole = {"id": "job-1", "input": fields}
    answer = asyncio.run(worker.host.run(whole, on_progress=lambda _: None, on_piece=take))
    return pieces, answer


def test_each_batch_is_told_as_it_is_made_and_the_answer_is_what_it_is_without(worker: Worker) -> None:
    plain = worker.run(batch_size=2, n_iter=3)
    worker.reset()
    pieces, answer = streamed(worker, batch_size=2, n_iter=3)
    assert [body["seed"] for body in worker.sent()] == [42, 44, 46]
    assert [piece["index"] for piece in pieces] == [0, 1, 2, 3, 4, 5]
    assert [piece["seed"] for piece in pieces] == answer["seeds"] == plain["seeds"]
    assert [piece["image"] for piece in pieces] == answer["images"] == plain["images"]
    assert (answer["streamed"], answer["info"]["all_seeds"]) == (6, plain["info"]["all_seeds"])
    assert answer["info"]["infotexts"] == plain["info"]["infotexts"]
    assert "parts" not in answer


def test_variations_are_the_same_pictures(worker: Worker) -> None:
    changes: dict[str, Any] = {"n_iter": 3, "subseed": 9, "subseed_strength": 0.4}
    plain = worker.run(**changes)
    pieces, answer = streamed(worker, **changes)
    assert [piece["image"] for piece in pieces] == answer["images"] == plain["images"]
    assert answer["info"]["all_subseeds"] == plain["info"]["all_subseeds"]


def test_a_prompt_that_fails_is_told_and_the_places_of_the_others_hold(worker: Worker) -> None:
    prompts = [{"prompt": "a", "n_iter": 2}, "b <lora:nope:1>", "c"]
    pieces, answer = streamed(worker, prompts=prompts)
    assert [(piece["path"], piece.get("index")) for piece in pieces] == [
        ("prompts[0]", 0),
        ("prompts[0]", 1),
        ("prompts[1]", None),
        ("prompts[2]", 2),
    ]
    assert pieces[2]["error"]["error_code"] == answer["parts"][1]["error"]["error_code"]
    assert [part["images"] for part in answer["parts"]] == [[0, 1], [], [2]]
    assert [piece["image"] for piece in pieces if "image" in piece] == answer["images"]


def test_a_job_that_fails_on_the_way_says_how_much_was_told(worker: Worker) -> None:
    worker.fault("nan", after=1)
    pieces, answer = streamed(worker, n_iter=3)
    assert answer["error_code"] == "nan_image"
    assert (len(pieces), answer["details"]["streamed"]) == (1, 1)


def test_a_prompt_that_fails_half_way_keeps_what_was_told_of_it(worker: Worker) -> None:
    worker.fault("nan", after=1)
    pieces, answer = streamed(worker, prompts=[{"prompt": "a", "n_iter": 3}, "b"])
    assert [piece.get("index") for piece in pieces] == [0, None]
    assert [part["images"] for part in answer["parts"]] == [[0]]
    assert answer["parts"][0]["error"]["error_code"] == "nan_image"
    assert [piece["image"] for piece in pieces if "image" in piece] == answer["images"]


def test_pictures_can_go_to_the_stream_alone(worker: Worker) -> None:
    pieces, answer = streamed(worker, n_iter=2, output={"delivery": "none"})
    assert (len(pieces), answer["images"], answer["streamed"]) == (2, [], 2)
    assert all(piece["image"] for piece in pieces)


def test_each_cell_of_a_plot_is_told_as_it_is_made(worker: Worker) -> None:
    pieces, answer = streamed(worker, plot={"x": {"field": "steps", "values": [1, 2]}}, n_iter=2)
    assert [piece["path"] for piece in pieces] == ["plot[x=0]", "plot[x=0]", "plot[x=1]", "plot[x=1]"]
    assert [piece["image"] for piece in pieces] == answer["images"]


def test_a_piece_that_can_not_be_posted_costs_itself_alone(worker: Worker) -> None:
    pieces, answer = streamed(worker, n_iter=3, breaks=1)
    assert [piece["index"] for piece in pieces] == [1, 2]
    assert (answer["streamed"], len(answer["images"])) == (2, 3)
    assert "1 pieces could not be streamed" in answer["warnings"]


def test_who_does_not_ask_is_told_nothing_before(worker: Worker) -> None:
    pieces, answer = streamed(worker, n_iter=2, stream=False)
    assert (pieces, len(worker.sent())) == ([], 1)
    assert "streamed" not in answer


def test_a_cancelled_job_tells_nothing_more(worker: Worker) -> None:
    pieces: list[dict[str, Any]] = []

    async def story() -> int:
        first = asyncio.Event()

        async def take(piece: dict[str, Any]) -> None:
            pieces.append(piece)
            first.set()

        job = {"id": "job-1", "input": {**JOB, "steps": 20, "stream": True, "n_iter": 10}}
        running = asyncio.ensure_future(worker.host.run(job, on_progress=lambda _: None, on_piece=take))
        await first.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return len(pieces)

    worker.fault("slow-step", count=10, seconds=0.02)
    at_the_end = asyncio.run(story())
    assert 1 <= at_the_end == len(pieces) < 10
