"""Names of a job against what the running WebUI lists: none is silently replaced or left out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from worker.contract.parse.job_parser import parse_job
from worker.webui.names import lora_tags, name_resolver
from worker.webui.names.catalog import Catalog, Lora, Upscaler
from worker.webui.names.lora_tags import ChosenLora
from worker.webui.names.samplers import Sampler, SamplerTable, Sampling, Scheduler
from worker.webui.names.weights import Weights

if TYPE_CHECKING:
    from worker.errors import Problem

CATALOG = Catalog(
    SamplerTable([Sampler("Euler"), Sampler("Euler a")], [Scheduler("karras", "Karras")]),
    loras=(Lora("add_detail", "add_detail", "/loras/add_detail.safetensors"), Lora("style", "alias", "/loras/s.pt")),
    upscalers=(Upscaler("Lanczos"), Upscaler("R-ESRGAN 4x+", "https://x/RealESRGAN_x4plus.pth")),
    latent_upscalers=("Latent",),
    styles=("Detailed", "Film"),
    face_restorers=("CodeFormer", "GFPGAN"),
)
NOTHING = Weights(frozenset(), frozenset())
FACES = Weights(frozenset(), frozenset({"Codeformer", "GFPGAN"}))


def job(**fields: Any) -> Any:
    return parse_job({"prompt": "a cat", **fields})


def named(weights: Weights | None, **options: Any) -> tuple[dict[str, Any], list[Problem]]:
    """Return a job's options as the WebUI spells them, and the problems."""
    found = name_resolver.resolve_names(job(override_settings=options), CATALOG, weights)
    return dict(found.options), list(found.problems)


def paths(problems: list[Problem]) -> dict[str, str | None]:
    return {problem.path: problem.suggestion for problem in problems}


@pytest.mark.parametrize(
    ("styles", "chosen", "problems"),
    [
        (["Detailed", "film"], ("Detailed", "Film"), {}),
        (["Detaild"], (), {"styles[0]": "Detailed"}),
        (["Film", "nope"], ("Film",), {"styles[1]": None}),
        (["nope", "Flim"], (), {"styles[0]": None, "styles[1]": "Film"}),
    ],
)
def test_an_unknown_style_is_a_mistake(
    styles: list[str], chosen: tuple[str, ...], problems: dict[str, str | None]
) -> None:
    found, said = name_resolver.styles(job(styles=styles), CATALOG)
    assert found == chosen
    assert paths(said) == problems


def test_no_styles_are_no_mistake() -> None:
    assert name_resolver.styles(job(), CATALOG) == (None, [])


@pytest.mark.parametrize(
    ("override", "weights", "problems"),
    [
        (None, FACES, []),
        (None, None, []),
        (None, NOTHING, ["restore_faces"]),
        ("GFPGAN", FACES, []),
        ("GFPGAN", NOTHING, ["restore_faces"]),
        ("GFPGAN", Weights(frozenset(), frozenset({"Codeformer"})), ["restore_faces"]),
        ("nope", FACES, []),
    ],
)
def test_a_face_restorer_without_its_weights_is_refused(
    override: str | None, weights: Weights | None, problems: list[str]
) -> None:
    options = {"override_settings": {"face_restoration_model": override}} if override else {}
    found = name_resolver.face_restorer(job(restore_faces=True, **options), CATALOG, weights)
    assert [problem.path for problem in found] == problems
    assert name_resolver.face_restorer(job(**options), CATALOG, weights) == []


def test_a_default_face_restorer_that_the_webui_lacks_is_refused() -> None:
    bare = Catalog(CATALOG.samplers, face_restorers=("GFPGAN",))
    (problem,) = name_resolver.face_restorer(job(restore_faces=True), bare, FACES)
    assert problem.path == "restore_faces"
    assert "unknown face restorer 'CodeFormer'" in problem.message


def test_whether_faces_are_restored_by_a_webui_elsewhere_is_doubted() -> None:
    assert len(name_resolver.unproven_faces(job(restore_faces=True), None)) == 1
    assert name_resolver.unproven_faces(job(restore_faces=True), NOTHING) == []
    assert name_resolver.unproven_faces(job(), None) == []


@pytest.mark.parametrize(
    ("name", "found", "problems"),
    [
        (None, None, {}),
        ("Latent", "Latent", {}),
        ("lanczos", "Lanczos", {}),
        ("Lanczo", None, {"hr_upscaler": "Lanczos"}),
        ("R-ESRGAN 4x+", "R-ESRGAN 4x+", {"hr_upscaler": None}),
    ],
)
def test_an_upscaler_is_known_and_has_its_weights(
    name: str | None, found: str | None, problems: dict[str, str | None]
) -> None:
    fields = {} if name is None else {"enable_hr": True, "denoising_strength": 0.5, "hr_upscaler": name}
    chosen, said = name_resolver.upscaler(job(**fields), CATALOG, NOTHING)
    assert (chosen, paths(said)) == (found, problems)


def test_an_unknown_upscaler_is_offered_those_with_weights_alone() -> None:
    fields = {"enable_hr": True, "denoising_strength": 0.5, "hr_upscaler": "nobody has it"}
    _, (problem,) = name_resolver.upscaler(job(**fields), CATALOG, NOTHING)
    ready = [row.name for row in CATALOG.upscalers if NOTHING.of_upscaler(row) is None]
    without = [row.name for row in CATALOG.upscalers if row.name not in ready]
    assert without
    assert all(name in problem.message for name in ready)
    assert not any(name in problem.message for name in without)


def test_a_hypernetwork_is_told_apart_from_a_typing_error() -> None:
    _, (problem,) = lora_tags.tagged_loras([("prompt", "<hypernet:foo:1>")], CATALOG, {})
    assert "hypernetwork, which are not offered by tag" in problem.message


def test_mistakes_in_the_samplers_of_both_passes_are_told() -> None:
    both = job(sampler_name="Eulr", enable_hr=True, denoising_strength=0.5, hr_sampler_name="Eulr a", hr_scheduler="x")
    first, second, problems = name_resolver.samplings(both, CATALOG)
    assert (first.sampler, second.sampler) == (None, None)
    assert paths(problems) == {"sampler_name": "Euler", "hr_sampler_name": "Euler a", "hr_scheduler": None}
    assert name_resolver.samplings(job(), CATALOG) == (Sampling(None, None), Sampling(None, None), [])
    alone = job(enable_hr=True, denoising_strength=0.5, hr_scheduler="karras")
    assert name_resolver.samplings(alone, CATALOG)[1] == Sampling(None, "Karras")


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("<lora:ad_detail:1>", "add_detail"),
        ("<lora:ADD_DETAIL:1>", "add_detail"),
        ("<lora:add_detail.safetensors:1>", "add_detail"),
        ("<lora:add_detail:x>", None),
        ("<loar:add_detail:1>", "lora"),
        ("a cat <lora:add_detail:1", None),
        ("<lora:add_detail:1e30>", None),
        ("<lora:add_detail:1:-11>", None),
        ("<hypernet:add_detail:1>", None),
    ],
)
def test_a_tag_that_would_do_nothing_is_a_mistake(text: str, suggestion: str | None) -> None:
    chosen, problems = lora_tags.tagged_loras([("prompt", text)], CATALOG, {})
    assert chosen == ()
    assert paths(problems) == {"prompt": suggestion}


def test_a_tag_is_a_lora_by_the_webuis_name() -> None:
    chosen, problems = lora_tags.tagged_loras(
        [("prompt", "<lora:mine:0.5> <lyco:style:1>")], CATALOG, {"mine": "add_detail"}
    )
    assert chosen == (ChosenLora("add_detail", 0.5, "prompt"), ChosenLora("style", 1.0, "prompt"))
    assert problems == []


def test_a_lora_of_the_list_is_for_both_passes_and_a_tag_for_its_own() -> None:
    def lora(path: str) -> ChosenLora:
        return ChosenLora("add_detail", 1.0, path)

    assert lora_tags.twice([lora("prompt"), lora("hr_prompt")], []) == []
    assert [each.path for each in lora_tags.twice([lora("prompt"), lora("prompt")], [])] == ["prompt"]
    assert [each.path for each in lora_tags.twice([lora("hr_prompt")], [lora("loras[0]")])] == ["loras[0]"]
    assert [each.path for each in lora_tags.twice([], [lora("loras[0]"), lora("loras[1]")])] == ["loras[1]"]


def test_tags_are_counted_and_those_of_a_negative_prompt_are_words() -> None:
    assert lora_tags.crowded([("prompt", "<lora:x:1>" * 100)]) == []
    assert [each.path for each in lora_tags.crowded([("prompt", "<lora:x:1>" * 101)])] == ["prompt"]
    assert [each.path for each in lora_tags.crowded([("prompt", "<a:" * 6666)])] == ["prompt"]
    assert len(lora_tags.negative_tags([("negative_prompt", "<lora:x:1> bad")])) == 1


@pytest.mark.parametrize(
    ("option", "value", "found", "suggestion"),
    [
        ("face_restoration_model", "GFPGAN", "GFPGAN", None),
        ("face_restoration_model", "gfpgan", "GFPGAN", None),
        ("face_restoration_model", "GFPGN", None, "GFPGAN"),
        ("sd_hypernetwork", "None", "None", None),
        ("sd_hypernetwork", "nobody", None, None),
        ("upscaler_for_img2img", "lanczos", "Lanczos", None),
        ("upscaler_for_img2img", "Lanzcos", None, "Lanczos"),
    ],
)
def test_an_option_that_names_something_has_to_name_what_is_there(
    option: str, value: str, found: str | None, suggestion: str | None
) -> None:
    settled, problems = named(None, **{option: value})
    assert settled == ({option: found} if found else {})
    assert paths(problems) == ({} if found else {f"override_settings.{option}": suggestion})


def test_options_that_name_nothing_are_left_alone() -> None:
    assert named(NOTHING) == ({}, [])
    assert named(NOTHING, eta_noise_seed_delta=31337) == ({}, [])


def test_an_upscaler_and_a_small_vae_named_by_an_option_need_their_weights() -> None:
    upscaler = {"upscaler_for_img2img": "R-ESRGAN 4x+"}
    assert list(paths(named(NOTHING, **upscaler)[1])) == ["override_settings.upscaler_for_img2img"]
    assert named(None, **upscaler)[1] == []
    small = {"sd_vae_decode_method": "TAESD", "sd_vae_encode_method": "TAESD"}
    decoder = Weights(frozenset({"taesd_decoder.pth"}), frozenset())
    assert paths(named(decoder, **small)[1]) == {"override_settings.sd_vae_encode_method": "Full"}
    assert named(None, **small)[1] == []


def test_the_tags_of_a_style_s_negative_prompt_are_words() -> None:
    catalog = replace(CATALOG, style_texts={"Film": ("film <lora:style:0.5>", "blurry <lora:add_detail:1>")})
    chosen, problems = lora_tags.style_loras(job(styles=["Film"]), ["Film"], catalog)
    assert (chosen, problems) == ((ChosenLora("style", 0.5, "styles[0]"),), [])


@pytest.mark.parametrize(("prompt", "told"), [("a <lora:style:1>", True), ("a <hypernet:h:1>", False), ("a", False)])
def test_a_pass_that_applies_the_loras_of_a_prompt_that_has_them_switched_off_is_told(
    prompt: str, *, told: bool
) -> None:
    fields = {"prompt": prompt, "disable_extra_networks": True, "adetailer": [{"model": "face_yolov8n.pt"}]}
    names = name_resolver.resolve_names(job(**fields), CATALOG, None)
    assert any(each.startswith("disable_extra_networks: ADetailer") for each in names.warnings) is told
