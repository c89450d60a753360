"""Words in prompts that another program would have taken for more, and zeros that switch something off."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.contract.parse.test_kinds import PICTURE
from worker.contract.accept import accept
from worker.webui.names import lora_tags
from worker.webui.names.catalog import Catalog, Lora
from worker.webui.names.lora_tags import tagged_loras
from worker.webui.names.samplers import SamplerTable


def warnings(**fields: Any) -> tuple[str, ...]:
    return accept({"prompt": "a cat", **fields}).job.warnings


@pytest.mark.parametrize(
    ("text", "here"),
    [
        ("<fromto[0.5]:cat,dog> grass", "[cat:dog:0.5]"),
        ("a cat <break> a dog", "BREAK"),
        ("<repeat[3]:very> big", "SwarmUI"),
        ("embedding:foo cat", "ComfyUI"),
        ("<lora=add_detail:0.8> cat", "<lora:name:0.8>"),
        ("a cat <lora:>", "<lora:name:0.8>"),
        ("<lora add_detail:0.8> cat", "<lora:name:0.8>"),
        ("(lora:add_detail:0.8) cat", "<lora:name:0.8>"),
        ("{cat|dog|horse}", "wildcards: true"),
        ("a __animal__", "wildcards: true"),
    ],
)
def test_foreign_syntax_gets_a_warning_in_every_prompt(text: str, here: str) -> None:
    for name in ("prompt", "negative_prompt"):
        (told,) = warnings(**{name: text})
        assert told.startswith(f"{name}: ")
        assert here in told


@pytest.mark.parametrize(
    "text",
    [
        "a cat, BREAK, a dog",
        "<lora:a:0.8> (cat:1.2) [a|b] [a:b:0.5]",
        "a | b",
        "snake_case__name",
        "\\{a|b\\}",
        "{a, b}",
    ],
)
def test_the_webuis_own_syntax_gets_none(text: str) -> None:
    assert warnings(prompt=text) == ()


def test_templates_that_are_filled_in_get_none() -> None:
    assert warnings(prompt="{a|b} __animal__", wildcards=True) == ()


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"sampler_name": "Euler a", "eta": 0, "s_noise": 0, "s_churn": 0}, ["eta", "s_noise"]),
        ({"sampler_name": "k_dpm_2_a", "eta": 0}, ["eta"]),
        ({"sampler_name": "DPM++ 2S a Karras", "override_settings": {"s_noise": 0}}, ["s_noise"]),
        ({"sampler_name": "Euler", "eta": 0, "s_noise": 0}, []),
        ({"sampler_name": "Euler a", "eta": 1, "s_noise": 1}, []),
        ({"init_images": [PICTURE], "initial_noise_multiplier": 0}, ["initial_noise_multiplier"]),
        ({"init_images": [PICTURE], "denoising_strength": 0}, ["denoising_strength"]),
    ],
)
def test_zeros_that_switch_something_off_get_a_warning(fields: dict[str, Any], names: list[str]) -> None:
    told = warnings(**fields)
    assert len(told) == len(names)
    assert all(name in warning for name, warning in zip(names, told, strict=True))


CATALOG = Catalog(SamplerTable([], []), loras=(Lora("add_detail", "add_detail", "/x/add_detail.safetensors"),))


def told(prompt: str) -> tuple[str, str | None]:
    _, problems = tagged_loras([("prompt", prompt)], CATALOG, {})
    assert problems
    return problems[0].message, problems[0].suggestion


@pytest.mark.parametrize(
    ("tag", "why", "instead"),
    [
        ("<lora:add_detail:1:lbw=OUTD>", "lora-block-weight", "<lora:add_detail:1>"),
        ("<lora:add_detail:0.7:FACE>", "lora-block-weight", "<lora:add_detail:0.7>"),
        ("<lora:add_detail:1:1:lbw=IN02:stop=20>", "lora-block-weight", "<lora:add_detail:1>"),
        ("<lora:add_detail:1:lbwe=IN02>", "has block weights", "<lora:add_detail:1>"),
        ("<lora:add_detail:1:lbw=OUTD>", "has block weights", "<lora:add_detail:1>"),
        ("<lora:add_detail:1:step=0-10>", "says step=", "<lora:add_detail:1>"),
        ("<lora:add_detail:1:te=0.5:foo=2>", "says foo=", "<lora:add_detail:1>"),
        ("<lora:add_detail:lbw=OUTD>", "has block weights", "<lora:add_detail:1>"),
        ("<lora:add_detail:1:stop=20>", "lora-block-weight", "<lora:add_detail:1>"),
        ("<lora:add_detail:1:start=5>", "lora-block-weight", "<lora:add_detail:1>"),
        ("<lora:add_detail:1:foo=2>", "does not read", "<lora:add_detail:1>"),
        ("<lora:add_detail:1:1:8:9>", "4 weights", "<lora:add_detail:1>"),
        ("<lora:add_detail:0,8>", "comma", "<lora:add_detail:0.8>"),
        ("<lora:add_detail:strong>", "not a number", None),
        ("<hypernet:x:0.5>", "override_settings.sd_hypernetwork", None),
        ("<segment:face>", "SwarmUI", None),
        ("<ppp:stn>", "sd-webui-prompt-postprocessor", None),
        ("<embed:foo>", "SwarmUI", None),
        ("<lroa:add_detail:1>", "unknown kind", "lora"),
    ],
)
def test_a_tag_of_another_program_is_named_as_that(tag: str, why: str, instead: str | None) -> None:
    message, suggestion = told(f"cat {tag}")
    assert tag in message
    assert why in message
    assert suggestion == instead


@pytest.mark.parametrize("tag", ["<lora:add_detail>", "<lora:add_detail:1>", "<lora:add_detail:1:0.5:8>",
                                 "<lora:add_detail:te=1:unet=0.5:dyn=8>", "<lyco:add_detail:-1>"])  # fmt: skip
def test_a_tag_that_the_webui_reads_whole_is_taken(tag: str) -> None:
    _, problems = tagged_loras([("prompt", tag)], CATALOG, {})
    assert problems == []
    assert lora_tags.unread(lora_tags.parse(tag)[0]) is None
