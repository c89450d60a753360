"""Extensions of a job against those of the running WebUI: none is silently left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from worker.contract.parse.job_parser import parse_job
from worker.contract.rules.sizes import Size
from worker.webui.names.catalog import Baseline, Catalog, Checkpoint, Upscaler, Vae
from worker.webui.names.name_resolver import Chosen
from worker.webui.names.samplers import Sampler, SamplerTable, Scheduler
from worker.webui.request import body
from worker.webui.request.body import Request, Start
from worker.webui.request.extension_units import attach, control_model, control_module, detector

MODEL = Checkpoint("m", "m.safetensors [0123456789]", "/models/m.safetensors", "0123456789")
NAMES = SamplerTable([Sampler("Euler"), Sampler("Euler a")], [Scheduler("karras", "Karras")])
CATALOG = Catalog(
    NAMES,
    checkpoints=(MODEL,),
    vaes=(Vae("v.pt", "/v/v.pt"),),
    upscalers=(Upscaler("Lanczos"), Upscaler("Nearest")),
    scripts=frozenset({"controlnet", "adetailer", "tiled diffusion", "tiled vae"}),
    img2img_scripts=frozenset({"controlnet", "adetailer", "tiled diffusion", "tiled vae", "ultimate sd upscale"}),
    control_models=("Canny_v11 [e3b0c442]", "depth"),
    control_modules=("none", "canny", "reference_only"),
    control_labels={"None": "none", "Canny (edges)": "canny"},
    control_units=2,
    detectors=("face_yolov8n.pt", "person_yolov8n.pt"),
)
BARE = Catalog(NAMES, checkpoints=(MODEL,))
UNIT = {"module": "canny", "model": "canny_v11", "image": "key:a.png"}


def attached(catalog: Catalog = CATALOG, **fields: Any) -> tuple[Request, dict[str, tuple[str, str | None]]]:
    """Return the request with its extensions, and the mistakes by their place: message and suggestion."""
    job: Any = parse_job({"prompt": "a cat", **fields})
    chosen, baseline = Chosen(MODEL), Baseline()
    if job.kind == "txt2img":
        request = body.txt2img(job, chosen, NAMES, seed=5, batches=(1, 1), baseline=baseline)
    else:
        start = Start(("AAAA",), Size(64, 96))
        request = body.img2img(job, chosen, NAMES, seed=5, batches=(1, 1), baseline=baseline, start=start)
    made, problems = attach(request, job, catalog, None, {})
    return made, {problem.path: (problem.message, problem.suggestion) for problem in problems}


def test_what_is_asked_for_is_attached_under_the_webuis_names() -> None:
    made, problems = attached(
        controlnet=[{**UNIT, "module": "Canny (edges)"}],
        adetailer=[{"model": "Face_YOLOv8n.PT", "checkpoint": "M", "vae": "V", "sampler": "euler_a"}],
        tiled_diffusion={"upscaler": "lanczos"},
        tiled_vae={"color_fix": True},
    )
    assert problems == {}
    scripts = made.body["alwayson_scripts"]
    assert set(scripts) == {"controlnet", "ADetailer", "Tiled Diffusion", "Tiled VAE"}
    unit = scripts["controlnet"]["args"][0]
    assert (unit["module"], unit["model"]) == ("canny", "Canny_v11 [e3b0c442]")
    passed = scripts["ADetailer"]["args"][2]
    assert (passed["ad_model"], passed["ad_checkpoint"]) == ("face_yolov8n.pt", MODEL.title)
    assert (passed["ad_vae"], passed["ad_sampler"]) == ("v.pt", "Euler a")
    assert scripts["Tiled Diffusion"]["args"][10] == "Lanczos"
    assert made.expect.extras["ADetailer model"] == "face_yolov8n.pt"


@pytest.mark.parametrize(
    ("fields", "path", "what"),
    [
        ({"controlnet": [UNIT]}, "controlnet", "controlnet"),
        ({"adetailer": [{"model": "face_yolov8n.pt"}]}, "adetailer", "adetailer"),
        ({"tiled_diffusion": {"method": "MultiDiffusion"}}, "tiled_diffusion", "licence"),
        ({"tiled_vae": {"color_fix": True}}, "tiled_vae", "licence"),
        (
            {"type": "img2img", "init_images": ["key:a.png"], "ultimate_upscale": {"scale": 2}},
            "ultimate_upscale",
            "Ulti",
        ),
    ],
)
def test_an_extension_that_is_not_installed_is_a_mistake(fields: dict[str, Any], path: str, what: str) -> None:
    made, problems = attached(BARE, **fields)
    assert list(problems) == [path]
    assert "is not installed" in problems[path][0]
    assert what in problems[path][0]
    assert "alwayson_scripts" not in made.body


@pytest.mark.parametrize(
    "fields",
    [
        {"controlnet": [{**UNIT, "enabled": False}]},
        {"adetailer": [{"model": "nobody.pt", "enabled": False}]},
        {"tiled_diffusion": {"enabled": False, "method": "MultiDiffusion"}},
        {"tiled_vae": {"enabled": False, "color_fix": True}},
    ],
)
def test_what_is_switched_off_needs_no_extension(fields: dict[str, Any]) -> None:
    made, problems = attached(BARE, **fields)
    assert problems == {}
    assert "alwayson_scripts" not in made.body


def test_more_units_than_the_webui_runs_are_a_mistake() -> None:
    assert attached(controlnet=[UNIT] * 2)[1] == {}
    _, problems = attached(controlnet=[UNIT] * 3)
    assert problems["controlnet"][0] == "has 3 units; this worker's WebUI runs 2 and drops the rest"
    assert attached(controlnet=[UNIT, {**UNIT, "enabled": False}, UNIT])[1] == {}


@pytest.mark.parametrize(("hires", "maps"), [({}, 2), ({"enable_hr": True, "denoising_strength": 0.5}, 4)])
def test_each_unit_that_is_on_leaves_a_map_in_each_pass(hires: dict[str, Any], maps: int) -> None:
    made, _ = attached(controlnet=[UNIT, {**UNIT, "enabled": False}, UNIT], **hires)
    assert made.expect.maps == maps


def test_mistakes_of_a_unit_are_told_at_its_own_place_in_the_job() -> None:
    _, problems = attached(
        controlnet=[{**UNIT, "enabled": False}, {**UNIT, "module": "cany", "model": "Canny_v12"}],
        adetailer=[
            {"model": "face_yolov8n.pt", "checkpoint": "n", "vae": "w"},
            {"model": "fac_yolov8n.pt", "controlnet_model": "dept", "controlnet_module": "cany"},
        ],
        tiled_diffusion={"upscaler": "Lanzcos"},
    )
    assert set(problems) == {
        *("controlnet[1].module", "controlnet[1].model", "adetailer[0].checkpoint", "adetailer[0].vae"),
        *("adetailer[1].model", "adetailer[1].controlnet_model", "adetailer[1].controlnet_module"),
        "tiled_diffusion.upscaler",
    }
    assert problems["controlnet[1].module"][1] == "canny"
    assert problems["adetailer[1].model"][1] == "face_yolov8n.pt"


@pytest.mark.parametrize(
    ("wanted", "title", "suggestion"),
    [
        ("Canny_v11 [e3b0c442]", "Canny_v11 [e3b0c442]", None),
        ("canny_V11.safetensors", "Canny_v11 [e3b0c442]", None),
        ("canny_v11.pth", "Canny_v11 [e3b0c442]", None),
        ("canny_v11 [e3b0c442]", "Canny_v11 [e3b0c442]", None),
        ("canny_v11 [00000000]", None, "Canny_v11 [e3b0c442]"),
        ("depth", "depth", None),
        ("depth [12345678]", "depth", None),
        ("cany_v11", None, "Canny_v11"),
        ("zzz", None, None),
    ],
)
def test_a_control_model_is_found_by_its_name_and_not_with_another_hash(
    wanted: str, title: str | None, suggestion: str | None
) -> None:
    found, problems = control_model(wanted, CATALOG, "p")
    assert found == title
    assert [(problem.path, problem.suggestion) for problem in problems] == ([] if title else [("p", suggestion)])


def test_a_reference_unit_alone_needs_no_model() -> None:
    assert attached(controlnet=[{"module": "reference_only", "image": "key:a.png"}])[1] == {}
    assert control_module(None, CATALOG, "p") == (None, [])
    assert control_module("REFERENCE_ONLY", CATALOG, "p") == ("reference_only", [])


def test_a_detector_that_is_not_here_is_told_with_one_of_its_kind() -> None:
    assert detector("face_yolov8N.pt", CATALOG, "p") == ("face_yolov8n.pt", [])
    found, (problem,) = detector("mediapipe_face_full", CATALOG, "p")
    assert (found, problem.suggestion) == (None, "face_yolov8n.pt")
    assert "DETECTOR_DIR" in problem.message
    assert detector("hand_yolov9c.pt", CATALOG, "p")[1][0].suggestion is None


@pytest.mark.parametrize(("digits", "is_right"), [("0123456789" + "0" * 54, True), ("f" * 64, False), (None, True)])
def test_a_detailers_checkpoint_has_to_have_the_hash_that_the_job_says(digits: str | None, *, is_right: bool) -> None:
    checkpoint = {"name": "m", **({"sha256": digits} if digits else {})}
    _, problems = attached(adetailer=[{"model": "face_yolov8n.pt", "checkpoint": checkpoint}])
    assert list(problems) == ([] if is_right else ["adetailer[0].checkpoint"])


@pytest.mark.parametrize(
    ("tiles", "size"),
    [
        ({"width": 1536, "height": 1280}, Size(1536, 1280)),
        ({"width": 1536}, Size(1536, 1024)),
        ({"height": 1280}, Size(1024, 1280)),
        ({}, Size(64, 96)),
    ],
)
def test_tiled_diffusion_sets_the_size_of_a_picture_from_text(tiles: dict[str, int], size: Size) -> None:
    made, _ = attached(width=64, height=96, tiled_diffusion={"method": "MultiDiffusion", **tiles})
    assert made.expect.size == size


def test_the_size_that_an_extension_makes_of_a_start_picture_is_not_guessed() -> None:
    start: dict[str, Any] = {"type": "img2img", "init_images": ["key:a.png"]}
    assert attached(**start)[0].expect.size == Size(64, 96)
    assert attached(**start, tiled_diffusion={"method": "MultiDiffusion"})[0].expect.size is None
    by_scale, problems = attached(**start, ultimate_upscale={"scale": 2, "upscaler": "nearest"})
    assert (by_scale.expect.size, problems) == (None, {})
    assert (by_scale.body["script_name"], by_scale.body["script_args"][8]) == ("ultimate sd upscale", 1)
    by_size, _ = attached(**start, ultimate_upscale={"width": 512, "height": 768})
    assert by_size.expect.size == Size(512, 768)
    assert list(attached(**start, n_iter=2, ultimate_upscale={"scale": 2})[1]) == ["ultimate_upscale"]


@pytest.mark.parametrize(
    ("switch", "is_on"), [({"schedule_bias": 2}, True), ({"enabled": True}, True), ({"enabled": False}, False)]
)
def test_soft_inpainting_is_attached_unless_it_is_switched_off(switch: dict[str, Any], *, is_on: bool) -> None:
    catalog = replace(CATALOG, img2img_scripts=CATALOG.img2img_scripts | {"soft inpainting"})
    fields = {"init_images": ["key:a.png"], "mask": "key:m.png", "soft_inpainting": switch}
    made, problems = attached(catalog, **fields)
    assert problems == {}
    assert ("soft inpainting" in made.body.get("alwayson_scripts", {})) is is_on


def test_a_picture_that_ultimate_upscale_makes_is_expected_tile_by_tile_and_without_maps() -> None:
    made, _ = attached(type="img2img", init_images=["key:a.png"], ultimate_upscale={"scale": 2})
    assert (made.expect.tiled, made.expect.maps, made.expect.size) == (True, 0, None)
