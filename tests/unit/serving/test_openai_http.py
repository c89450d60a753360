"""Parts of OpenAI's HTTP API: forms read as JSON, events, errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from worker.errors import DeliveryFailed, ImageRefused, InvalidInput, NoSpace, WorkerStopping, WrongResult
from worker.serving.gateway import JobError
from worker.serving.http_api.api_errors import RequestRefused, busy
from worker.serving.openai.events import JobEvents
from worker.serving.openai.form import fields_of
from worker.serving.openai.openai_errors import OpenAIError, error_body
from worker.telemetry.progress import Progress


def form(*pairs: tuple[str, str]) -> dict[str, Any]:
    def steps(name: str) -> tuple[str, ...]:
        return tuple(name.replace("]", "").split("["))

    return fields_of([(steps(name), text) for name, text in pairs])


def test_bracketed_names_are_lists_and_objects() -> None:
    assert form(("prompt", "a cat"), ("styles[]", "one"), ("styles[]", "two")) == {
        "prompt": "a cat",
        "styles": ["one", "two"],
    }
    assert form(("output[format]", "webp"), ("output[quality]", "80")) == {
        "output": {"format": "webp", "quality": "80"}
    }
    assert form(("image", "a"), ("image", "b")) == {"image": ["a", "b"]}


def test_columns_of_a_list_of_objects_become_objects() -> None:
    columns = [("loras[][name]", "a"), ("loras[][name]", "b"), ("loras[][scale]", "0.5"), ("loras[][scale]", "1")]
    assert form(*columns) == {"loras": [{"name": "a", "scale": "0.5"}, {"name": "b", "scale": "1"}]}


@pytest.mark.parametrize(
    "pairs",
    [
        [("loras[][name]", "a"), ("loras[][name]", "b"), ("loras[][scale]", "1")],
        [("loras[]", "a"), ("loras[][name]", "b")],
        [("loras", "a"), ("loras[name]", "b")],
        [("loras[]", "a"), ("loras[name]", "b")],
    ],
)
def test_objects_that_cannot_be_told_apart_are_refused(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(RequestRefused, match=r"loras: .* JSON text"):
        form(*pairs)


def test_json_text_is_read_but_never_in_a_prompt() -> None:
    read = form(("prompt", '{"a": 1}'), ("loras", '[{"name": "a"}]'), ("hires", "{broken"))
    assert read == {"prompt": '{"a": 1}', "loras": [{"name": "a"}], "hires": "{broken"}


def events_in(chunks: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(chunk.split(b"data: ", 1)[1]) for chunk in chunks]


def test_previews_are_limited_for_each_picture() -> None:
    events = JobEvents("image_generation", 1)
    told = [Progress("generate", preview=text, image=image) for text, image in (("a", 1), ("b", 1), ("c", 2))]
    chunks = [chunk for progress in told for chunk in events.of_progress(progress)]
    assert [(event["b64_json"], event["partial_image_index"]) for event in events_in(chunks)] == [("a", 0), ("c", 0)]
    assert not list(events.of_progress(Progress("generate")))


def test_pictures_that_were_not_streamed_come_with_the_answer() -> None:
    events = JobEvents("image_edit", 0)
    first = list(events.of_picture({"index": 1, "image": "/9j/b", "seed": 8, "width": 64, "height": 32}))
    again = list(events.of_picture({"index": 1, "image": "/9j/b"}))
    failed = list(events.of_picture({"index": 0, "error": {"error": "too large"}}))
    rest = list(events.of_answer({"data": [{"b64_json": "/9j/a", "seed": 7}, {"b64_json": "/9j/b", "seed": 8}]}))
    assert (again, failed) == ([], [])
    (streamed,), (late,) = events_in(first), events_in(rest)
    assert (streamed["type"], streamed["size"], streamed["seed"]) == ("image_edit.completed", "64x32", 8)
    assert (late["b64_json"], late["seed"], late["output_format"]) == ("/9j/a", 7, "jpeg")
    assert first[0].startswith(b"event: image_edit.completed\n")


@pytest.mark.parametrize(
    ("error", "status", "kind", "should_retry"),
    [
        (InvalidInput.at("openai_input.size", "is wrong"), 400, "invalid_request_error", "false"),
        (ImageRefused("no"), 400, "image_generation_user_error", "false"),
        (WrongResult("other seed"), 502, "server_error", "false"),
        (DeliveryFailed("no store"), 502, "server_error", "false"),
        (WorkerStopping("soon"), 503, "service_unavailable_error", "true"),
        (NoSpace("full"), 503, "service_unavailable_error", "true"),
    ],
    ids=lambda value: getattr(value, "code", ""),
)
def test_a_failure_that_may_have_cost_a_picture_is_not_to_be_sent_again(
    error: Any, status: int, kind: str, should_retry: str
) -> None:
    refusal = OpenAIError(JobError(error.to_answer()))
    told = error_body(refusal)["error"]
    assert (refusal.status, told["type"], told["code"]) == (status, kind, error.code)
    assert ("x-should-retry", should_retry) in refusal.headers


def test_an_error_names_the_field_without_the_envelope() -> None:
    problem = InvalidInput.at("openai_input.size", "is wrong")
    told = error_body(OpenAIError(JobError(problem.to_answer())))["error"]
    assert (told["param"], told["message"]) == ("size", "size: is wrong")


def test_other_refusals_have_the_same_shape() -> None:
    told = error_body(busy("too many jobs wait"))["error"]
    assert told == {"message": "too many jobs wait", "type": "rate_limit_error", "param": None, "code": None}
