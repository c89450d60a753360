from __future__ import annotations

import time

import pytest

from worker.common.suggestions import nearest

SAMPLERS = ["DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "Euler a", "Euler", "LMS", "Heun", "DDIM", "UniPC", "LCM"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("euler_a", "Euler a"),
        ("dpm++2m", "DPM++ 2M"),
        ("Eulre", "Euler"),
        ("huen", "Heun"),
        ("uni-pc", "UniPC"),
        ("DDMI", "DDIM"),
        ("", None),
        ("---", None),
        ("something else", None),
        ("x" * 500, None),
    ],
)
def test_the_nearest_name_is_found(word: str, meant: str | None) -> None:
    assert nearest(word, SAMPLERS) == meant


def test_the_beginning_of_a_single_name_is_enough() -> None:
    assert nearest("deliberate", ["Deliberate_v6_inpainting_full", "Other_v1"]) == "Deliberate_v6_inpainting_full"


def test_thousands_of_names_take_milliseconds() -> None:
    names = [f"style_{n:05d}_of_somebody" for n in range(5000)]
    started = time.thread_time()
    assert nearest("stile_04711_of_somebdy", names) == "style_04711_of_somebody"
    assert time.thread_time() - started < 2
