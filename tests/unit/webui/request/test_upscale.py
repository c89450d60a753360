"""Upscaling and interrogation: what is sent, and which answers are what was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from worker.contract.parse.job_parser import parse_job
from worker.contract.rules.sizes import Size
from worker.errors import ModelNotFound, WrongResult
from worker.webui.names.catalog import Catalog, Upscaler
from worker.webui.names.samplers import SamplerTable
from worker.webui.names.weights import Weights
from worker.webui.request.upscale import Upscaling, caption, check_upscaled, interrogation, upscaling

CATALOG = Catalog(
    SamplerTable([], []),
    upscalers=(
        *(Upscaler("None"), Upscaler("Lanczos"), Upscaler("Nearest")),
        *(Upscaler("R-ESRGAN 4x+", "https://x/RealESRGAN_x4plus.pth"), Upscaler("4xUltraSharp", "/u/4xUltraSharp.pth")),
    ),
)
NOTHING = Weights(frozenset(), frozenset())
REAL = Weights(frozenset({"RealESRGAN_x4plus.pth"}), frozenset())
SIZE = Size(100, 60)


def asked(weights: Weights | None = NOTHING, size: Size = SIZE, **fields: Any) -> tuple[Upscaling, dict[str, str]]:
    """Return the request, and the mistakes by their place."""
    job: Any = parse_job({"type": "upscale", "image": "key:a.png", **fields})
    found, problems = upscaling(job, "AAAA", size, CATALOG, weights)
    return found, {problem.path: problem.message for problem in problems}


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"scale": 3}, Size(300, 180)),
        ({"scale": 1.55}, Size(155, 93)),
        ({}, Size(200, 120)),
        ({"width": 300, "height": 300}, Size(300, 300)),
        ({"width": 300, "height": 300, "upscaling_crop": True}, Size(300, 300)),
        ({"width": 300, "height": 300, "upscaling_crop": False}, Size(500, 300)),
        ({"width": 300, "height": 60, "upscaling_crop": False}, Size(300, 180)),
        ({"scale": 3, "upscaler": "None"}, SIZE),
    ],
)
def test_the_size_is_that_of_the_factor_or_the_sides(fields: dict[str, Any], size: Size) -> None:
    found, problems = asked(**{"upscaler": "Lanczos", **fields})
    assert (found.size, problems) == (size, {})
    assert found.body["image"] == "AAAA"
    assert "image" not in found.told()
    assert found.told()["upscaler_1"] == fields.get("upscaler", "Lanczos")


def test_the_longest_side_has_a_limit() -> None:
    assert asked(upscaler="Lanczos", scale=4, size=Size(2048, 100))[1] == {}
    assert list(asked(upscaler="Lanczos", scale=4, size=Size(2049, 100))[1]) == ["scale"]
    assert list(asked(upscaler="Lanczos", scale=4, size=Size(100, 2049))[1]) == ["scale"]
    assert list(asked(upscaler="Lanczos", size=Size(4097, 100))[1]) == ["image"]


@pytest.mark.parametrize(("weights", "best"), [(NOTHING, "Lanczos"), (REAL, "R-ESRGAN 4x+"), (None, "Lanczos")])
def test_a_job_that_names_no_upscaler_gets_the_best_whose_weights_are_there(weights: Weights | None, best: str) -> None:
    assert asked(weights, scale=2)[0].upscalers == (best,)


def test_names_are_the_webuis_own_and_unknown_ones_are_told_with_what_was_meant() -> None:
    assert asked(upscaler="lanczos", upscaler_2="NEAREST", extras_upscaler_2_visibility=0.5)[0].upscalers == (
        "Lanczos",
        "Nearest",
    )
    found, problems = asked(upscaler="Lanzcos", upscaler_2="Neerest", extras_upscaler_2_visibility=0.5)
    assert sorted(problems) == ["upscaler", "upscaler_2"]
    assert found.upscalers == ()


def test_an_upscaler_without_its_weights_is_refused_or_replaced_by_the_one_the_job_names() -> None:
    assert list(asked(upscaler="R-ESRGAN 4x+")[1]) == ["upscaler"]
    found, problems = asked(upscaler="R-ESRGAN 4x+", fallback="Nearest")
    assert (found.upscalers, problems) == (("Nearest",), {})
    assert list(found.warnings) == ["upscaler: the weights of 'R-ESRGAN 4x+' are missing; 'Nearest' was used"]
    found, problems = asked(REAL, upscaler="R-ESRGAN 4x+", fallback="Nearest")
    assert (found.upscalers, found.warnings) == (("R-ESRGAN 4x+",), ())
    assert list(asked(upscaler="R-ESRGAN 4x+", fallback="Nobody")[1]) == ["fallback"]
    assert list(asked(upscaler="Nobody", fallback="Nearest")[1]) == ["upscaler"], "a typing error is no lack of weights"


@pytest.mark.parametrize("got", [Size(300, 180), Size(293, 173), Size(307, 187)])
def test_less_than_a_latent_off_is_right(got: Size) -> None:
    check_upscaled(asked(upscaler="Lanczos", scale=3)[0], got, "Postprocess upscaler: Lanczos")
    check_upscaled(asked(upscaler="Lanczos", scale=3)[0], got, "")


@pytest.mark.parametrize("got", [Size(292, 180), Size(300, 188), Size(100, 60), Size(308, 180)])
def test_another_size_is_wrong(got: Size) -> None:
    with pytest.raises(WrongResult, match="asked for 300x180"):
        check_upscaled(asked(upscaler="Lanczos", scale=3)[0], got, "Postprocess upscaler: Lanczos")


def test_another_upscaler_is_wrong() -> None:
    made = asked(upscaler="Lanczos", upscaler_2="Nearest", extras_upscaler_2_visibility=0.5, scale=3)[0]
    check_upscaled(made, Size(300, 180), "<p>Postprocess upscaler: Lanczos, Postprocess upscaler 2: Nearest</p>")
    with pytest.raises(WrongResult, match="used upscaler 'Nearest'"):
        check_upscaled(made, Size(300, 180), "<p>Postprocess upscaler: Nearest, Postprocess upscaler 2: Lanczos</p>")


def test_a_caption_is_text_and_an_error_is_none() -> None:
    job: Any = parse_job({"type": "interrogate", "image": "key:a.png"})
    assert interrogation(job, "AAAA") == {"image": "AAAA", "model": "clip"}
    other: Any = parse_job({"type": "interrogate", "image": "key:a.png", "model": "deepbooru"})
    assert interrogation(other, "AAAA")["model"] == "deepdanbooru"
    assert caption({"caption": " a cat \n"}, "clip") == "a cat"
    for wrong in ({"caption": "a cat <error>"}, {"caption": None}, {}, None, "a cat"):
        with pytest.raises(ModelNotFound, match="'clip'"):
            caption(wrong, "clip")
