from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from tests.support.pictures import file, noise, png, smooth
from worker.contract.rules.sizes import Size
from worker.errors import ModelDamaged, WrongResult
from worker.images.inspect import inspect
from worker.recovery.failure_kinds import FailureKind, classify
from worker.webui.names.catalog import Catalog, Checkpoint, Lora
from worker.webui.names.lora_tags import ChosenLora
from worker.webui.names.samplers import Sampler, SamplerTable, Scheduler
from worker.webui.request.body import Expectation
from worker.webui.result.mismatches import Mismatch, answer_mismatches, picture_mismatches
from worker.webui.result.response import WebUIResponse, read
from worker.webui.result.verify import conclude, read_log


def test_layers_that_a_lora_could_not_be_applied_to_are_counted_by_lora() -> None:
    debug = "2026-11-21 08:22:31 DEBUG"
    log = read_log(
        [
            f"{debug} [root] Network my lora v2 layer diffusion_model_x: The size of tensor a (768) must match",
            f"{debug} [root] Network my lora v2 layer diffusion_model_y: couldn't find supported operation",
            f"{debug} [PIL.Image] Importing WebPImagePlugin",
        ]
    )
    assert log.unfit == {"my lora v2": 2}
    assert log.complaints == ()


def test_a_report_of_several_lines_is_one_complaint() -> None:
    log = read_log(
        [
            "*** Error verifying pickled file from /models/esrgan/x.pth",
            "*** The file may be malicious, so the program is not going to read it.",
            "    Traceback (most recent call last):",
            "---",
            "*** Unable to load ESRGAN model /models/esrgan/x.pth",
        ]
    )
    assert log.complaints == (
        "Error verifying pickled file from /models/esrgan/x.pth",
        "Unable to load ESRGAN model /models/esrgan/x.pth",
    )


@pytest.mark.parametrize(
    "line",
    [
        "Lora not found: nope",
        "Couldn't find network with name nope",
        "*** Error running process: /webui/extensions/x/scripts/x.py",
        "*** Failed loading LDSR model None",
        "[A2026-11-21 08:40:03 WARNING [modules.face_restoration_utils] Unable to load face-restoration model",
        "2026-11-21 08:40:03 ERROR [modules.face_restoration_utils] Failed face-restoration inference: boom",
        "Couldn't find VAE named nope.safetensors; using None instead",
        "Skipping unknown extra network: lora",
        "activating extra network lora with arguments [<modules.extra_networks.ExtraNetworkParams object>]: ValueError",
        "activating extra network hypernet with arguments []: KeyError",
        "deactivating extra network lora: RuntimeError",
        "activating unmentioned extra network lora: RuntimeError",
        "deactivating unmentioned extra network lora: RuntimeError",
        "loading network /loras/x.safetensors: SafetensorError",
        "generating image for xyz plot: RuntimeError",
        "generating image for prompt matrix: OutOfMemoryError",
        "Unable to load Textual inversion embedding due to data type: 'bad.pt'",
    ],
)
def test_a_line_that_tells_of_a_swallowed_failure_is_a_complaint(line: str) -> None:
    assert read_log([line]).complaints == (line.removeprefix("*** "),)


def test_an_error_that_was_answered_is_no_complaint_of_the_job_after_it() -> None:
    late = [
        "*** API error: POST: http://127.0.0.1:7860/sdapi/v1/txt2img {'error': 'OutOfMemoryError'}",
        "    Traceback",
    ]
    assert read_log(late).complaints == ()


def test_ordinary_lines_are_no_complaints() -> None:
    for line in (
        'WARNING:root:Sampler Scheduler autocorrection: "Euler" -> "Euler", "None" -> "Automatic"',
        "2026-11-21 08:39:56 INFO [modules.shared_state] Starting job scripts_txt2img",
        "Loading VAE weights specified in settings: /vae/x.safetensors",
        'INFO:     127.0.0.1:33266 - "GET /sdapi/v1/progress HTTP/1.1" 200 OK',
        "tiled upscale: 100%|██████████| 1/1 [00:01<00:00,  1.93s/it]",
    ):
        assert read_log([line]).complaints == (), line


@pytest.mark.parametrize(
    "line",
    [
        "*** Error verifying pickled file from /models/esrgan/x.pth",
        "*** Unable to load ESRGAN model /models/esrgan/x.pth",
        "*** Failed loading LDSR model None",
        "2026-11-21 08:40:03 WARNING [modules.face_restoration_utils] Unable to load face-restoration model",
    ],
)
def test_weights_that_can_not_be_loaded_are_no_reason_for_a_second_run(line: str) -> None:
    assert isinstance(conclude([], read_log([line]).complaints), ModelDamaged)


@pytest.mark.parametrize(
    "raised",
    [
        "safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer",
        "urllib.error.URLError: <urlopen error [Errno -2] Name or service not known>",
        "_pickle.UnpicklingError: invalid load key, '<'.",
    ],
)
def test_a_file_that_an_extension_can_not_read_is_no_reason_for_a_second_run_or_a_restart(raised: str) -> None:
    log = read_log(
        [
            "*** Error running process: /webui/extensions/sd-webui-controlnet/scripts/controlnet.py",
            "    Traceback (most recent call last):",
            '      File "/webui/modules/scripts.py", line 832, in process',
            "        script.process(p, *script_args)",
            f"    {raised}",
            "---",
        ]
    )
    error = conclude([Mismatch("number of ControlNet units that ran", 1, 0)], log.complaints)
    assert isinstance(error, ModelDamaged)
    assert "ControlNet units" in error.message
    assert raised.rpartition("Error: ")[2] in error.message
    assert classify(error).kind is FailureKind.OTHER


def test_any_other_exception_of_an_extension_is_a_wrong_result() -> None:
    log = read_log(["*** Error running process: /x.py", "    Traceback (most recent call last):", "    KeyError: 'x'"])
    assert isinstance(conclude([], log.complaints), WrongResult)


def test_a_mismatch_alone_is_a_wrong_result() -> None:
    error = conclude([Mismatch("model", "m", "other")], ())
    assert isinstance(error, WrongResult)


def test_any_other_complaint_is_a_wrong_result() -> None:
    line = "*** Error running process: /webui/extensions/x/scripts/x.py"
    assert isinstance(conclude([], read_log([line]).complaints), WrongResult)
    assert conclude([], ()) is None


MODEL = Checkpoint("m", "m.safetensors", "/models/m.safetensors")
OTHER = Checkpoint("other", "other.safetensors", "/models/other.safetensors")
SAMPLERS = SamplerTable(
    [Sampler("Euler"), Sampler("Euler a"), Sampler("DPM++ 2M", scheduler="karras")],
    [Scheduler("automatic", "Automatic"), Scheduler("karras", "Karras")],
)
CATALOG = Catalog(SAMPLERS)
RIGHT: dict[str, Any] = {
    "sd_model_name": "m",
    "sd_vae_name": None,
    "sampler_name": "Euler",
    "clip_skip": 1,
    "all_seeds": [5, 6],
    "all_prompts": ["a cat <lora:x:1>", "a cat <lora:x:1>"],
    "extra_generation_params": {"Schedule type": "Automatic"},
}
EXPECT = Expectation(
    count=2,
    checkpoint=MODEL,
    clip_skip=1,
    seeds=(5, 6),
    sampler="Euler",
    schedule="Automatic",
    tags=("<lora:x:1>",),
    extras={"Hires checkpoint": OTHER, "Hires sampler": "Euler a"},
    maps=1,
)
HIRES = {"Schedule type": "Automatic", "Hires checkpoint": "other [0123456789]", "Hires sampler": "Euler a"}


def wrong(images: int = 3, expect: Expectation = EXPECT, **changed: Any) -> list[str]:
    info = {**RIGHT, "extra_generation_params": HIRES, **changed}
    return [each.what for each in answer_mismatches(expect, WebUIResponse(("",) * images, info), CATALOG)]


def test_an_answer_that_is_as_asked_for_has_no_mismatch() -> None:
    assert wrong() == []


@pytest.mark.parametrize("name", [None, "m.vae.pt", "m.vae.safetensors"])
def test_the_vae_beside_a_checkpoint_is_its_own(name: str | None) -> None:
    assert wrong(sd_vae_name=name) == []


def test_a_picture_of_a_sampler_that_was_left_open_may_name_any() -> None:
    expect = replace(EXPECT, sampler=None, schedule=None)
    assert wrong(3, expect, sampler_name="Euler a") == []


def test_how_many_controlnet_units_ran_is_told() -> None:
    info = {**RIGHT, "extra_generation_params": HIRES}
    (found,) = answer_mismatches(replace(EXPECT, maps=2), WebUIResponse(("",) * 3, info), CATALOG)
    assert (found.what, found.asked, found.got) == ("number of ControlNet units that ran", 2, 1)


def test_the_picture_before_a_step_of_a_script_is_counted() -> None:
    expect = replace(EXPECT, steps_back=1, maps=0)
    assert wrong(3, expect) == []
    assert wrong(2, expect) == ["number of pictures"]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"sd_model_name": "other"}, "model"),
        ({"sd_model_name": None}, "model"),
        ({"clip_skip": 2}, "clip skip"),
        ({"sd_vae_name": "v.pt"}, "VAE"),
        ({"sampler_name": "Euler a"}, "sampler"),
        ({"all_seeds": [5, 7]}, "seeds"),
        ({"all_seeds": [5]}, "seeds"),
        ({"all_prompts": ["a cat <lora:x:1>", "a cat"]}, "LoRA tags in the prompt"),
        ({"all_prompts": ["a cat", "a cat <lora:x:1>"]}, "LoRA tags in the prompt"),
        ({"extra_generation_params": {**HIRES, "Schedule type": "Karras"}}, "scheduler"),
        ({"extra_generation_params": {**HIRES, "Hires checkpoint": "m"}}, "Hires checkpoint"),
        ({"extra_generation_params": {**HIRES, "Hires checkpoint": None}}, "Hires checkpoint"),
        ({"extra_generation_params": {**HIRES, "Hires sampler": "Euler"}}, "Hires sampler"),
        ({"images": 2}, "number of ControlNet units that ran"),
        ({"images": 1}, "number of pictures"),
        ({"images": 3, "index_of_first_image": 1}, "number of ControlNet units that ran"),
    ],
)
def test_each_thing_that_is_not_as_asked_for_is_a_mismatch_of_its_own(changed: dict[str, Any], what: str) -> None:
    assert wrong(**changed) == [what]


@pytest.mark.parametrize(
    ("told", "wrong_ones"),
    [
        ('"x: 0123456789ab, y: fedcba987654"', []),
        ("x: 0123456789ab, y: fedcba987654, z: 0", []),
        ("x: 0123456789ab", ["LoRAs that were loaded"]),
        ("x: 0123456789ab, y: 000000000000", ["LoRAs that were loaded"]),
        (None, ["LoRAs that were loaded"]),
    ],
)
def test_a_lora_that_the_infotext_would_name_had_it_been_loaded_is_missed(
    told: str | None, wrong_ones: list[str]
) -> None:
    loras = (
        Lora("x", "", "/l/x.pt", {"sshs_model_hash": "0123456789abcdef"}),
        Lora("y", "", "/l/y.pt", {"sshs_model_hash": "fedcba9876543210"}),
        Lora("bare", "", "/l/bare.pt", {}),
    )
    chosen = tuple(ChosenLora(name, 1.0, "loras") for name in ("x", "y", "bare", "nobody"))
    expect = replace(EXPECT, loras=chosen, names_loras=True)
    answer = WebUIResponse(("",) * 3, {**RIGHT, "extra_generation_params": {**HIRES, "Lora hashes": told}})
    catalog = Catalog(SAMPLERS, loras=loras)
    assert [each.what for each in answer_mismatches(expect, answer, catalog)] == wrong_ones
    assert answer_mismatches(replace(expect, names_loras=False), answer, catalog) == []


@pytest.mark.parametrize(
    ("told", "wrong_ones"),
    [
        ('"x: 0123456789ab, bare: 00000000ffff"', []),
        ("x: 0123456789ab", ["LoRAs that were loaded"]),
        ("bare: 00000000ffff", ["LoRAs that were loaded"]),
        ("x: 0123456789ab, other: 00000000ffff", ["LoRAs that were loaded"]),
    ],
)
def test_of_a_webui_that_computes_hashes_every_lora_has_to_be_named(told: str, wrong_ones: list[str]) -> None:
    loras = (Lora("x", "", "/l/x.pt", {"sshs_model_hash": "0123456789abcdef"}), Lora("bare", "", "/l/bare.pt", {}))
    chosen = tuple(ChosenLora(name, 1.0, "loras") for name in ("x", "bare", "nobody"))
    expect = replace(EXPECT, loras=chosen, names_loras=True)
    answer = WebUIResponse(("",) * 3, {**RIGHT, "extra_generation_params": {**HIRES, "Lora hashes": told}})
    catalog = Catalog(SAMPLERS, loras=loras, has_hashes=True)
    assert [each.what for each in answer_mismatches(expect, answer, catalog)] == wrong_ones


def test_what_an_answer_says_of_each_picture_is_read_in_order() -> None:
    info = {"all_prompts": ["a", 2], "all_negative_prompts": ["b", "c"], "all_seeds": [1, "2"], "infotexts": ["t"]}
    found = WebUIResponse(("AA", "BBB"), {**info, "index_of_first_image": 1})
    assert (found.prompts, found.negative_prompts, found.seeds) == (["a", "2"], ["b", "c"], [1, 2])
    assert (list(found.infotexts), found.first, found.size) == (["t"], 1, 5)
    empty = WebUIResponse((), {"all_prompts": None, "index_of_first_image": None})
    assert (empty.prompts, empty.negative_prompts, empty.seeds, list(empty.infotexts)) == ([], [], [], [])
    assert (empty.first, empty.size) == (0, 0)


def test_an_answer_without_any_picture_is_a_mismatch_for_a_script_that_diffuses_nothing_too() -> None:
    undiffused = replace(EXPECT, undiffused=True)
    assert wrong(0, undiffused) == ["number of pictures"]
    assert wrong(1, undiffused, sd_model_name="other") == []


def test_a_picture_of_another_seed_or_size_is_a_mismatch() -> None:
    def found(seed: int, size: int) -> list[str]:
        notes = f"a cat\nSteps: 2, Sampler: Euler, CFG scale: 7.0, Seed: {seed}, Size: 64x64"
        pictures = [inspect(png(size, size, infotext=notes))]
        return [
            each.what
            for each in picture_mismatches(
                replace(EXPECT, size=Size(64, 64), from_picture=True), pictures, WebUIResponse((), {})
            )
        ]

    assert found(5, 64) == []
    assert found(6, 64) == ["seed of picture 0"]
    other = inspect(png(64, 64, infotext="a cat\nSteps: 2, Sampler: Euler, CFG scale: 7.0, Seed: 6, Size: 64x64"))
    undiffused = replace(EXPECT, size=Size(64, 64), undiffused=True)
    assert picture_mismatches(undiffused, [other], WebUIResponse((), {})) == []
    assert found(5, 72) == ["size of picture 0"]


def noted(seed: int = 5, sampler: str = "Euler", prompt: str = "a cat") -> str:
    return f"{prompt}\nSteps: 2, Sampler: {sampler}, CFG scale: 7.0, Seed: {seed}, Size: 64x64"


@pytest.mark.parametrize(
    ("notes", "what"),
    [
        ([noted(5), noted(6)], []),
        ([None, noted(6)], []),
        ([noted(5), None], []),
        ([noted(5, "Euler a"), noted(6)], ["Sampler in the notes of picture 0"]),
        ([noted(5), noted(6, prompt="a dog")], ["prompt in the notes of picture 1"]),
    ],
)
def test_a_pictures_own_notes_have_to_be_those_of_the_answer(notes: list[str | None], what: list[str]) -> None:
    expect = replace(EXPECT, size=Size(64, 64), from_picture=True)
    answer = WebUIResponse((), {"infotexts": [noted(5), noted(6)]})
    pictures = [inspect(png(infotext=each)) if each else inspect(png()) for each in notes]
    assert [each.what for each in picture_mismatches(expect, pictures, answer)] == what
    assert picture_mismatches(replace(expect, undiffused=True), pictures, answer) == []


@pytest.mark.parametrize(
    "content",
    [
        *(None, [], "x", {}, {"images": ["A"]}, {"info": {"seed": 1}}, {"images": None, "info": {"seed": 1}}),
        *({"images": "A", "info": {"seed": 1}}, {"images": [1], "info": {"seed": 1}}),
        *({"images": ["A", None], "info": {"seed": 1}}, {"images": ["A"], "info": "no JSON"}),
        *({"images": ["A"], "info": "[1]"}, {"images": ["A"], "info": {}}, {"images": ["A"], "info": "{}"}),
    ],
)
def test_an_answer_of_another_shape_is_a_wrong_result(content: Any) -> None:
    with pytest.raises(WrongResult, match="no pictures or no info"):
        read(content)


@pytest.mark.parametrize("info", [{"seed": 1}, '{"seed": 1}'])
def test_an_answer_is_read_with_its_info_as_json_or_as_text_of_it(info: Any) -> None:
    found = read({"images": ["A", "B"], "info": info})
    assert (found.images, found.info) == (("A", "B"), {"seed": 1})
    assert read({"images": [], "info": info}).images == ()


@pytest.mark.parametrize(
    ("picture", "what"),
    [
        (Image.new("RGB", (64, 64), "white"), ["content of picture 0"]),
        (Image.new("RGB", (512, 512), (3, 60, 200)), ["content of picture 0"]),
        (noise(64, 64), ["content of picture 0"]),
        (noise(256, 256), ["content of picture 0"]),
        (smooth(64, 64), []),
        (noise(16, 16).resize((128, 128), Image.Resampling.BICUBIC), []),
        (Image.blend(noise(128, 128), smooth(128, 128), 0.5), []),
    ],
)
def test_a_picture_without_content_comes_from_no_prompt(picture: Image.Image, what: list[str]) -> None:
    expect = replace(EXPECT, size=None)
    pictures = [inspect(file(picture))]
    assert [each.what for each in picture_mismatches(expect, pictures, WebUIResponse((), {}))] == what
    assert picture_mismatches(replace(expect, from_picture=True), pictures, WebUIResponse((), {})) == []
    assert picture_mismatches(replace(expect, undiffused=True), pictures, WebUIResponse((), {})) == []
