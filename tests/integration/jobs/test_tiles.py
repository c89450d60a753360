"""Pictures redrawn tile by tile, through the whole worker, on the stand-in."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image, ImageChops

from tests.integration.webui.test_extensions import all_installed, extended
from tests.support import pictures
from worker.images.layout.tile_grid import TileCanvas, cut, tile_grid

if TYPE_CHECKING:
    from tests.integration.conftest import Worker

__all__ = ["all_installed", "extended"]
TILES = {"size": 128, "overlap": 32, "denoising_strength": 0.4}


def encoded(image: Image.Image) -> str:
    return base64.b64encode(pictures.file(image)).decode()


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")


def largest_difference(one: Image.Image, other: Image.Image) -> int:
    return max(ImageChops.difference(one, other).tobytes())


def bodies(worker: Worker, path: str = "img2img") -> list[dict[str, Any]]:
    entries = requests.get(f"{worker.url}/standin/requests", timeout=10).json()
    return [entry["json"] for entry in entries if entry["path"] == f"/sdapi/v1/{path}"]


def upscale(worker: Worker, **fields: Any) -> dict[str, Any]:
    job = {"type": "upscale", "upscaler": "Lanczos", "scale": 2, "prompt": "a cat", "steps": 2, "seed": 7, **fields}
    return worker.run_job({"input": job})


def drawn_by_hand(worker: Worker, image: Image.Image, **job: Any) -> Image.Image:
    """The same tiles as one img2img job each."""
    grid = tile_grid(*image.size, size=128, overlap=32)
    canvas = TileCanvas(grid, "cosine")
    for index, corner in enumerate(grid.corners()):
        tile = encoded(cut(image, grid, corner))
        fields = {"prompt": "a cat", "steps": 2, "init_images": [tile], "denoising_strength": 0.4, **job}
        answer = worker.run_job({"input": {**fields, "seed": 7 + index}})
        canvas.add(opened(answer["images"][0]))
    return canvas.picture()


def test_an_upscaled_picture_is_redrawn_as_its_tiles_are_by_hand(worker: Worker) -> None:
    source = pictures.smooth(120, 100)
    answer = upscale(worker, image=encoded(source), tiles=TILES)
    plain = upscale(worker, image=encoded(source))
    made = opened(answer["images"][0])
    assert made.size == (240, 200)
    assert answer["applied"]["tiles"] == {
        "count": 6,
        "size": 128,
        "overlap": 32,
        "blend": "cosine",
        "denoising_strength": 0.4,
        "seeds": [7, 8, 9, 10, 11, 12],
    }
    assert answer["applied"]["upscalers"] == ["Lanczos"]
    assert answer["applied"]["checkpoint"] == "Deliberate_v6"
    assert answer["seeds"] == [7]
    expected = drawn_by_hand(worker, opened(plain["images"][0]))
    assert largest_difference(made, expected) == 0
    notes = Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))).info["parameters"]
    assert "Size: 240x200" in notes
    assert "Tiles: 6, Tile size: 128, Tile overlap: 32, Tile blend: cosine" in notes


def test_tiles_are_asked_for_in_batches_of_one_size(worker: Worker) -> None:
    upscale(worker, image=encoded(pictures.smooth(120, 100)), tiles={**TILES, "batch_size": 4})
    sent = bodies(worker)
    assert [(body["batch_size"], len(body["init_images"]), body["seed"]) for body in sent] == [(4, 4, 7), (2, 2, 11)]
    assert {(body["width"], body["height"]) for body in sent} == {(128, 128)}


@pytest.mark.parametrize("size", [(64, 64), (100, 90), (301, 77)])
def test_a_start_picture_of_any_size_is_redrawn_and_keeps_its_size(worker: Worker, size: tuple[int, int]) -> None:
    job = {"prompt": "a cat", "steps": 2, "seed": 7, "init_images": [encoded(pictures.smooth(*size))], "tiles": TILES}
    answer = worker.run_job({"input": job})
    assert opened(answer["images"][0]).size == size, answer
    assert answer["applied"]["size"] == {"width": size[0], "height": size[1]}


def test_without_denoising_the_result_is_the_plain_upscale(worker: Worker) -> None:
    source = encoded(pictures.noise(120, 100))
    answer = upscale(worker, image=source, tiles={**TILES, "denoising_strength": 0})
    plain = upscale(worker, image=source)
    assert largest_difference(opened(answer["images"][0]), opened(plain["images"][0])) <= 1
    assert bodies(worker) == []


def test_out_of_memory_halves_the_batch_and_keeps_the_seeds(worker: Worker) -> None:
    source = encoded(pictures.smooth(120, 100))
    whole = upscale(worker, image=source, tiles=TILES)
    worker.reset()
    worker.fault("oom", count=2, pixels=128 * 128 * 2)
    answer = upscale(worker, image=source, tiles=TILES)
    assert [len(body["init_images"]) for body in bodies(worker)] == [4, 2, 2, 2]
    assert answer["images"] == whole["images"]
    assert any("2 of these tiles at once" in warning for warning in answer["warnings"])


def test_out_of_memory_halves_the_tile_when_one_is_too_large(worker: Worker) -> None:
    source = encoded(pictures.smooth(300, 300))
    worker.fault("oom", count=20, pixels=300 * 300)
    answer = upscale(worker, image=source, tiles={**TILES, "size": 512, "overlap": 64})
    assert (answer["applied"]["tiles"]["size"], answer["applied"]["tiles"]["overlap"]) == (256, 32)
    assert opened(answer["images"][0]).size == (600, 600)
    assert any("tiles of 512" in warning for warning in answer["warnings"])


def test_the_fallback_takes_the_place_of_an_upscaler_without_weights(worker: Worker) -> None:
    job = {"image": encoded(pictures.smooth(64, 64)), "upscaler": "R-ESRGAN 4x+"}
    assert upscale(worker, **job)["details"]["problems"][0]["path"] == "upscaler"
    answer = upscale(worker, **job, fallback="Lanczos", tiles=TILES)
    assert answer["applied"]["upscalers"] == ["Lanczos"]
    assert any("R-ESRGAN 4x+" in warning and "Lanczos" in warning for warning in answer["warnings"])


def test_a_picture_without_a_prompt_is_redrawn_by_its_own_notes(worker: Worker) -> None:
    told = "Steps: 4, Sampler: Euler, Seed: 5, Model: Other_v1"
    notes = f"a red fox <lora:add_detail:0.6>\nNegative prompt: blurry\n{told}"
    source = base64.b64encode(pictures.png(96, 96, infotext=notes)).decode()
    job = {"type": "upscale", "image": source, "upscaler": "Lanczos", "tiles": TILES, "steps": 2}
    answer = worker.run_job({"input": job})
    assert bodies(worker)[0]["prompt"].startswith("a red fox")
    assert bodies(worker)[0]["negative_prompt"] == "blurry"
    assert answer["applied"]["checkpoint"] == "Other_v1"
    assert [lora["name"] for lora in answer["applied"]["loras"]] == ["add_detail"]


def test_the_refiner_of_the_tiles_is_named_where_it_is_wrong(worker: Worker) -> None:
    refiner = {"checkpoint": "Nobody_v9", "switch_at": 0.5}
    answer = upscale(worker, image=encoded(pictures.smooth(96, 96)), tiles={**TILES, "refiner": refiner})
    assert answer["details"]["problems"][0]["path"] == "tiles.refiner.checkpoint"
    assert bodies(worker, "extra-single-image") == []


def test_progress_is_told_by_tile(worker: Worker) -> None:
    upscale(worker, image=encoded(pictures.smooth(120, 100)), tiles={**TILES, "batch_size": 1}, steps=20)
    told = [progress for progress in worker.progress if progress.stage == "generate" and progress.images]
    assert all(progress.images == 6 for progress in told)


def test_a_wrong_tile_is_noticed(worker: Worker) -> None:
    worker.fault("wrong-size")
    answer = upscale(worker, image=encoded(pictures.smooth(120, 100)), tiles=TILES)
    assert answer["error_code"] == "wrong_result"


def test_a_dry_run_shows_the_upscaling_and_every_batch(worker: Worker) -> None:
    job = {"type": "upscale", "image": encoded(pictures.smooth(120, 100)), "upscaler": "Lanczos", "seed": 7}
    answer = worker.run_job({"input": {"type": "validate", "job": {**job, "prompt": "a", "tiles": TILES}}})
    made = [request["body"] for request in answer["requests"] if request["path"].endswith("img2img")]
    assert [(body["seed"], body["batch_size"]) for body in made] == [(7, 4), (11, 2)]
    assert answer["cost"]["pictures"] == 6


def test_each_tile_is_controlled_by_itself(all_installed: Worker) -> None:
    unit = {"module": "tile_resample", "model": "control_v11p_sd15_canny"}
    answer = upscale(all_installed, image=encoded(pictures.smooth(120, 100)), tiles={**TILES, "controlnet": [unit]})
    assert "error" not in answer, answer
    assert [len(body["init_images"]) for body in bodies(all_installed)] == [1] * 6


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"tiles": {"size": 128, "overlap": 64}}, "tiles"),
        ({"tiles": {"size": 130}}, "tiles.size"),
        ({"tiles": TILES, "denoising_strength": 0.7}, "tiles.denoising_strength"),
        ({"tiles": TILES, "n_iter": 2}, "tiles"),
        ({"tiles": TILES, "ultimate_upscale": {"scale": 2}}, "ultimate_upscale"),
        ({"tiles": {**TILES, "refiner": {"checkpoint": "Other_v1"}}}, "tiles.refiner.switch_at"),
    ],
)
def test_what_tiles_cannot_be_combined_with_is_a_mistake(worker: Worker, fields: dict[str, Any], path: str) -> None:
    job = {"prompt": "a cat", "steps": 2, "init_images": [encoded(pictures.smooth(96, 96))], **fields}
    answer = worker.run_job({"input": job})
    assert [problem["path"] for problem in answer["details"]["problems"]] == [path]


def test_sd_upscale_by_its_old_name_is_an_upscale_with_tiles(worker: Worker) -> None:
    job = {"prompt": "a cat", "steps": 2, "seed": 7, "width": 128, "height": 128, "denoising_strength": 0.4}
    script = {"script_name": "SD upscale", "script_args": [None, 32, "Lanczos", 2.0]}
    image = encoded(pictures.smooth(120, 100))
    answer = worker.run_job({"input": {**job, **script, "init_images": [image]}})
    assert answer["images"] == upscale(worker, image=image, tiles=TILES)["images"]


@pytest.mark.parametrize("kind", ["upscale", "img2img"])
def test_the_job_in_a_redrawn_pictures_facts_makes_it_again(worker: Worker, kind: str) -> None:
    image = encoded(pictures.smooth(120, 100))
    job: dict[str, Any] = {"prompt": "a cat", "steps": 2, "loras": ["add_detail"], "tiles": TILES}
    job |= {"type": "upscale", "image": image} if kind == "upscale" else {"init_images": [image]}
    answer = worker.run_job({"input": {**job, "output": {"metadata": True}}})
    (row,) = answer["pictures"]
    assert (row["seed"], row["prompt"], row["size"]) == (answer["seeds"][0], "a cat", answer["applied"]["size"])
    facts = row["metadata"]
    again = {**facts["job"], **{name: job[name] for name in facts["job_lacks"] if name in job}}
    if kind == "img2img":
        again["init_images"] = [image]
    assert worker.run_job({"input": again})["images"] == answer["images"]
