from __future__ import annotations

from typing import Any

import pytest

from worker.contract.parse.job_parser import parse_job
from worker.webui.names import name_resolver
from worker.webui.names.catalog import Catalog
from worker.webui.names.prompt_checks import absent, long_ones, names_in, prompt_warnings, skipped, tokens, unused
from worker.webui.names.samplers import SamplerTable
from worker.webui.names.weights import Weights


@pytest.mark.parametrize(
    ("prompt", "counts"),
    [
        ("", [0]),
        ("a cat", [2]),
        ("a (cat:1.2), [dog]", [4]),
        ("a cat <lora:x:0.8>", [2]),
        ("a BREAK b c", [1, 2]),
        ("2024", [4]),
        ("portraits", [1]),
        ("photorealistic", [2]),
        ("a BREAK BREAK b", [1, 0, 1]),
        (r"a \(b\)", [4]),
    ],
)
def test_tokens_are_counted_about_right(prompt: str, counts: list[int]) -> None:
    assert tokens(prompt) == counts


def test_a_prompt_of_more_than_one_part_is_pointed_out() -> None:
    assert long_ones([("prompt", "cat " * 75)]) == []
    (said,) = long_ones([("prompt", "cat " * 76), ("negative_prompt", "x")])
    assert said.startswith("prompt: about 76 tokens, which the WebUI reads in 2 parts")
    (said,) = long_ones([("prompt", f"{'cat ' * 76}BREAK BREAK a dog")])
    assert said.startswith("prompt: about 78 tokens, which the WebUI reads in 4 parts")


def test_an_embedding_that_is_skipped_is_pointed_out_where_it_stands() -> None:
    texts = [("prompt", "a cat, (XLemb:1.2)"), ("negative_prompt", "xlembs, my-xlemb")]
    (said,) = skipped(texts, {"xlemb", "other"})
    assert said.startswith("prompt: embedding 'xlemb'")


def test_an_embedding_that_no_prompt_names_is_pointed_out() -> None:
    brought = [("embeddings[0]", "EasyNeg"), ("embeddings[1]", "other-neg")]
    (said,) = unused(brought, ["a cat", "easyneg, blurry, my-other-neg"])
    assert said.startswith("embeddings[1]: 'other-neg' changes nothing")
    assert unused(brought, ["(other-neg:1.2)", "EASYNEG"]) == []


def test_a_widely_used_embedding_that_is_not_here_is_pointed_out_where_it_stands() -> None:
    texts = [("prompt", "a cat"), ("negative_prompt", "easynegative, BADHANDV4, EasyNegative2")]
    said = absent(texts, {"badhandv4"})
    assert [one.partition(" is read")[0] for one in said] == ["negative_prompt: 'EasyNegative'"]
    assert absent(texts, {"EASYNEGATIVE", "badhandv4"}) == []


@pytest.mark.parametrize("text", ["emb", "(emb:1.3)", "a,emb", "EMB.", "a <lora:x:1> emb"])
def test_a_name_stands_in_a_text_as_a_word_of_its_own(text: str) -> None:
    assert names_in([text], ["emb"]) == ["emb"]


@pytest.mark.parametrize("text", ["embs", "my-emb", "emb_2", "emb-2", "", "mb"])
def test_a_part_of_a_word_is_no_name(text: str) -> None:
    assert names_in([text], ["emb"]) == []


def test_what_does_not_fit_the_loaded_checkpoint_is_said_of_jobs_with_that_checkpoint_alone() -> None:
    catalog = Catalog(SamplerTable([], []), skipped_embeddings=frozenset({"xlemb"}))
    job: Any = parse_job({"prompt": "a cat, xlemb"})
    names = name_resolver.resolve_names(job, catalog, Weights(frozenset(), frozenset()))
    (said,) = prompt_warnings(names, catalog, [], loaded=True)
    assert said.startswith("prompt: embedding 'xlemb'")
    assert prompt_warnings(names, catalog, [], loaded=False) == []
