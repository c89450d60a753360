"""The kinds of jobs of a chaos run: each as a client writes it, and as the WebUI's own requests for the same pictures.

Both are written side by side by hand: what the worker makes of a job has no part in what its pictures should be.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from tests.chaos.asks import (
    CONTROL,
    CONTROL_TITLE,
    DEPOT,
    FETCHED,
    HARMLESS,
    LORAS,
    MODELS,
    Ask,
    Fields,
    Written,
    webui,
)
from tests.chaos.studio_kinds import STUDIO_KINDS, picture_of
from tests.support import pictures

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


def _plain(_: Random, base: Fields) -> Written:
    return Written(base, (Ask("txt2img", webui(base)),))


def _batch(random: Random, base: Fields) -> Written:
    count = random.choice((2, 4))
    more = {"batch_size": count}
    return Written({**base, **more}, (Ask("txt2img", webui(base, **more), count=count),))


def _many(random: Random, base: Fields) -> Written:
    more = {"batch_size": 2, "n_iter": random.choice((2, 3))}
    return Written({**base, **more}, (Ask("txt2img", webui(base, **more), count=2 * more["n_iter"]),))


def _streamed(_: Random, base: Fields) -> Written:
    return Written({**base, "n_iter": 3, "stream": True}, (Ask("txt2img", webui(base, n_iter=3), count=3),))


def _lora(random: Random, base: Fields) -> Written:
    name = random.choice(LORAS)
    body = webui(base, prompt=f"{base['prompt']} <lora:{name}:0.8>")
    return Written({**base, "loras": [{"name": name, "scale": 0.8}]}, (Ask("txt2img", body),))


def _fetched(random: Random, base: Fields) -> Written:
    name = random.choice(FETCHED)
    body = webui(base, prompt=f"{base['prompt']} <lora:{name}:0.7>")
    lora = {"name": name, "url": f"{DEPOT}/{name}.safetensors", "scale": 0.7}
    return Written({**base, "loras": [lora]}, (Ask("txt2img", body),))


def _tags(random: Random, base: Fields) -> Written:
    prompt = f"{base['prompt']}, goodemb, (red:1.4) [sky] <lora:{random.choice(LORAS)}:0.6>"
    return Written({**base, "prompt": prompt}, (Ask("txt2img", webui(base, prompt=prompt)),))


def _hires(_: Random, base: Fields) -> Written:
    more = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.5}
    return Written({**base, **more}, (Ask("txt2img", webui(base, **more)),))


def _clip_skip(_: Random, base: Fields) -> Written:
    body = webui(base, sampler_name="Euler a")
    body["override_settings"]["CLIP_stop_at_last_layers"] = 2
    return Written({**base, "sampler_name": "Euler a", "clip_skip": 2}, (Ask("txt2img", body),))


def _refiner(_: Random, base: Fields) -> Written:
    other = MODELS[base["checkpoint"] == MODELS[0]]
    body = webui(base, refiner_checkpoint=other, refiner_switch_at=0.5)
    return Written({**base, "refiner": {"checkpoint": other, "switch_at": 0.5}}, (Ask("txt2img", body),))


def _seeds(random: Random, base: Fields) -> Written:
    seeds = random.sample(range(1000), 3)
    return Written({**base, "seed": seeds}, tuple(Ask("txt2img", webui(base, seed=seed)) for seed in seeds))


def _prompts(random: Random, base: Fields) -> Written:
    each = [{"prompt": f"{base['prompt']}, {word}", "seed": random.randrange(1000)} for word in ("red", "blue")]
    shared = {name: value for name, value in base.items() if name not in ("prompt", "seed")}
    return Written({**shared, "prompts": each}, tuple(Ask("txt2img", webui({**base, **one})) for one in each))


def _controlled(random: Random, base: Fields) -> Written:
    unit = {"module": "canny", "model": CONTROL, "image": picture_of(random), "weight": 0.8}
    scripts = {"controlnet": {"args": [{**unit, "model": CONTROL_TITLE, "enabled": True}]}}
    return Written({**base, "controlnet": [unit]}, (Ask("txt2img", webui(base, alwayson_scripts=scripts)),))


def _plot(_: Random, base: Fields) -> Written:
    plot = {"x": {"field": "steps", "values": [4, 6]}, "y": {"field": "cfg_scale", "values": [4, 7]}}
    cells = [{"steps": steps, "cfg_scale": scale} for scale in (4, 7) for steps in (4, 6)]
    asks = tuple(Ask("txt2img", webui({**base, **cell})) for cell in cells)
    return Written({**base, "plot": plot}, asks)


def _tiled(random: Random, base: Fields) -> Written:
    picture, tiles = picture_of(random), {"size": 64, "overlap": 16, "denoising_strength": 0.5}
    body = webui(base, init_images=[picture], denoising_strength=0.5)
    return Written({**base, "init_images": [picture], "tiles": tiles}, (Ask("img2img", body),))


def _from_picture(random: Random, base: Fields) -> Written:
    more = {"init_images": [picture_of(random)], "denoising_strength": 0.6}
    return Written({**base, **more}, (Ask("img2img", webui(base, **more)),))


def _from_pictures(random: Random, base: Fields) -> Written:
    starts = [picture_of(random), picture_of(random)]
    asks = (
        Ask("img2img", webui(base, init_images=[start], denoising_strength=0.5, seed=base["seed"] + number))
        for number, start in enumerate(starts)
    )
    return Written({**base, "init_images": starts, "denoising_strength": 0.5}, tuple(asks))


def _inpainted(random: Random, base: Fields) -> Written:
    more = {"init_images": [picture_of(random)], "mask": _mask(random), "mask_blur": 2, "inpainting_fill": 1}
    return Written({**base, **more}, (Ask("img2img", webui(base, **more)),))


def _upscaled(random: Random, _: Fields) -> Written:
    picture, scale = picture_of(random), random.choice((2, 3))
    body = {"image": picture, "upscaler_1": "Lanczos", "upscaling_resize": scale}
    asked = {"type": "upscale", "image": picture, "upscaler": "Lanczos", "scale": scale}
    return Written(asked, (Ask("extra-single-image", body),))


def _large(_: Random, base: Fields) -> Written:
    """More than an answer may hold, so that it goes to the store without being told to."""
    more = {"width": 512, "height": 512, "batch_size": 4}
    return Written({**base, **more, "output": {}}, (Ask("txt2img", webui(base, **more), count=4),))


def _lossless(_: Random, base: Fields) -> Written:
    output = {"format": "webp", "lossless": True}
    return Written({**base, "output": output}, (Ask("txt2img", webui(base)),))


KINDS: tuple[Callable[[Random, Fields], Written], ...] = (
    *(_plain, _batch, _many, _streamed, _lora, _fetched, _tags, _hires, _clip_skip, _refiner, _seeds, _prompts),
    *(_controlled, _plot, _tiled, _from_picture, _from_pictures, _inpainted, _upscaled, _large, _lossless),
    *STUDIO_KINDS,
)

_DEEP: Any = "x"
for _ in range(200):
    _DEEP = [_DEEP]

INVALID: tuple[Fields, ...] = (
    {"prompt": "a cat", "steps": "many"},
    {"prompt": "a cat", "sampler_name": "DPM++ 2N"},
    {"prompt": "a cat", "loras": ["nobody"]},
    {"prompt": "a cat", "checkpoint": "Nobody_v1"},
    {"prompt": "\ud800"},
    {"width": 64},
    {"prompt": _DEEP},
    {"prompt": "a cat", "width": 10**18},
    {"prompt": "a cat", "loras": [f"l{number}" for number in range(100_000)]},
    {"prompt": "a cat", "init_images": ["A" * 8_000_000]},
    {"prompt": "a cat", "init_images": ["http://169.254.169.254/latest/meta-data"]},
    {"type": "upscale", "image": "http://localhost/x.png"},
    {**HARMLESS, "prompt": "a cat", "width": 512, "height": 512, "batch_size": 4, "output": {"delivery": "base64"}},
)
"""What deserves a typed error; the last makes pictures that fit into no answer."""


def _mask(random: Random) -> str:
    left, top = random.randrange(8, 24), random.randrange(8, 24)
    mask = pictures.noise(64, 64).convert("L").point(lambda _: 0)
    mask.paste(255, (left, top, left + 24, top + 24))
    return base64.b64encode(pictures.file(mask)).decode()
