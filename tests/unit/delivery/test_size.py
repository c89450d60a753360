from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pictures import file, noise, png, smooth
from worker.delivery.size import STEPS, SizeBudget, inline_bytes, plan, shrink, too_large
from worker.errors import OutputTooLarge
from worker.images.formats.picture import Picture
from worker.images.inspect import inspect


def pictures(*sizes: int) -> list[Picture]:
    return [Picture(b"x" * size, "png", 512, 768) for size in sizes]


def answer_bytes(envelope: dict[str, object], images: list[str]) -> int:
    return len(json.dumps({"output": {**envelope, "images": images}}, ensure_ascii=False).encode())


@given(st.lists(st.integers(0, 400), max_size=6), st.text())
def test_the_size_of_an_answer_is_counted_to_the_byte(sizes: list[int], prompt: str) -> None:
    envelope: dict[str, object] = {"info": prompt.encode("utf-8", "replace").decode(), "seeds": [1]}
    made = pictures(*sizes)
    whole = answer_bytes(envelope, [one.base64 for one in made])
    assert answer_bytes(envelope, []) + inline_bytes(made) == whole


def test_a_budget_is_kept_to_the_byte() -> None:
    made = pictures(300)
    assert SizeBudget(1000 + 402, 1000).fits(made)
    assert not SizeBudget(1000 + 401, 1000).fits(made)
    assert not SizeBudget(10, 1000).fits(made)


SMALL, LARGE = SizeBudget(10_000, 100), SizeBudget(300, 100)


@pytest.mark.parametrize(
    ("wish", "store", "own_store", "may_shrink", "budget", "route"),
    [
        ("auto", False, False, False, SMALL, "inline"),
        ("auto", True, False, False, SMALL, "inline"),
        ("auto", True, True, False, SMALL, "s3"),
        ("auto", True, False, True, LARGE, "s3"),
        ("auto", False, False, True, LARGE, "smaller"),
        ("base64", True, True, False, SMALL, "inline"),
        ("base64", True, False, True, LARGE, "smaller"),
        ("s3", True, False, False, SMALL, "s3"),
        ("s3", True, False, False, LARGE, "s3"),
    ],
)
def test_the_way_of_the_pictures(
    *, wish: str, store: bool, own_store: bool, may_shrink: bool, budget: SizeBudget, route: str
) -> None:
    found = plan(
        pictures(300),
        budget,
        wish=wish,  # type: ignore[arg-type]  # one of the three, from the table above
        store=store,
        own_store=own_store,
        may_shrink=may_shrink,
    )
    assert found == route


@pytest.mark.parametrize(("wish", "store"), [("auto", False), ("base64", True), ("base64", False)])
def test_what_fits_nowhere_is_an_error_that_says_what_would(*, wish: str, store: bool) -> None:
    budget = SizeBudget(1_000_000, 5_000)
    with pytest.raises(OutputTooLarge) as caught:
        plan(
            pictures(*[300_000] * 4),
            budget,
            wish=wish,  # type: ignore[arg-type]  # as above
            store=store,
            own_store=False,
            may_shrink=False,
        )
    error = caught.value
    assert error.details["bytes"] == 5_000 + 4 * 400_002 + 3 * 2
    assert error.details["limit_bytes"] == 1_000_000
    assert error.details["fitting_images"] == 2
    assert str(error.details["bytes"]) in error.message
    assert "1000000" in error.message
    assert "allow_smaller" in str(error.hint)


def test_the_number_that_is_said_to_fit_does_fit() -> None:
    budget = SizeBudget(1_000_000, 5_000)
    made = pictures(*[111_111] * 9)
    fitting = too_large(made, budget).details["fitting_images"]
    assert budget.fits(made[:fitting])
    assert not budget.fits(made[: fitting + 1])


def test_the_size_that_is_said_to_fit_keeps_the_shape() -> None:
    error = too_large(pictures(4_000_000), SizeBudget(1_400_000, 0))
    assert error.details["fitting_size"] == "256x392"
    assert "256x392" in error.message
    assert too_large(pictures(4_000_000), SizeBudget(10_000, 0)).details["fitting_size"] is None


def test_the_mildest_form_that_fits_is_taken() -> None:
    made = [inspect(file(noise(128, 128))), inspect(file(smooth(128, 128)))]
    need = inline_bytes(made)
    smaller, form = shrink(made, SizeBudget(need - 1, 0), strip=False)
    assert form == STEPS[0]
    assert [one.format for one in smaller] == ["jpeg", "jpeg"]
    assert inline_bytes(smaller) < need
    tighter, _ = shrink(made, SizeBudget(inline_bytes(smaller) - 1, 0), strip=False)
    assert inline_bytes(tighter) < inline_bytes(smaller)


def test_the_infotext_survives_shrinking_unless_it_is_to_be_stripped() -> None:
    made = [inspect(png(128, 128, infotext="a cat\nSteps: 1"))]
    budget = SizeBudget(inline_bytes(made) - 1, 0)
    assert shrink(made, budget, strip=False)[0][0].infotext == "a cat\nSteps: 1"
    assert shrink(made, budget, strip=True)[0][0].infotext is None


def test_what_no_format_makes_small_enough_is_an_error() -> None:
    with pytest.raises(OutputTooLarge, match="smallest format too") as caught:
        shrink([inspect(file(noise(128, 128)))], SizeBudget(1000, 0), strip=False)
    assert "allow_smaller" not in str(caught.value.hint)
