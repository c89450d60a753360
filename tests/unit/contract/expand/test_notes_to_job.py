"""A job made from a picture's notes: what they say is in it, and what it can't carry is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from worker.contract.accept import accept
from worker.contract.expand.from_infotext import Rebuilt, job_from
from worker.contract.expand.other_notes import read_other_notes
from worker.contract.types.job import Txt2Img
from worker.errors import InvalidInput
from worker.images.infotext import parse

HEAD = "a cat\nNegative prompt: bad\n"
BASE = "Steps: 4, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 64x64, Model: Deliberate_v6"


def rebuilt(fields: str, head: str = HEAD) -> Rebuilt:
    read = parse(f"{head}{BASE}{fields}, Version: v1.10.1")
    return job_from(read.prompt, read.negative_prompt, read.fields)


@pytest.mark.parametrize(
    ("said", "option", "value"),
    [
        ("Eta DDIM: 0.5", "eta_ddim", 0.5),
        ("SGM noise multiplier: True", "sgm_noise_multiplier", True),
        ("Discard penultimate sigma: True", "always_discard_next_to_last_sigma", True),
        ("Schedule rho: 3.0", "rho", 3.0),
        ("Schedule max sigma: 5.0", "sigma_max", 5.0),
        ("Noise Schedule: Zero Terminal SNR", "sd_noise_schedule", "Zero Terminal SNR"),
        ("Skip Early CFG: 0.5", "skip_early_cond", 0.5),
        ("Downcast alphas_cumprod: True", "use_downcasted_alpha_bar", True),
        ("Pad conds: True", "pad_cond_uncond", True),
        ("Old prompt editing timelines: True", "use_old_scheduling", True),
        ("VAE Decoder: TAESD", "sd_vae_decode_method", "TAESD"),
        ("Hires refiner: both passes", "hires_fix_refiner_pass", "both passes"),
        ("UniPC order: 2", "uni_pc_order", 2),
        ("Beta schedule alpha: 0.5", "beta_dist_alpha", 0.5),
        ("Face restoration: CodeFormer", "face_restoration_model", "CodeFormer"),
    ],
)
def test_each_field_of_the_webui_becomes_what_sets_it(said: str, option: str, value: Any) -> None:
    found = rebuilt(f", {said}")
    assert (found.lost, found.warnings) == ([], [])
    job = accept(found.job).job
    assert isinstance(job, Txt2Img)
    assert job.override_settings == {option: value}


def test_a_title_with_a_hash_stays_one_model() -> None:
    job = accept(rebuilt(", Refiner: Other_v1 [2521a557af], Refiner switch at: 0.8").job).job
    assert isinstance(job, Txt2Img)
    assert job.refiner_checkpoint is not None
    assert (job.refiner_checkpoint.name, job.refiner_checkpoint.sha256) == ("Other_v1", "2521a557af")


@pytest.mark.parametrize(
    ("said", "kind", "missing"),
    [
        (", Denoising strength: 0.6", "img2img", ["init_images"]),
        (", Denoising strength: 0.6, Mask blur: 4, Inpaint area: Only masked", "inpaint", ["init_images", "mask"]),
    ],
)
def test_a_picture_made_from_another_gives_a_job_that_asks_for_it(said: str, kind: str, missing: list[str]) -> None:
    found = rebuilt(said)
    assert (found.job["type"], found.lost) == (kind, missing)
    assert "init_images" in found.warnings[0]
    with pytest.raises(InvalidInput):
        accept(found.job)
    picture = "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAknRFWHRw"
    assert accept({**found.job, **dict.fromkeys(missing, picture), "init_images": [picture]}).job.kind == kind


def test_hires_fix_is_no_picture_to_start_from() -> None:
    found = rebuilt(", Denoising strength: 0.6, Hires upscale: 2, Hires upscaler: Latent")
    assert "type" not in found.job
    assert found.warnings == []


def test_adetailers_passes_are_whole_and_controlnets_lack_their_pictures() -> None:
    said = (
        ', ControlNet 0: "Module: canny, Model: x [d14c016b], Weight: 1, Pixel Perfect: True", '
        "ADetailer model: face_yolov8n.pt, ADetailer confidence: 0.3, ADetailer inpaint padding: 32, "
        "ADetailer model 2nd: hand_yolov8n.pt, ADetailer version: 24.1"
    )
    found = rebuilt(said)
    assert found.job["controlnet"] == [
        {"module": "canny", "model": "x [d14c016b]", "weight": "1", "pixel_perfect": "True"}
    ]
    assert found.lost == ["controlnet[0].image"]
    assert [unit["model"] for unit in found.job["adetailer"]] == ["face_yolov8n.pt", "hand_yolov8n.pt"]
    alone = accept({name: value for name, value in found.job.items() if name != "controlnet"}).job
    assert isinstance(alone, Txt2Img)
    assert [unit.confidence for unit in alone.adetailer or ()] == [0.3, None]


def test_what_no_job_can_carry_is_listed() -> None:
    found = rebuilt(", Dynamic thresholding enabled: True, Mimic scale: 7, Distilled CFG Scale: 3.5")
    assert found.lost == ["Dynamic thresholding enabled", "Mimic scale", "Distilled CFG Scale"]
    assert any("Forge" in warning for warning in found.warnings)
    assert any("Mimic scale" in warning for warning in found.warnings)
    assert rebuilt(", Steps: many").lost == ["Steps"]


@pytest.mark.parametrize("empty", ["", "None", "null", "undefined", "{}", "  \n", "[]"])
def test_a_text_that_says_nothing_is_no_prompt(empty: str) -> None:
    assert parse(empty).prompt == ""


@pytest.mark.parametrize(
    "text",
    [
        f"a girl Negative prompt: blurry {BASE}",
        f"a girl\nNegative prompt: blurry {BASE}",
        f"a girl Negative prompt: blurry\n{BASE}",
        f"a girl\r\nNegative prompt: blurry\r\n{BASE}",
        f'a girl\nNegative prompt: blurry\n{BASE}, Wildcard prompt: "a\nb", Version: v1.10.1',
        f"a girl\nNegative prompt: blurry\n{BASE}, Wildcard prompt: a\nb, Version: v1.10.1",
        f"a girl\nNegative prompt: blurry\n{BASE}\nTemplate: x {{a|b}}\nNegative Template: y",
    ],
)
def test_lost_and_stray_line_breaks_do_not_hide_the_fields(text: str) -> None:
    read = parse(text)
    assert (read.prompt, read.negative_prompt) == ("a girl", "blurry")
    assert [read.fields[name] for name in ("Steps", "Sampler", "Seed", "Model")] == ["4", "Euler", "5", "Deliberate_v6"]


SWARM = {"sui_image_params": {"prompt": "a cat", "negativeprompt": "bad", "model": "a/b_1.0", "seed": 3, "cfgscale": 7}}
FOOOCUS = {"prompt": "a cat", "negative_prompt": "bad", "seed": "3", "steps": 30, "metadata_scheme": "fooocus",
           "resolution": "(1152, 896)", "styles": "['x']", "performance": "Speed"}  # fmt: skip
NOVEL = {"Software": "NovelAI", "Description": "a cat", "Comment": json.dumps({"steps": 28, "uc": "bad", "seed": 3,
         "sampler": "k_euler_ancestral", "width": 832, "height": 1216, "scale": 5})}  # fmt: skip
INVOKE = {"invokeai_metadata": json.dumps({"positive_prompt": "a cat", "negative_prompt": "bad", "seed": 3, "steps": 30,
          "model": {"name": "dreamshaper"}, "scheduler": "dpmpp_2m_k"})}  # fmt: skip
COMFY = {"prompt": json.dumps({
    "3": {"class_type": "KSampler", "inputs": {"seed": 3, "steps": 20, "cfg": 8, "sampler_name": "euler_ancestral",
          "scheduler": "karras", "positive": ["6", 0], "negative": ["7", 0], "model": ["4", 0],
          "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15\\a.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad"}}})}  # fmt: skip


@pytest.mark.parametrize(
    ("program", "infotext", "notes", "has"),
    [
        ("SwarmUI", json.dumps(SWARM), {}, {"cfg_scale": 7.0, "checkpoint": "b_1.0"}),
        ("Fooocus", json.dumps(FOOOCUS), {}, {"width": 1152, "height": 896, "steps": 30}),
        ("NovelAI", "", NOVEL, {"sampler_name": "Euler a", "width": 832, "cfg_scale": 5.0}),
        ("InvokeAI", "", INVOKE, {"checkpoint": "dreamshaper", "sampler_name": "DPM++ 2M", "scheduler": "Karras"}),
        ("ComfyUI", "", COMFY, {"checkpoint": "a.safetensors", "height": 768, "sampler_name": "Euler a"}),
    ],
)
def test_other_programs_notes_are_named_and_read(
    program: str, infotext: str, notes: dict[str, str], has: dict[str, Any]
) -> None:
    found = read_other_notes(infotext, notes)
    assert found is not None
    assert found.program == program
    assert {"prompt": "a cat", "negative_prompt": "bad", "seed": 3, **has}.items() <= found.job.items()
    assert accept(found.job).job.kind == "txt2img"


def test_what_another_program_has_alone_is_listed_as_lost() -> None:
    found = read_other_notes(json.dumps(FOOOCUS), {})
    assert found is not None
    assert found.lost == ("styles",)


@pytest.mark.parametrize("notes", [{"prompt": "[1]"}, {"Comment": "made with GIMP"}, {"Software": "x"}, {}])
def test_notes_of_no_known_program_are_nobodys(notes: dict[str, str]) -> None:
    assert read_other_notes("a cat\nSteps: 4", notes) is None


@pytest.mark.parametrize("text", ["{red|blue} cat\nSteps: 4", '{"prompt": "a c', '{"a": ' * 5000, "{}"])
def test_a_text_that_only_begins_like_another_programs_notes_is_nobodys(text: str) -> None:
    assert read_other_notes(text, {}) is None
    assert read_other_notes("", {"Comment": text, "invokeai_metadata": text, "prompt": text}) is None


@pytest.mark.parametrize(
    "graph", ['{"1": 5}', '{"1": {"inputs": []}}', '{"1": {"class_type": "KSampler", "inputs": {}}}']
)
def test_a_strange_graph_is_named_at_least(graph: str) -> None:
    found = read_other_notes("", {"prompt": graph, "workflow": "{}"})
    assert found is not None
    assert found.program == "ComfyUI"
