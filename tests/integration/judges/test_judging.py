"""Pictures made until enough are accepted, and pictures that are only judged: the whole worker on the stand-in."""

from __future__ import annotations

import asyncio
import base64
import time
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.integration.conftest import Worker
from tests.support.judge_models import brightness_model, face_settings
from tests.support.pictures import file, noise
from tests.support.webui_dir import running_host
from worker.images.inspect import decode_base64
from worker.judges.faces.enrolment import enrol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.telemetry.progress import Progress


ROUNDING = 0.0001
"""Of the scores that an answer tells."""


CHARACTERS = """
luca: {role: character, references: [faces/luca.png], consistency: {threshold: 0.999, against: best}}
enrolled: {role: character, consistency: {threshold: 0.999}}
outsider: {role: character, references: [../luca.png, faces/none.png]}
style: {role: style, prompt: {after: painted}}
"""


@pytest.fixture(scope="module")
def judging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker with every kind of judge."""
    folder = tmp_path_factory.mktemp("judging")
    more = {
        **face_settings(folder),
        "AESTHETIC_MODEL": str(brightness_model(folder / "aesthetic.onnx")),
        "JUDGES": "tests.support.judge_models:plugin",
        "RESULTS_DIR": str(folder / "kept"),
        "RESULT_RETENTION_S": "600",
        "PRESETS_FILE": str(folder / "presets.yaml"),
    }
    (folder / "presets.yaml").write_text(CHARACTERS, encoding="utf-8")
    with running_host(folder, more) as host:
        yield Worker(host)


def b64(image: Image.Image) -> str:
    return base64.b64encode(file(image)).decode()


def brightness(text: str) -> float:
    with Image.open(BytesIO(decode_base64(text))) as image:
        total: int = sum(image.convert("RGB").resize((1, 1), Image.Resampling.BOX).tobytes())
        return total / 3 / 255


def scores(worker: Worker, seeds: int = 8) -> list[float]:
    """The aesthetic scores of the pictures of these seeds, from 42 on."""
    answer = worker.run(accept={"count": seeds, "at_most": seeds, "judges": [{"name": "aesthetic"}]})
    assert [one["seed"] for one in answer["judged"]] == list(range(42, 42 + seeds))
    assert not any("quality" in one for one in answer["judged"])
    return [float(one["aesthetic"]["score"]) for one in answer["judged"]]


def test_pictures_are_made_seed_after_seed_until_enough_are_accepted(judging: Worker) -> None:
    found = scores(judging)
    least = sorted(found)[len(found) // 2] - ROUNDING
    accepted = [42 + place for place, score in enumerate(found) if score >= least][:2]
    answer = judging.run(accept={"count": 2, "at_most": 8, "judges": [{"name": "aesthetic", "least": least}]})
    assert answer["seeds"] == accepted
    assert (answer["accepted"], answer["made"]) == (2, accepted[-1] - 42 + 1)
    assert [one["accepted"] for one in answer["judged"]] == [seed in accepted for seed in range(42, accepted[-1] + 1)]
    assert answer["average"]["aesthetic"] == pytest.approx(sum(found[seed - 42] for seed in accepted) / 2, abs=0.001)
    assert [brightness(image) for image in answer["images"]] == pytest.approx(
        [found[seed - 42] for seed in accepted], abs=0.05
    )
    assert answer["info"]["all_seeds"] == accepted
    assert {check["action"] for check in answer["checks"]} <= {"accepted", "rejected"}
    assert len(answer["checks"]) == answer["made"]
    assert answer["warnings"] == []


def test_an_accepted_picture_is_the_one_that_its_seed_makes_alone(judging: Worker) -> None:
    answer = judging.run(accept={"count": 2, "quality": {"least": 0}})
    alone = judging.run(seed=answer["seeds"][1])
    assert alone["images"] == answer["images"][1:]


def test_seed_zero_is_a_seed_like_any_other(judging: Worker) -> None:
    assert judging.run(seed=0, accept={"count": 2, "at_most": 2, "quality": {"least": 0}})["seeds"] == [0, 1]


def test_a_seed_that_is_left_to_chance_is_drawn_once_and_counted_on(judging: Worker) -> None:
    answer = judging.run(seed=-1, accept={"count": 2, "at_most": 2, "quality": {"least": 0}})
    assert all("quality" in one for one in answer["judged"])
    first, second = answer["seeds"]
    assert first >= 0
    assert second == first + 1


def test_batches_are_judged_picture_by_picture_and_no_more_are_made_than_allowed(judging: Worker) -> None:
    accept = {"count": 5, "at_most": 5, "judges": [{"name": "aesthetic", "least": 2}]}
    judging.reset()
    answer = judging.run(batch_size=2, accept=accept)
    assert (answer["images"], answer["accepted"], answer["made"]) == ([], 0, 5)
    assert [one["seed"] for one in answer["judged"]] == [42, 43, 44, 45, 46]
    sent = sorted((body["seed"], body.get("batch_size", 1)) for body in judging.sent())  # two are prepared at once
    assert sent == [(42, 2), (44, 2), (46, 1)]
    assert all("at least 2 is asked for" in one["why"] for one in answer["judged"])
    assert any("0 of 5 pictures were accepted, 5 made" in said for said in answer["warnings"])


def test_too_few_can_be_an_error_that_keeps_the_accepted_pictures(judging: Worker) -> None:
    found = scores(judging, 3)
    accept = {"count": 2, "at_most": 3, "on_too_few": "error"}
    answer = judging.run(accept={**accept, "judges": [{"name": "aesthetic", "least": max(found) - ROUNDING}]})
    assert (answer["error_code"], answer["fault"], answer["retryable"]) == ("too_few_accepted", "client", False)
    details = answer["details"]
    assert (details["accepted"], details["made"], len(details["judged"])) == (1, 3, 3)
    assert len(details["kept"]) == 1


def test_faces_are_compared_with_references_that_the_job_brings(judging: Worker) -> None:
    wanted = judging.run(seed=45, width=128, height=128)["images"][0]
    accept = {"count": 1, "at_most": 8, "face": {"references": [wanted], "threshold": 0.999}}
    answer = judging.run(width=128, height=128, accept=accept)
    assert (answer.get("seeds"), answer.get("made")) == ([45], 4), answer.get("error")
    assert [one["face"]["faces"] for one in answer["judged"]] == [1, 1, 1, 1]
    assert answer["judged"][3]["face"]["similarity"] == pytest.approx(1, abs=0.001)
    assert answer["judged"][0]["why"].startswith("face 0.")


def test_faces_are_compared_with_those_of_a_character_as_its_preset_wants_it(judging: Worker) -> None:
    wanted = judging.run(seed=45, width=128, height=128)["images"][0]
    references = judging.host.settings.models_root / "faces/luca.png"
    references.parent.mkdir(exist_ok=True)
    references.write_bytes(decode_base64(wanted))
    accept = {"count": 1, "at_most": 8, "face": {"references": "luca"}}
    answer = judging.run(width=128, height=128, accept=accept)
    assert (answer.get("seeds"), answer.get("made")) == ([45], 4), answer.get("error")
    loose = judging.run(width=128, height=128, accept={**accept, "face": {"references": "luca", "threshold": 0}})
    assert loose["seeds"] == [42]
    references.write_bytes(decode_base64(loose["images"][0]))
    assert judging.run(width=128, height=128, accept=accept)["seeds"] == [42]


def test_a_characters_threshold_counts_for_references_that_were_enrolled(judging: Worker) -> None:
    judges = judging.host._parts.service._services.judges  # type: ignore[union-attr]
    wanted = judging.run(seed=45, width=128, height=128)["images"][0]
    with Image.open(BytesIO(decode_base64(wanted))) as image:
        references = enrol("enrolled", [("a.png", "0" * 64, image.convert("RGB"))], judges.analyser())
    place = judges.references_file("enrolled")
    place.parent.mkdir(exist_ok=True)
    place.write_text(references.to_json(), encoding="utf-8")
    accept = {"count": 1, "at_most": 8, "face": {"references": "enrolled"}}
    assert judging.run(width=128, height=128, accept=accept)["seeds"] == [45]


def test_a_characters_picture_that_is_not_there_is_told_and_none_outside_the_models_is_read(judging: Worker) -> None:
    (judging.host.settings.models_root.parent / "luca.png").write_bytes(file(noise(64, 64)))
    answer = judging.run(accept={"face": {"references": "outsider"}})
    assert (answer["error_code"], answer["fault"]) == ("settings_invalid", "worker")
    assert "'../luca.png' is neither a file below MODELS_DIR nor a picture in the store" in answer["error"]


def test_what_this_endpoint_can_not_judge_is_refused_before_any_picture(judging: Worker, worker: Worker) -> None:
    dark = b64(Image.new("RGB", (128, 128)))
    for on, accept, path, said in (
        (judging, {"face": {"references": "nobody"}}, "accept.face", "'nobody' is nobody who was enrolled here"),
        (judging, {"judges": [{"name": "beauty"}]}, "accept.judges[0].name", "there is aesthetic, lit_from_left"),
        (judging, {"face": {"references": [dark]}}, "accept.face.references[0]", "has no face"),
        (worker, {"face": {"references": "luca"}}, "accept.face", "FACE_DETECTOR and FACE_EMBEDDER are not set"),
    ):
        on.reset()
        answer = on.run(accept=accept)
        (problem,) = answer["details"]["problems"]
        assert (problem["path"], said in problem["message"]) == (path, True), problem
        assert on.sent() == []
        dry = on.run_job({"input": {"type": "validate", "job": {"prompt": "x", "accept": accept}}})
        assert dry["details"]["problems"][0]["path"] == f"job.{path}"


def test_a_rejected_picture_can_not_be_stored_without_a_store(judging: Worker) -> None:
    answer = judging.run(accept={"quality": {}}, output={"rejected": "store"})
    assert [problem["path"] for problem in answer["details"]["problems"]] == ["output.rejected"]


def test_accepted_pictures_are_streamed_as_they_are_and_no_others(judging: Worker) -> None:
    pieces: list[dict[str, Any]] = []

    async def take(piece: dict[str, Any]) -> None:
        pieces.append(piece)

    least = sorted(scores(judging))[4] - ROUNDING
    fields = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 42, "stream": True}
    accept = {"count": 2, "at_most": 8, "judges": [{"name": "aesthetic", "least": least}]}
    job = {"id": "streamed", "input": {**fields, "accept": accept}}
    answer = asyncio.run(judging.host.run(job, on_progress=judging.progress.append, on_piece=take))
    assert [piece["seed"] for piece in pieces] == answer["seeds"]
    assert [piece["image"] for piece in pieces] == answer["images"]
    assert answer["streamed"] == 2


def test_a_failure_after_an_accepted_picture_delivers_it_and_says_so(judging: Worker) -> None:
    def fail_from_now_on(progress: Progress) -> None:
        if progress.stage == "judge":
            judging.fault("oom", count=1000)

    fields = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 42}
    job = {"id": "failing", "input": {**fields, "accept": {"count": 9, "at_most": 9, "quality": {"least": 0}}}}
    answer = asyncio.run(judging.host.run(job, on_progress=fail_from_now_on))
    judging.reset()
    assert len(answer["images"]) == answer["accepted"] >= 1
    assert any("no more could be made" in said for said in answer["warnings"])


def test_a_wildcard_is_drawn_anew_for_each_seed(judging: Worker) -> None:
    accept = {"count": 6, "at_most": 6, "quality": {"least": 0}}
    answer = judging.run(prompt="a {red|green|blue|black|white} cat", wildcards=True, accept=accept)
    assert len(set(answer["info"]["all_prompts"])) > 1


def test_pictures_are_judged_without_being_made(judging: Worker) -> None:
    pictures = [b64(one) for one in (Image.new("RGB", (128, 128), "white"), noise(128, 128), Image.new("L", (9, 9)))]
    judging.reset()
    job = {
        "type": "judge",
        "images": pictures,
        "quality": {},
        "judges": [{"name": "aesthetic"}, {"name": "lit_from_left"}],
    }
    answer = judging.run_job({"input": job})
    assert judging.sent() == []
    assert [one["index"] for one in answer["judged"]] == [0, 1, 2]
    assert [one["why"] for one in answer["judged"]] == ["blank", "noise", "blank"]
    assert answer["judged"][0]["aesthetic"] == {"score": 1.0}
    assert answer["judged"][2]["lit_from_left"] == {}
    assert (answer["accepted"], answer["average"]) == (0, {})
    assert answer["judges"]["quality"] == "plain/1"
    assert answer["judges"]["aesthetic"].startswith("sha256:")


def test_a_picture_that_can_not_be_read_is_told_by_its_place(judging: Worker) -> None:
    images = [b64(Image.new("RGB", (64, 64))), base64.b64encode(b"no picture" * 9).decode()]
    answer = judging.run_job({"input": {"type": "judge", "images": images, "quality": {}}})
    assert [problem["path"] for problem in answer["details"]["problems"]] == ["images[1]"]


@pytest.mark.slow
def test_judging_leaves_the_gpu_busy(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("busy")
    more = {**face_settings(folder), "STANDIN_STEP_SECONDS": "0.05"}
    with running_host(folder, more) as host:
        worker = Worker(host)
        face = {"references": [b64(noise(12, 12).resize((256, 256)))], "threshold": 1}
        job = {"steps": 20, "width": 256, "height": 256}
        worker.run(**job, accept={"count": 1, "at_most": 1, "face": face, "quality": {}})
        gpu = host._parts.service.gpu  # type: ignore[union-attr]
        busy, began = gpu.busy_s, time.monotonic()
        answer = worker.run(**job, accept={"count": 16, "at_most": 20, "face": face, "quality": {}})
        share = (gpu.busy_s - busy) / (time.monotonic() - began)
    assert answer["made"] == 20
    assert share >= 0.98
