"""Values on A1111's own paths are read as A1111 reads them: with pydantic 1, which is the judge here."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.v1 import ValidationError, parse_obj_as

from tests.unit.contract.parse.test_kinds import PICTURE
from worker.contract.accept import accept
from worker.contract.compat.webui_types import read_types
from worker.contract.types.job import Generation
from worker.contract.types.kinds import Img2Img
from worker.errors import InvalidInput

SCALARS = (
    st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.sampled_from(["1", "0", " 7 ", "-1", "12.5", "1e3", "on", "off", "Yes", "N", "t", "true ", "1_000", "x", "٣"])
    | st.text(max_size=4)
)
KINDS: list[tuple[str, Any]] = [("seed", int), ("cfg_scale", float), ("restore_faces", bool), ("prompt", str)]


@pytest.mark.parametrize(("name", "kind"), KINDS)
@given(value=SCALARS)
def test_a_value_that_a1111_takes_is_read_as_it_reads_it(name: str, kind: Any, value: Any) -> None:
    try:
        expected = parse_obj_as(kind, value)
    except ValidationError:
        return
    if isinstance(expected, float) and not math.isfinite(expected):
        return
    assert read_types({name: value}).fields == {name: expected}


@given(value=st.none() | st.lists(SCALARS, max_size=2) | st.just({"a": 1}) | st.sampled_from([math.inf, 10**300]))
def test_what_a1111_refuses_is_left_for_the_contracts_words(value: Any) -> None:
    for name in ("prompt", "cfg_scale", "restore_faces"):
        assert read_types({name: value}).fields == {name: value}
    assert read_types({"seed": "12.5", "tiling": "x"}).fields == {"seed": "12.5", "tiling": "x"}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"hr_second_pass_steps": 12.5}, ["hr_second_pass_steps: 12.5 is read as 12"]),
        ({"width": 64.9}, ["width: 64.9 is read as 64"]),
        ({"seed": True}, ["seed: true is read as 1"]),
        ({"cfg_scale": False}, ["cfg_scale: false is read as 0"]),
        ({"negative_prompt": True}, ["negative_prompt: true is read as 'True'"]),
        ({"steps": 20.0, "seed": "-1", "prompt": 5, "tiling": "off", "enable_hr": 1, "width": "64"}, []),
    ],
)
def test_a_value_that_became_another_one_is_told(body: dict[str, Any], told: list[str]) -> None:
    assert read_types(body).warnings == told


def test_misspelt_names_of_known_programs_are_read_as_they_mean_them() -> None:
    read = read_types({"sampler_name": "Huen", "scheduler": "N/A", "hr_scheduler": "Karras", "styles": [5, "a"]})
    assert (read.fields, read.warnings) == (
        {"sampler_name": "Heun", "hr_scheduler": "Karras", "styles": ["5", "a"]},
        [],
    )
    assert read_types({"hr_upscaler": "Latent (bicubic, antialiased)"}).fields["hr_upscaler"].endswith("antialiased)")


def call(endpoint: str, **payload: Any) -> Any:
    return accept({"api": {"method": "POST", "endpoint": f"/sdapi/v1/{endpoint}"}, "payload": payload}).job


def test_a_job_in_the_form_of_a_request_is_read_so_too_and_one_of_ours_is_not() -> None:
    found = call("txt2img", prompt=5, steps=12.5, seed="7", restore_faces="no")
    assert isinstance(found, Generation)
    assert (found.prompt, found.steps, found.seed, found.restore_faces) == ("5", 12, 7, False)
    assert found.warnings == ("steps: 12.5 is read as 12",)
    with pytest.raises(InvalidInput) as refused:
        accept({"prompt": 5, "steps": 12.5})
    assert [problem.path for problem in refused.value.problems] == ["prompt", "steps"]


def test_img2img_has_a1111s_size_where_the_body_says_none() -> None:
    start = {"prompt": "x", "init_images": [PICTURE]}
    plain = call("img2img", **start, width=None)
    assert isinstance(plain, Img2Img)
    assert (plain.width, plain.height) == (512, 512)
    sized = call("img2img", **start, width=64, height="96")
    assert (sized.width, sized.height) == (64, 96)
    assert call("img2img", **start, outpaint={"left": 64}).width is None
