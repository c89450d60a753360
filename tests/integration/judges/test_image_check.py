"""What is done with pictures that an operator's check minds, by real inference; nothing of a refused one gets out."""

from __future__ import annotations

import asyncio
import base64
import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.integration.conftest import Worker
from tests.support.image_checks import red_classifier
from tests.support.pictures import file, png
from tests.support.webui_dir import running_host
from worker.errors import SettingsInvalid
from worker.images.inspect import decode_base64, inspect
from worker.judges.classifier import OnnxCheck, preparation
from worker.judges.loading import load_moderation
from worker.judges.moderation import ModerationFilter, ModerationJudge
from worker.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.images.formats.picture import Picture
    from worker.judges.moderation import Action

RED, GREEN, BLUE = (250, 10, 10), (10, 250, 10), (10, 10, 250)


def plain(colour: tuple[int, int, int]) -> Picture:
    return inspect(file(Image.new("RGB", (64, 48), colour)))


def b64(colour: tuple[int, int, int]) -> str:
    return base64.b64encode(file(Image.new("RGB", (64, 64), colour))).decode()


def mean(text: str) -> tuple[int, ...]:
    with Image.open(BytesIO(decode_base64(text))) as image:
        pixel: Any = image.convert("RGB").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
        return tuple(pixel)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return red_classifier(tmp_path_factory.mktemp("classifier") / "red")


# The classifier and the gate


def test_the_classifier_sees_what_is_there(model: Path) -> None:
    check = OnnxCheck(model)
    scores = {colour: check.look(Image.new("RGB", (100, 30), colour))["red"] for colour in (RED, GREEN, BLUE)}
    assert scores[RED] > 0.99
    assert max(scores[GREEN], scores[BLUE]) < 0.01


@pytest.mark.parametrize("action", ["flag", "blur", "refuse"])
def test_each_action_is_done_to_the_pictures_that_are_minded_and_to_no_others(model: Path, action: Action) -> None:
    striped = Image.new("RGB", (64, 64), RED)
    striped.paste((150, 0, 0), (0, 0, 20, 64))
    red, blue = inspect(file(striped)), plain(BLUE)
    minded, fine = ModerationFilter(ModerationJudge(OnnxCheck(model), ["red"], 0.5), action).apply([red, blue])
    assert (fine.picture, fine.label) == (blue, None)
    assert (minded.label, minded.picture is not None) == ("red", action != "refuse")
    assert minded.score > 0.99
    assert (minded.picture == red) == (action == "flag")


def test_nothing_can_be_read_in_a_blurred_picture_and_its_notes_stay(model: Path) -> None:
    picture = inspect(png(256, 256, infotext="a cat\nSteps: 1"))
    (judged,) = ModerationFilter(ModerationJudge(OnnxCheck(model), ["normal"], 0.5), "blur").apply([picture])
    assert judged.picture is not None
    assert (judged.picture.infotext, judged.picture.width, judged.picture.format) == (picture.infotext, 256, "png")
    with Image.open(BytesIO(judged.picture.data)) as image:
        assert len(image.convert("L").resize((256, 256)).tobytes()) == 256 * 256
        neighbours = [abs(image.getpixel((x, 100))[0] - image.getpixel((x + 1, 100))[0]) for x in range(255)]
    assert max(neighbours) <= 3


@pytest.mark.parametrize(
    ("config", "shape", "size"),
    [
        ({"size": {"height": 384, "width": 384}}, ["n", 3, None, None], (384, 384)),
        ({"size": {"shortest_edge": 256}}, ["n", 3, "h", "w"], (256, 256)),
        ({"size": 224}, [1, 3, 448, 448], (448, 448)),
        ({}, ["n", 3, "h", "w"], (224, 224)),
    ],
)
def test_pictures_are_prepared_by_the_classifiers_own_notes(
    config: dict[str, Any], shape: list[Any], size: tuple[int, int]
) -> None:
    how = preparation(config, shape)
    assert (how.width, how.height) == size


# A check that can't be had keeps the worker from starting


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"IMAGE_CHECK": "onnx"}, "needs IMAGE_CHECK_MODEL"),
        ({"IMAGE_CHECK": "onnx", "IMAGE_CHECK_MODEL": "nowhere.onnx"}, "can't be loaded"),
        ({"IMAGE_CHECK": "onnx", "IMAGE_CHECK_MODEL": __file__}, "can't be loaded"),
        ({"IMAGE_CHECK": "no.such.module:check"}, "can't be loaded: ModuleNotFoundError"),
        ({"IMAGE_CHECK": "tests.support.image_checks:nothing"}, "can't be loaded: AttributeError"),
        ({"IMAGE_CHECK": "tests.support.image_checks:plugin"}, "IMAGE_CHECK_LABELS='nsfw': the check knows green"),
    ],
)
def test_a_check_that_can_not_be_loaded_is_an_error_at_the_start(variables: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsInvalid, match=said):
        load_moderation(read_settings(variables))


def test_a_classifier_without_its_labels_is_refused(model: Path, tmp_path: Path) -> None:
    bare = tmp_path / "deep" / "model.onnx"
    bare.parent.mkdir()
    bare.write_bytes(model.read_bytes())
    with pytest.raises(SettingsInvalid, match="id2label"):
        OnnxCheck(bare)


def test_there_is_none_unless_it_is_asked_for() -> None:
    assert load_moderation(read_settings({})) is None
    assert load_moderation(read_settings({"IMAGE_CHECK": "off"})) is None


# The whole worker


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, model: Path, kept: Path) -> Iterator[Worker]:
    """A worker that refuses red pictures."""
    more = {"IMAGE_CHECK": "onnx", "IMAGE_CHECK_MODEL": str(model), "IMAGE_CHECK_LABELS": "red"}
    more |= {"LIVE_PREVIEWS": "cheap", "RESULTS_DIR": str(kept), "RESULT_RETENTION_S": "600"}
    with running_host(tmp_path_factory.mktemp("strict"), more) as host:
        yield Worker(host)


def again(worker: Worker, *colours: tuple[int, int, int], **job: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Have pictures of these colours made, as img2img all but leaves them; return the answer and what was streamed."""
    pieces: list[dict[str, Any]] = []

    async def take(piece: dict[str, Any]) -> None:
        pieces.append(piece)

    fields: dict[str, Any] = {
        "type": "img2img",
        "prompt": "a cat",
        "steps": 2,
        "seed": 5,
        "denoising_strength": 0.01,
        **job,
    }
    whole = {
        "id": f"job-{len(str(job))}-{len(colours)}",
        "input": {**fields, "init_images": [b64(one) for one in colours]},
    }
    answer = asyncio.run(worker.host.run(whole, on_progress=worker.progress.append, on_piece=take))
    return answer, pieces


def test_a_refused_picture_is_an_error_that_says_what_was_seen(strict: Worker) -> None:
    answer, _ = again(strict, RED)
    assert (answer["error_code"], answer["fault"], answer["retryable"]) == ("image_refused", "client", False)
    (check,) = answer["details"]["checks"]
    assert (check["action"], check["label"], check["seed"]) == ("refused", "red", 5)


def test_of_several_pictures_the_others_are_delivered(strict: Worker) -> None:
    answer, _ = again(strict, RED, BLUE)
    assert answer["seeds"] == [6]
    assert [mean(image)[2] > 200 for image in answer["images"]] == [True]
    assert [check["seed"] for check in answer["checks"]] == [5]
    assert any("refused by the image check" in said for said in answer["warnings"])


def test_where_every_picture_that_was_made_for_judging_is_refused_the_job_is(strict: Worker) -> None:
    answer, _ = again(strict, RED, accept={"count": 1, "at_most": 2, "quality": {"least": 0}})
    assert answer["error_code"] == "image_refused"
    assert [check["seed"] for check in answer["details"]["checks"]] == [5, 6]


def test_a_clean_job_says_that_nothing_was_seen(strict: Worker) -> None:
    assert again(strict, BLUE)[0]["checks"] == []


def test_a_larger_copy_is_checked_too(strict: Worker) -> None:
    answer = strict.run_job({"input": {"type": "upscale", "image": b64(RED), "scale": 2}})
    assert answer["error_code"] == "image_refused"
    answer = strict.run_job({"input": {"type": "upscale", "image": b64(BLUE), "scale": 2}})
    assert (len(answer["images"]), answer["checks"]) == (1, [])


def test_nothing_of_a_refused_picture_leaves_the_worker(strict: Worker, kept: Path) -> None:
    strict.reset()
    output = {"thumbnail": 32, "blurhash": True, "grid": True}
    answer, pieces = again(strict, RED, BLUE, GREEN, stream=True, live_previews=True, output=output)
    strict.host._parts.jobs.close()  # type: ignore[union-attr]
    assert [piece["index"] for piece in pieces] == [0, 1]
    assert [piece["image"] for piece in pieces] == answer["images"]
    assert not [told for told in strict.progress if told.preview]
    assert any("live_previews" in said for said in answer["warnings"])
    shown = [*answer["images"], *(preview["thumbnail"] for preview in answer["previews"]), answer["grid"]]
    assert len(shown) == 5
    assert all(mean(image)[0] < 100 for image in shown)
    files = [path for path in kept.rglob("*") if path.is_file()]
    assert files
    for path in files:
        told = json.loads(path.read_text())["answer"]
        assert all(mean(image)[0] < 100 for image in told["images"])


def test_an_operators_own_check_blurs_and_one_that_fails_lets_nothing_pass(
    tmp_path: Path,
) -> None:
    more = {"IMAGE_CHECK": "tests.support.image_checks:plugin", "IMAGE_CHECK_LABELS": "green"}
    with running_host(tmp_path, {**more, "IMAGE_CHECK_ACTION": "Blur"}) as host:
        worker = Worker(host)
        answer, pieces = again(worker, GREEN, stream=True)
        assert [check["action"] for check in answer["checks"]] == ["blurred"]
        assert [piece["image"] for piece in pieces] == answer["images"]
        fine, _ = again(worker, RED)
        assert fine["checks"] == []
        failed, pieces = again(worker, BLUE, stream=True)
        assert (failed["error_code"], failed["retryable"]) == ("image_check_failed", True)
        assert "images" not in failed
        assert not [piece for piece in pieces if "image" in piece]
        assert "out of order" not in json.dumps(failed)
