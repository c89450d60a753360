"""Dynamic Prompts 2.17.1: variants and wildcards in every prompt, also where nobody asked for it."""

from __future__ import annotations

import itertools
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from standin.scripts.extension import Extension

if TYPE_CHECKING:
    import argparse

    from standin.generation.job import Processing
    from standin.webui import WebUI

NAME = "dynamic prompts v2.17.1"
INNERMOST = re.compile(r"\{([^{}]*)\}")
WILDCARD = re.compile(r"__([\w/*-]+?)__")
COUNTED = re.compile(r"^(\d+)(?:-(\d+))?\$\$(?:([^$]*)\$\$)?")
WEIGHT = re.compile(r"^\s*(\d+(?:\.\d+)?)::")
MOST_VARIANTS = 1000
ENABLED, COMBINATORIAL, BATCHES, FIXED_SEED, UNLINKED, NO_IMAGES, MOST = 0, 1, 2, 10, 11, 14, 15


class DynamicPrompts(Extension):
    """On for every request; its script's name carries the version."""

    name, folder, version = NAME, "sd-dynamic-prompts", "2.17.1"

    def __init__(self, flags: argparse.Namespace) -> None:
        self._wildcards = Path(flags.data_dir) / "extensions" / self.folder / "wildcards"

    def process(self, webui: WebUI, p: Processing) -> None:
        """Replaces the prompts; an unbalanced brace leaves them as they are."""
        arguments = p.alwayson.get(self.name, [])
        if not arguments or not arguments[ENABLED]:
            return
        template, negative = str(p.all_prompts[0]), str(p.all_negative_prompts[0])
        if not _balanced(template) or not _balanced(negative):
            print("*** Error running process: dynamic_prompting.py", flush=True)
            return
        seed = p.all_seeds[0]
        if arguments[COMBINATORIAL]:
            most = int(arguments[MOST] or 0) or MOST_VARIANTS
            prompts = list(itertools.islice(self.variants(template), most)) * int(arguments[BATCHES] or 1)
        else:
            count = len(p.all_prompts)
            step = 0 if arguments[FIXED_SEED] else 1
            prompts = [self.one_of(template, _dice(seed + place * step)) for place in range(count)]
        if arguments[NO_IMAGES]:
            prompts = prompts[:1]
        if prompts == p.all_prompts:
            return
        p.all_prompts = prompts
        p.n_iter = -(-len(prompts) // p.batch_size)
        p.all_negative_prompts = [self.one_of(negative, _dice(seed + place)) for place in range(len(prompts))]
        step = 0 if arguments[FIXED_SEED] or p.value("subseed_strength") else 1
        p.all_seeds = [seed + place * step for place in range(len(prompts))]
        p.all_subseeds = [p.all_subseeds[0] + place for place in range(len(prompts))]

    def one_of(self, text: str, dice: random.Random) -> str:
        """The text with every variant and wildcard decided by the dice."""
        while (match := INNERMOST.search(text)) is not None:
            text = text[: match.start()] + _decide(match[1], dice) + text[match.end() :]
        return WILDCARD.sub(lambda found: dice.choice(self._lines(found[1]) or [found[0]]), text)

    def variants(self, text: str) -> itertools.chain[str]:
        """Every text that the template stands for, in order."""
        match = INNERMOST.search(text)
        if match is None:
            return itertools.chain([text])
        options = [WEIGHT.sub("", option) for option in match[1].split("|")]
        return itertools.chain.from_iterable(
            self.variants(text[: match.start()] + option + text[match.end() :]) for option in options
        )

    def _lines(self, name: str) -> list[str]:
        path = self._wildcards / f"{name}.txt"
        if not path.is_file():
            return []
        lines = path.read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 # repeatable, not secret


def _decide(inside: str, dice: random.Random) -> str:
    counted = COUNTED.match(inside)
    options = inside[counted.end() :].split("|") if counted else inside.split("|")
    weights = [float(found[1]) if (found := WEIGHT.match(option)) else 1.0 for option in options]
    options = [WEIGHT.sub("", option) for option in options]
    if counted is None:
        return dice.choices(options, weights)[0]
    low = int(counted[1])
    count = dice.randint(low, int(counted[2] or low))
    joined: list[Any] = dice.sample(options, min(count, len(options)))
    return (counted[3] if counted[3] is not None else ", ").join(joined)


def _balanced(text: str) -> bool:
    depth = 0
    for letter in text:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if depth < 0:
            return False
    return depth == 0
