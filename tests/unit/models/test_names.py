from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.common.suggestions import closest
from worker.models.format.filenames import MAX_STEM, match_key, safe_stem


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("Deliberate v6", "Deliberate_v6"),
        ("Hand Detail FLUX & XL", "Hand_Detail_FLUX_XL"),
        ("Amateur style - slider (Pony)", "Amateur_style_-_slider_Pony"),
        ("Boring Reality primaryV3.0", "Boring_Reality_primaryV3.0"),
        ("x.safetensors", "x"),
        ("Café<lora:a:1>, b", "Cafe_lora_a_1_b"),
        ("../../etc/passwd", "etc_passwd"),
        (".hidden", "hidden"),
    ],
)
def test_a_name_becomes_one_safe_stem(name: str, stem: str) -> None:
    assert safe_stem(name) == stem


def test_names_in_other_scripts_stay_apart() -> None:
    assert safe_stem("国风3") != safe_stem("少女3")
    assert safe_stem("国风") != safe_stem("少女")


@given(st.text(min_size=1, max_size=300))
def test_every_name_is_safe_and_the_mapping_is_stable(name: str) -> None:
    stem = safe_stem(name)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", stem)
    assert len(stem) <= MAX_STEM
    assert safe_stem(stem) == stem


def test_spelling_does_not_count_when_names_are_compared() -> None:
    assert match_key("Detail Tweaker XL") == match_key("detail_tweaker-xl.safetensors")
    assert match_key("v1.0") != match_key("v10")


def test_a_near_miss_is_recognised() -> None:
    assert closest("Detial Tweaker", ["Detail Tweaker XL", "Real Skin Slider"], key=match_key) == ["Detail Tweaker XL"]
    assert closest("tweaker", ["Detail Tweaker XL", "Real Skin Slider"], key=match_key) == ["Detail Tweaker XL"]
    assert closest("zzz", ["Detail Tweaker XL"], key=match_key) == []
