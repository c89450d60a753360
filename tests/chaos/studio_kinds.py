"""The kinds of jobs that are made of other jobs: stages, judges, draws, plots, continuations, repetitions."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.chaos.asks import FIRST, LORAS, MODELS, Ask, Draw, Fields, Written, webui
from tests.support import pictures

if TYPE_CHECKING:
    from random import Random

LEAST_QUALITY = 0.948
"""Some of the stand-in's pictures of 64x64 have less, some have more."""
LINES = ("at dawn", "at dusk", "in rain", "in snow", "by the sea")


def picture_of(random: Random) -> str:
    """Return a start picture as base64."""
    return base64.b64encode(pictures.png(64, 64, seed=random.randrange(10**6))).decode()


def _larger(start: Ask, scale: int, judged: Ask | None = None) -> Ask:
    return Ask("extra-single-image", {"upscaler_1": "Lanczos", "upscaling_resize": scale}, start=start, judged=judged)


def _redrawn(base: Fields, strength: float, start: Ask, judged: Ask | None = None, **more: Any) -> Ask:
    return Ask("img2img", webui(base, denoising_strength=strength, **more), start=start, judged=judged)


def _whole(base: Fields, *stages: Fields, **more: Any) -> Fields:
    """Return a workflow whose first stage has the size."""
    shared = {name: value for name, value in base.items() if name not in ("width", "height")}
    first = {"name": "base", "type": "txt2img", "width": base["width"], "height": base["height"]}
    return {**shared, "type": "workflow", "stages": [{**first, **stages[0]}, *stages[1:]], **more}


def _final(scale: int) -> Fields:
    return {"name": "final", "type": "upscale", "upscaler": "Lanczos", "scale": scale}


def _mid(strength: float) -> Fields:
    return {"name": "mid", "type": "img2img", "denoising_strength": strength, "seed_offset": 1000}


def _workflow(random: Random, base: Fields) -> Written:
    strength, scale = random.choice((0.3, 0.6)), random.choice((2, 3))
    first = Ask("txt2img", webui(base))
    second = _redrawn(base, strength, first, seed=base["seed"] + 1000)
    last = _larger(second, scale)
    stages: tuple[Fields, ...] = ({}, _mid(strength), _final(scale))
    if random.random() < 0.5:
        return Written(_whole(base, *stages), (last,))
    return Written(_whole(base, *stages, output={"intermediates": ["base", "mid"]}), (first, second, last))


def _judged(random: Random, base: Fields) -> Written:
    scale, keep = random.choice((2, 3)), random.choice(("accepted", "accepted", "all"))
    judge = {"name": "good", "type": "judge", "quality": {"least": LEAST_QUALITY}, "keep": keep}
    made = [Ask("txt2img", webui(base, n_iter=4), first=number) for number in range(4)]
    asks = tuple(_larger(one, scale, one if keep == "accepted" else None) for one in made)
    return Written(_whole(base, {}, judge, _final(scale), n_iter=4), asks)


def _accepted(random: Random, base: Fields) -> Written:
    """Two pictures of a good quality, made one by one or two by two."""
    size = random.choice((1, 2))
    accept = {"count": 2, "at_most": 6, "quality": {"least": LEAST_QUALITY}}
    batch = {"batch_size": 2} if size > 1 else {}
    made = [
        Ask("txt2img", webui(base, **batch, seed=base["seed"] + number - number % size), first=number % size)
        for number in range(6)
    ]
    asks = tuple(replace(one, judged=one) for one in made)
    return Written({**base, **batch, "accept": accept}, asks, most=2)


def _accepted_first(random: Random, base: Fields) -> Written:
    """A workflow whose first stage makes pictures until two are good."""
    strength = random.choice((0.3, 0.6))
    accept = {"count": 2, "at_most": 5, "quality": {"least": LEAST_QUALITY}}
    asks = []
    for seed in range(base["seed"], base["seed"] + 5):
        made = Ask("txt2img", webui(base, seed=seed))
        asks.append(_redrawn(base, strength, made, made, seed=seed + 1000))
    return Written(_whole(base, {"accept": accept}, _mid(strength)), tuple(asks), most=2)


def _loopback(random: Random, base: Fields) -> Written:
    """A script of the WebUI, by its name: each loop redraws the picture of the one before with the next seed."""
    start = picture_of(random)
    strengths = (0.75, 0.5, 0.25)
    fields = {**base, "init_images": [start], "denoising_strength": strengths[0]}
    made = Ask("img2img", webui(fields))
    asks = [made]
    for number, strength in enumerate(strengths[1:], start=1):
        asks.append(_redrawn(base, strength, asks[-1], seed=base["seed"] + number))
    script = {"script_name": "Loopback", "script_args": [len(strengths), strengths[-1], "Linear", "None"]}
    return Written({**fields, **script}, tuple(asks))


def _plot_of_three(random: Random, base: Fields) -> Written:
    models = random.sample(MODELS, 2)
    plot = {
        "x": {"field": "steps", "values": [4, 6]},
        "y": {"search": base["prompt"], "values": [f"{base['prompt']}, red", f"{base['prompt']}, blue"]},
        "z": {"field": "checkpoint", "values": models},
    }
    cells = [
        {"checkpoint": model, "prompt": f"{base['prompt']}, {colour}", "steps": steps}
        for model in models
        for colour in ("red", "blue")
        for steps in (4, 6)
    ]
    return Written({**base, "plot": plot}, tuple(Ask("txt2img", webui({**base, **cell})) for cell in cells))


def _drawn(_: Random, base: Fields) -> Written:
    """Pictures that draw lines and a LoRA each, made twice: the second time they have to draw the same."""
    draw = Draw(LINES, 1, 3, LORAS, (0.3, 0.9))
    pool = {"from": list(draw.lines), "count": [draw.least, draw.most]}
    loras = [{"one_of": list(draw.loras), "scale": list(draw.scale)}]
    asks = tuple(Ask("txt2img", webui(base, seed=base["seed"] + number)) for number in range(2))
    once = Written({**base, "n_iter": 2, "pool": pool, "loras": loras, "cache": "off"}, asks, draw=draw)
    return replace(once, second=once)


def _continued(random: Random, base: Fields) -> Written:
    """Three pictures up to the first stage, two of which are finished by a job of their own."""
    strength, scale, keep = random.choice((0.3, 0.6)), random.choice((2, 3)), sorted(random.sample(range(3), 2))
    stored = {"output": {"delivery": "s3"}}
    made = [Ask("txt2img", webui(base, n_iter=3), first=number) for number in range(3)]
    asks = (_larger(_redrawn(base, strength, made[place], seed=base["seed"] + place + 1000), scale) for place in keep)
    second = Written({"type": "continue", "job": FIRST, "keep": keep, **stored}, tuple(asks))
    first = _whole(base, {}, _mid(strength), _final(scale), n_iter=3, until="base", **stored)
    return Written(first, tuple(made), second=second)


def _repeated(random: Random, base: Fields) -> Written:
    """The same request once more, when the first is over."""
    once = _cached(random, base)
    cache = random.choice(("use", "refresh", "only"))
    return replace(once, second=replace(once, input={**once.input, "cache": cache}))


def _twins(random: Random, base: Fields) -> Written:
    """The same request twice at once."""
    once = _cached(random, base)
    return replace(once, second=once, waits=False)


def _cached(random: Random, base: Fields) -> Written:
    name = random.choice(LORAS)
    lora = {"loras": [{"name": name, "scale": 0.8}]}
    more: Fields = random.choice(({}, {"n_iter": 2}, {"batch_size": 2}, lora))
    tagged = f"{base['prompt']} <lora:{name}:0.8>"
    body = webui(base, prompt=tagged) if more is lora else webui(base, **more)
    count = 1 if more is lora or not more else 2
    return Written({**base, **more, "cache": "use"}, (Ask("txt2img", body, count=count),))


def _restaged(random: Random, base: Fields) -> Written:
    """A workflow once more with another last stage: the stages before it need not be made again."""
    strength = random.choice((0.3, 0.6))
    made = _redrawn(base, strength, Ask("txt2img", webui(base)), seed=base["seed"] + 1000)
    first, second = (
        Written(_whole(base, {}, _mid(strength), _final(scale), cache="use"), (_larger(made, scale),))
        for scale in (2, 3)
    )
    return replace(first, second=second)


STUDIO_KINDS = (
    *(_workflow, _judged, _accepted, _accepted_first, _loopback, _plot_of_three, _drawn),
    *(_continued, _repeated, _twins, _restaged),
)
