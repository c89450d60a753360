"""A1111's API in its pure parts: options of a client, types of a body, shapes of answers, progress, errors."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import Request

from worker.errors import DeadlineExceeded, InvalidInput, ModelNotFound, OutOfMemory, Problem
from worker.serving.gateway import JobError, JobSnapshot
from worker.serving.http_api.api_errors import RequestRefused
from worker.serving.sdapi import client_options, shapes
from worker.serving.sdapi.clients import ClientJob, ClientRegistry
from worker.serving.sdapi.sdapi_errors import WebUIJobError, error_body
from worker.serving.sdapi.sdapi_progress import idle_progress, job_progress
from worker.telemetry.progress import Progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.common.interruption import Wish
    from worker.serving.gateway import JobPhase

MODELS: list[dict[str, Any]] = [
    {"title": "a.safetensors [58e088dedc]", "model_name": "a", "hash": "58e088dedc", "sha256": "58e088dedc00"},
    {"title": "folder/b.safetensors", "model_name": "folder_b", "hash": None, "sha256": None},
]
OWN: dict[str, Any] = {
    "sd_model_checkpoint": "a.safetensors",
    "samples_format": None,
    "eta_noise_seed_delta": 0,
    "samples_save": False,
}


@dataclass
class Job:
    """A job at one moment."""

    state: JobSnapshot
    id: str = "job"
    cancelled: list[bool] = field(default_factory=list)
    wishes: list[Wish] = field(default_factory=list)
    can_skip: bool = True

    def snapshot(self) -> JobSnapshot:
        return self.state

    async def events(self) -> AsyncIterator[Progress]:
        return
        yield

    async def result(self) -> Any:
        return {}

    async def cancel(self) -> None:
        self.cancelled.append(True)

    async def interrupt(self, wish: Wish) -> bool:
        self.wishes.append(wish)
        return self.can_skip or wish == "interrupt"


# Options


@pytest.mark.parametrize(
    "name",
    ["a.safetensors [58e088dedc]", "a.safetensors", "a", "58e088dedc", "58E088DEDC", "58e088dedc00"],
)
def test_a_model_is_known_by_every_name_that_clients_use(name: str) -> None:
    assert client_options.model_row(name, MODELS) is MODELS[0]


@pytest.mark.parametrize("name", ["folder/b.safetensors", "folder\\b.safetensors", "folder_b", "folder/b"])
def test_a_model_in_a_folder_is_known_with_either_slash(name: str) -> None:
    assert client_options.model_row(name, MODELS) is MODELS[1]


@pytest.mark.parametrize("name", ["", None, 5, "A.SAFETENSORS", "b", "None"])
def test_what_names_no_model_finds_none(name: object) -> None:
    assert client_options.model_row(name, MODELS) is None


def test_the_options_that_are_shown_name_a_title_and_a_format() -> None:
    seen = client_options.visible_options(OWN, {}, MODELS)
    assert (seen["sd_model_checkpoint"], seen["samples_format"]) == (MODELS[0]["title"], "png")
    assert seen["sd_checkpoint_hash"] == "58e088dedc00"
    chosen = client_options.visible_options(OWN, {"sd_model_checkpoint": "folder_b"}, MODELS)
    assert (chosen["sd_model_checkpoint"], chosen["sd_checkpoint_hash"]) == (MODELS[1]["title"], "")
    nowhere = client_options.visible_options({**OWN, "sd_model_checkpoint": None}, {}, MODELS)
    assert nowhere["sd_model_checkpoint"] == MODELS[0]["title"]


def test_a_whole_dump_posted_back_changes_nothing() -> None:
    remembered = {"sd_model_checkpoint": "folder_b"}
    changes = client_options.option_changes(
        client_options.visible_options(OWN, remembered, MODELS), OWN, remembered, MODELS
    )
    assert (changes.applied_to(remembered), changes.warnings) == (remembered, [])


def test_a_changed_option_is_remembered_and_one_set_back_forgotten() -> None:
    changes = client_options.option_changes({"eta_noise_seed_delta": 31337}, OWN, {}, MODELS)
    remembered = changes.applied_to({})
    assert remembered == {"eta_noise_seed_delta": 31337}
    back = client_options.option_changes({"eta_noise_seed_delta": 0}, OWN, remembered, MODELS)
    assert back.applied_to(remembered) == {}
    for nothing in (None, ""):
        forgotten = client_options.option_changes({"eta_noise_seed_delta": nothing}, OWN, remembered, MODELS)
        assert forgotten.applied_to(remembered) == {}


def test_options_that_no_job_may_override_are_named_but_not_by_the_hundred() -> None:
    changes = client_options.option_changes({"samples_save": True, "eta_noise_seed_delta": 0}, OWN, {}, MODELS)
    assert changes.remembered == {}
    assert "samples_save" in changes.warnings[0]
    many = client_options.option_changes({f"option_{number}": 1 for number in range(200)}, OWN, {}, MODELS)
    assert len(many.warnings[0]) < 400
    assert "190 more" in many.warnings[0]


def test_remembered_options_give_way_to_what_a_body_says() -> None:
    remembered = {"sd_model_checkpoint": "a", "CLIP_stop_at_last_layers": 2, "eta_noise_seed_delta": 1}
    sent = client_options.with_remembered({"prompt": "a cat"}, remembered)
    assert sent["override_settings"] == remembered
    sent = client_options.with_remembered({"override_settings": {"sd_model_checkpoint": "b", "sd_vae": ""}}, remembered)
    assert sent["override_settings"] == {**remembered, "sd_model_checkpoint": "b"}
    sent = client_options.with_remembered({"checkpoint": "b", "clip_skip": 1, "override_settings": None}, remembered)
    assert sent["override_settings"] == {"eta_noise_seed_delta": 1}
    wrong = {"override_settings": "no object"}
    assert client_options.with_remembered(wrong, remembered) == wrong


def test_settings_stay_after_a_job_that_says_so() -> None:
    given = {"sd_model_checkpoint": "a", "samples_save": True, "sd_vae": ""}
    body = {"override_settings": given, "override_settings_restore_afterwards": False}
    assert client_options.kept_afterwards(body) == {"sd_model_checkpoint": "a"}
    assert client_options.kept_afterwards({"override_settings": given}) == {}


@pytest.mark.parametrize(
    ("remembered", "is_unlisted"),
    [
        ({"sd_model_checkpoint": "a"}, False),
        ({"sd_model_checkpoint": "c"}, True),
        ({"sd_vae": "Automatic"}, False),
        ({"sd_vae": "fine.pt"}, False),
        ({"sd_vae": "nowhere.pt"}, True),
        ({"eta_noise_seed_delta": 1}, False),
    ],
)
def test_only_models_that_are_not_listed_need_a_dry_run(remembered: dict[str, Any], *, is_unlisted: bool) -> None:
    changes = client_options.OptionChanges(remembered)
    assert client_options.unlisted(changes, MODELS, [{"model_name": "fine.pt"}]) is is_unlisted


# Bodies and answers


def test_pictures_are_asked_for_inline_without_touching_what_the_body_says() -> None:
    assert shapes.with_inline_pictures({})["output"] == {"delivery": "base64"}
    told = shapes.with_inline_pictures({"output": {"format": "jpeg"}})
    assert told["output"] == {"delivery": "base64", "format": "jpeg"}
    wrong = {"output": "jpeg"}
    assert shapes.with_inline_pictures(wrong) == wrong


def test_an_answer_has_a1111s_three_keys_with_info_as_text() -> None:
    job = {"images": ["aaaa"], "parameters": {"steps": 20}, "info": {"seed": 1, "sd_model_hash": None}}
    body = {"prompt": "é", "seed": -1, "url": "x", "auth": "secret", "init_images": ["…"], "save_images": True}
    answer = shapes.picture_answer(job, body)
    assert list(answer) == ["images", "parameters", "info"]
    assert json.loads(answer["info"]) == {"seed": 1, "sd_model_hash": ""}
    echo = answer["parameters"]
    assert (echo["batch_size"], echo["n_iter"], echo["steps"], echo["seed"]) == (1, 1, 20, -1)
    assert (echo["init_images"], echo["save_images"]) == (None, False)
    assert not {"url", "auth"} & echo.keys()
    assert shapes.picture_answer(job, {"send_images": False})["images"] == []
    nothing = shapes.picture_answer({}, {})
    assert nothing["images"] == []
    assert json.loads(nothing["info"]).items() >= {"seed": -1, "all_seeds": [], "infotexts": []}.items()
    assert nothing["parameters"].items() >= {"batch_size": 1, "n_iter": 1, "save_images": False}.items()


def test_warnings_are_one_ascii_header_of_bounded_length() -> None:
    assert shapes.warnings_header([]) == {}
    (text,) = shapes.warnings_header(["größer", 'a "quoted" one\n']).values()
    assert text.isascii()
    assert "\n" not in text
    assert json.loads(text) == ["größer", 'a "quoted" one\n']
    (long,) = shapes.warnings_header(["x" * 500] * 100).values()
    assert len(long) < 4200
    assert json.loads(long)[-1].endswith(" more")


# Progress


def test_idle_is_exactly_zero() -> None:
    idle = idle_progress()
    assert (idle["progress"], idle["eta_relative"], idle["current_image"], idle["textinfo"]) == (0.0, 0.0, None, None)
    assert idle["state"]["job"] == ""
    assert not any(idle["state"][name] for name in ("job_count", "job_no", "sampling_step", "skipped", "interrupted"))


def test_a_job_that_waits_or_runs_is_never_zero_nor_one() -> None:
    waiting = job_progress(ClientJob(Job(JobSnapshot("queued")), batches=2), with_image=True)
    assert (waiting["progress"], waiting["state"]["job"], waiting["state"]["job_count"]) == (
        0.01,
        "Batch 1 out of 2",
        2,
    )
    done = JobSnapshot("running", Progress("deliver", 100.0))
    assert job_progress(ClientJob(Job(done)), with_image=True)["progress"] == 0.99


def test_progress_counts_batches_and_steps() -> None:
    snapshot = JobSnapshot("running", Progress("generate", 55.0, step=3, steps=20, eta_s=4.5, image=5, images=6))
    job = ClientJob(Job(snapshot), batches=3, batch_size=2, preview="abcd")
    told = job_progress(job, with_image=True)
    assert (told["progress"], told["eta_relative"], told["current_image"]) == (0.55, 4.5, "abcd")
    state = told["state"]
    assert (state["job"], state["job_no"], state["sampling_step"], state["sampling_steps"]) == (
        "Batch 3 out of 3",
        2,
        3,
        20,
    )
    assert job_progress(job, with_image=False)["current_image"] is None
    assert told.keys() == idle_progress().keys()
    assert state.keys() == idle_progress()["state"].keys()


@pytest.mark.parametrize(
    ("can_skip", "image", "phase", "wishes"),
    [
        (True, 1, "running", ["skip"]),
        (True, 2, "running", ["skip"]),
        (False, 1, "running", ["skip"]),
        (False, 2, "running", ["skip", "interrupt"]),
        (False, 2, "queued", ["skip"]),
    ],
)
def test_a_batch_that_can_not_be_skipped_is_interrupted_where_it_is_the_last(
    can_skip: bool,  # noqa: FBT001 - a case's part
    image: int,
    phase: JobPhase,
    wishes: list[Wish],
) -> None:
    job = Job(JobSnapshot(phase, Progress("generate", 55.0, image=image, images=2)), can_skip=can_skip)
    watched = ClientJob(job, batches=2)
    asyncio.run(watched.skip())
    assert job.wishes == wishes
    assert job_progress(watched, with_image=False)["state"]["skipped"]
    job.state = JobSnapshot("running", Progress("generate", 60.0, image=3 - image, images=2))
    assert not job_progress(watched, with_image=False)["state"]["skipped"]


# Clients


def request_of(address: str = "127.0.0.1", **headers: str) -> Request:
    pairs = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": pairs, "client": (address, 1), "query_string": b""})


def test_a_client_is_its_credential_and_its_address_not_its_connection_or_program() -> None:
    clients = ClientRegistry()
    me = clients.of(request_of(authorization="Basic bWU6a2V5"))
    assert clients.of(request_of(authorization="Basic bWU6a2V5", user_agent="another")) is me
    assert clients.of(request_of(authorization="Basic eW91OmtleQ==")) is not me
    assert clients.of(request_of("10.0.0.7", authorization="Basic bWU6a2V5")) is not me
    assert clients.of(request_of(authorization="Basic bWU6a2V5", x_forwarded_for="1.2.3.4")) is not me


def test_quiet_clients_are_forgotten_but_none_with_a_job() -> None:
    clients = ClientRegistry(max_clients=2)
    busy, quiet = clients.of(request_of("1")), clients.of(request_of("2"))
    busy.jobs.append(ClientJob(Job(JobSnapshot("running"))))
    quiet.options["eta_noise_seed_delta"] = 1
    clients.of(request_of("3"))
    assert clients.of(request_of("1")) is busy
    assert clients.of(request_of("2")).options == {}


# Errors


def test_mistakes_are_placed_where_the_client_wrote_them() -> None:
    error = InvalidInput([Problem("payload.steps", "must be a number"), Problem("payload.sampler_name", "no", "Euler")])
    body = error_body(WebUIJobError(JobError(error.to_answer())))
    assert body["detail"] == "steps: must be a number; sampler_name: no (did you mean 'Euler'?)"
    assert [problem["path"] for problem in body["problems"]] == ["steps", "sampler_name"]
    assert next(iter(body)) == "detail"
    placed = WebUIJobError(JobError(InvalidInput.at("payload.image", "is broken").to_answer()), field="imageList[2]")
    assert placed.message == "imageList[2].image: is broken"


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (InvalidInput.at("steps", "is wrong"), 422, "HTTPException"),
        (ModelNotFound("there is no such model"), 404, "HTTPException"),
        (OutOfMemory("CUDA out of memory"), 413, "OutOfMemoryError"),
        (DeadlineExceeded("took too long"), 504, "HTTPException"),
    ],
)
def test_every_failure_has_a_status_and_a_sentence(error: Any, status: int, name: str) -> None:
    refusal = WebUIJobError(JobError(error.to_answer()))
    body = error_body(refusal)
    assert (refusal.status, body["error"]) == (status, name)
    assert isinstance(body["detail"], str)
    assert body["detail"] not in {"", "Not Found"}
    assert not {"images", "info"} & body.keys()


def test_a1111s_bare_words_are_for_unknown_paths_and_methods_alone() -> None:
    assert error_body(RequestRefused(404, "there is no such path")) == {"detail": "Not Found"}
    assert error_body(RequestRefused(405, "this path wants another method")) == {"detail": "Method Not Allowed"}
    busy = error_body(RequestRefused(503, "the worker is starting or stopping"))
    assert busy["detail"] == "the worker is starting or stopping"
