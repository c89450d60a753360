from __future__ import annotations

import time

import pytest

from worker.webui.names.lora_tags import can_name, parse, renamed, write
from worker.webui.names.prompt_checks import tokens


@pytest.mark.parametrize(
    ("prompt", "name", "weights"),
    [
        ("a <lora:add_detail:1> b", "add_detail", {"te": 1.0}),
        ("<lora:x:0.5:0.7>", "x", {"te": 0.5, "unet": 0.7}),
        ("<lora:x:te=0:unet=1>", "x", {"te": 0.0, "unet": 1.0}),
        ("<lora:x>", "x", {}),
        ("<lora:x:abc>", "x", {"te": None}),
        ("<lora:x:nan:1e400:dyn=-inf>", "x", {"te": None, "unet": None, "dyn": None}),
        ("<a:<lora:x:1>", "<lora", {"te": None, "unet": 1.0}),
    ],
)
def test_a_tag_is_read_as_the_webui_reads_it(prompt: str, name: str, weights: dict[str, float | None]) -> None:
    (tag,) = parse(prompt)
    assert (tag.name, tag.weights) == (name, weights)


@pytest.mark.parametrize(
    ("name", "possible"),
    [("style", True), ("a=b=c", True), ("a=b", False), ("a:b", False), ("a>b", False), ("a#b", False)],
)
def test_a_name_with_a_sign_of_tags_in_it_can_not_stand_in_one(name: str, possible: bool) -> None:  # noqa: FBT001 - a case
    assert can_name(name) is possible


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [
        ("a <lora:x:0.5:0.7> b <lyco:x:1>", "a <lora:y:0.5:0.7> b <lyco:y:1>"),
        ("<lora:x>", "<lora:y>"),
        ("<hypernet:x:1> <lora:other:1> x <lora:x", "<hypernet:x:1> <lora:other:1> x <lora:x"),
    ],
)
def test_a_lora_that_the_webui_knows_by_another_name_is_sent_by_that_and_all_else_as_it_is(
    prompt: str, sent: str
) -> None:
    assert renamed(prompt, {"x": "y"}) == sent


@pytest.mark.parametrize("unfinished", ["<a:", "<lora:x", "<a:1> <a:"])
def test_tags_that_never_end_cost_nothing(unfinished: str) -> None:
    """Each followed to the text's end, these would hold up every job of the worker for an hour."""
    prompt = unfinished * 100_000
    began = time.process_time()
    assert len(parse(prompt)) == prompt.count(">")
    assert renamed(prompt, {"b": "c"}) == prompt
    assert tokens(prompt)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("scale", "text"),
    [(1.0, "1"), (0.8, "0.8"), (-0.5, "-0.5"), (1e-7, "0"), (0.1 + 0.2, "0.3"), (10.0, "10"), (-1e-9, "0")],
)
def test_a_scale_is_written_as_a_plain_decimal(scale: float, text: str) -> None:
    assert write("x", scale) == f"<lora:x:{text}>"
    assert parse(write("x", scale))[0].weights == {"te": float(text)}
