from __future__ import annotations

import pytest

from worker.webui.names.prompt_checks import long_ones, skipped, tokens


@pytest.mark.parametrize(
    ("prompt", "counts"),
    [
        ("", [0]),
        ("a cat", [2]),
        ("a (cat:1.2), [dog]", [4]),
        ("a cat <lora:x:0.8>", [2]),
        ("a BREAK b c", [1, 2]),
        ("2024", [4]),
        ("photorealistic", [2]),
        (r"a \(b\)", [4]),
    ],
)
def test_tokens_are_counted_about_right(prompt: str, counts: list[int]) -> None:
    assert tokens(prompt) == counts


def test_a_prompt_of_more_than_one_part_is_pointed_out() -> None:
    assert long_ones([("prompt", "cat " * 75)]) == []
    (said,) = long_ones([("prompt", "cat " * 76), ("negative_prompt", "x")])
    assert said.startswith("prompt: about 76 tokens, which the WebUI reads in 2 parts")


def test_an_embedding_that_is_skipped_is_pointed_out_where_it_stands() -> None:
    texts = [("prompt", "a cat, (XLemb:1.2)"), ("negative_prompt", "xlembs, my-xlemb")]
    (said,) = skipped(texts, {"xlemb", "other"})
    assert said.startswith("prompt: embedding 'xlemb'")
