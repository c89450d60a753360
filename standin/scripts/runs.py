"""Built-in scripts that run a request several times: prompt matrix, prompts from a list, loopback, SD upscale."""

from __future__ import annotations

import math
import random
import shlex
from typing import TYPE_CHECKING, Any

from .. import processing
from ..errors import WebUIError, type_error
from ..img2img import flatten
from ..job import result
from ..samplers import SAMPLERS
from ..upscalers import resize
from .legend import annotate
from .tiles import tiling

if TYPE_CHECKING:
    from PIL import Image

    from ..job import Processed, Processing
    from ..webui import WebUI

LEGEND = 18
"""Pixels above a prompt matrix."""
LINE_TAGS: dict[str, Any] = {
    **dict.fromkeys(
        ("sd_model", "outpath_samples", "outpath_grids", "prompt_for_display", "prompt", "negative_prompt"), str
    ),
    **dict.fromkeys(("styles", "sampler_name", "scheduler"), str),
    **dict.fromkeys(
        ("seed", "subseed", "seed_resize_from_h", "seed_resize_from_w", "batch_size", "n_iter", "steps"), int
    ),
    **dict.fromkeys(("subseed_strength", "cfg_scale"), float),
    **dict.fromkeys(("width", "height"), int),
    **dict.fromkeys(
        ("restore_faces", "tiling", "do_not_save_samples", "do_not_save_grid"), lambda text: text == "true"
    ),
}
DIRECT = ("prompt", "negative_prompt", "seed", "subseed", "batch_size", "n_iter", "steps", "width", "height")
ALIASES = {alias.lower(): sampler.name for sampler in SAMPLERS for alias in (sampler.name, *sampler.aliases)}


def plain(webui: WebUI, p: Processing) -> Processed:
    """A plain generation."""
    return processing.run(webui, p)


def prompt_matrix(webui: WebUI, p: Processing, arguments: list[Any]) -> Processed:
    """Every combination of the parts between bars, and a grid of them before the pictures."""
    at_start, different_seeds, kind, delimiter, margin = arguments
    if kind not in ("positive", "negative"):
        raise WebUIError("ValueError", f"Unknown prompt type {kind}")
    if delimiter not in ("comma", "space"):
        raise WebUIError("ValueError", f"Unknown variations delimiter {delimiter}")
    between = ", " if delimiter == "comma" else " "
    parts = (p.prompt if kind == "positive" else p.negative_prompt).split("|")
    prompts = []
    for number in range(2 ** (len(parts) - 1)):
        chosen = [text.strip().strip(",") for place, text in enumerate(parts[1:]) if number & (1 << place)]
        prompts.append(between.join([*chosen, parts[0]] if at_start else [parts[0], *chosen]))
    p.n_iter = math.ceil(len(prompts) / p.batch_size)
    p.do_not_save_grid = True
    if kind == "positive":
        p.prompt = prompts
    else:
        p.negative_prompt = prompts
    first = processing.fixed_seed(p.seed)
    p.seed = [first + (place if different_seeds else 0) for place in range(len(prompts))]
    done = processing.run(webui, p)
    if len(done.images) > len(prompts):
        columns = len(prompts) // (1 << ((len(parts) - 1) // 2))
        raise WebUIError("AssertionError", f"bad number of horizontal texts: {columns}; must be {columns + 1}")
    rows = 1 << ((len(parts) - 1) // 2)
    columns = len(prompts) // rows
    grid = processing.make_grid(done.images, rows)
    grid = annotate(grid, rows=rows, columns=columns, left=rows > 1, top=LEGEND, margin=int(margin))
    done.images.insert(0, grid)
    done.index_of_first_image = 1
    done.infotexts.insert(0, done.infotexts[0])
    return done


def prompts_from_lines(webui: WebUI, p: Processing, arguments: list[Any]) -> Processed:
    """One run per line, each with its own options; nothing of a line is checked."""
    iterate, same_random, position, text = arguments
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    p.do_not_save_grid = True
    jobs = [_line_options(line) for line in lines]
    webui.state.job_count = sum(options.get("n_iter", p.n_iter) for options in jobs)
    if (iterate or same_random) and p.seed == -1:
        p.seed = random.randrange(processing.MAX_SEED)  # noqa: S311 # a picture's seed
    images: list[Image.Image] = []
    prompts: list[Any] = []
    texts: list[Any] = []
    for options in jobs:
        one = p.copy()
        for name, value in options.items():
            if name == "sd_model":
                one.override_settings["sd_model_checkpoint"] = value
            elif name in DIRECT or name in ("sampler_name", "scheduler", "do_not_save_grid", "do_not_save_samples"):
                setattr(one, name, value)
            else:
                one.set(name, value)
        for name in ("prompt", "negative_prompt"):
            own, shared = options.get(name), getattr(p, name)
            if own and shared:
                setattr(one, name, f"{own} {shared}" if position == "start" else f"{shared} {own}")
        done = processing.run(webui, one)
        images += done.images
        if iterate:
            p.seed += p.batch_size * p.n_iter
        prompts += done.all_prompts
        texts += done.infotexts
    return result(
        p,
        images,
        seed=p.seed,
        all_prompts=prompts,
        infotexts=texts,
        timestamp=webui.state.job_timestamp,
        clip_skip=_skip(webui),
    )


def loopback(webui: WebUI, p: Processing, arguments: list[Any]) -> Processed:
    """Each result is the next start, with a changing strength; a grid of all of them first."""
    loops, final, curve, interrogation = arguments
    batches = p.n_iter
    p.extra_generation_params.update({"Final denoising strength": final, "Denoising curve": curve})
    p.batch_size = p.n_iter = 1
    initial = p.value("denoising_strength")
    if loops > 1 and isinstance(final, str):
        raise type_error("unsupported operand type(s) for -: 'str' and 'float'")
    webui.state.job_count = loops * batches
    start_images, prompt, fill = p.init_images, p.prompt, p.value("inpainting_fill")
    seed = info = None
    kept: list[Image.Image] = []
    for _ in range(batches):
        p.init_images = start_images
        p.set("denoising_strength", initial)
        last = None
        for loop in range(loops):
            p.n_iter = p.batch_size = 1
            p.do_not_save_grid = True
            if interrogation != "None":
                p.prompt = f"{prompt}, " if prompt else ""
                p.prompt += "<error>" if interrogation == "CLIP" else ""
            done = processing.run(webui, p)
            if webui.state.interrupted or webui.state.stopping_generation:
                break
            if seed is None:
                seed, info = done.seed, done.infotexts[0]
            p.seed = done.seed + 1
            p.set("denoising_strength", _strength(initial, final, curve, loop + 1, loops))
            last = done.images[0]
            p.init_images = [last]
            p.set("inpainting_fill", 1)
            if batches == 1:
                kept.append(last)
        if batches > 1 and last is not None:
            kept.append(last)
        p.set("inpainting_fill", fill)
    grids = [processing.make_grid(kept, 1)] if len(kept) > 1 and webui.options.get("return_grid") else []
    timestamp = webui.state.job_timestamp
    return result(p, grids + kept, seed=seed, info=info, timestamp=timestamp, clip_skip=_skip(webui))


def sd_upscale(webui: WebUI, p: Processing, arguments: list[Any]) -> Processed:
    """The picture made larger, then drawn again tile by tile."""
    _, overlap, upscaler, factor = arguments
    names = [entry.name.lower() for entry in webui.upscalers]
    if isinstance(upscaler, str):
        if upscaler.lower() not in names:
            raise WebUIError("ValueError", f"{upscaler.lower()!r} is not in list")
        upscaler = names.index(upscaler.lower())
    if isinstance(overlap, str):
        raise type_error("unsupported operand type(s) for //: 'str' and 'int'")
    if not 0 <= upscaler < len(webui.upscalers):
        raise WebUIError("IndexError", "list index out of range")
    name = webui.upscalers[upscaler].name
    p.extra_generation_params.update({"SD upscale overlap": overlap, "SD upscale upscaler": name})
    image = flatten(p.init_images[0], webui.options.get("img2img_background_color"))
    if name != "None":
        image = resize(image, int(image.width * factor) // 8 * 8, int(image.height * factor) // 8 * 8, name)
    grid = tiling(image.size, (p.width, p.height), overlap)
    work = grid.cut(image)
    batch_size, count, seed = p.batch_size, p.n_iter, p.seed
    p.n_iter = 1
    p.do_not_save_grid = p.do_not_save_samples = True
    batches = math.ceil(len(work) / batch_size)
    webui.state.job_count = batches * count
    images, info = [], None
    for repeat in range(count):
        p.seed = seed + repeat
        made: list[Image.Image] = []
        for batch in range(batches):
            p.batch_size = batch_size
            p.init_images = work[batch * batch_size : (batch + 1) * batch_size]
            done = processing.run(webui, p)
            info = done.infotexts[0] if info is None else info
            p.seed = done.seed + 1
            made += done.images[: len(p.init_images)]
        images.append(grid.join(made))
    return result(p, images, seed=seed, info=info, timestamp=webui.state.job_timestamp, clip_skip=_skip(webui))


def alternative_test(webui: WebUI, p: Processing, arguments: list[Any]) -> Processed:
    """The img2img alternative test: overrides, and facts in the infotext."""
    _, sampler, own_prompt, prompt, negative, own_steps, steps, strength, cfg, randomness, adjustment = arguments
    if sampler:
        p.sampler_name = "Euler"
    if own_prompt:
        p.prompt, p.negative_prompt = prompt, negative
    if own_steps:
        p.steps = steps
    if strength:
        p.set("denoising_strength", 1.0)
    p.extra_generation_params.update(
        {
            "Decode prompt": prompt,
            "Decode negative prompt": negative,
            "Decode CFG scale": cfg,
            "Decode steps": steps,
            "Randomness": randomness,
            "Sigma Adjustment": adjustment,
        }
    )
    return processing.run(webui, p)


def _strength(initial: float, final: float, curve: str, loop: int, loops: int) -> float:
    if loops == 1:
        return initial
    progress = loop / (loops - 1)
    share = {
        "Aggressive": math.sin(progress * math.pi * 0.5),
        "Lazy": 1 - math.cos(progress * math.pi * 0.5),
    }.get(curve, progress)
    return initial + (final - initial) * share


def _line_options(line: str) -> dict[str, Any]:
    if "--" not in line:
        return {"prompt": line}
    try:
        words = shlex.split(line)
        options: dict[str, Any] = {}
        while words:
            tag = words.pop(0)
            if not tag.startswith("--") or not words or tag[2:] not in LINE_TAGS:
                return {"prompt": line}
            name = tag[2:]
            if name in ("prompt", "negative_prompt"):
                text = [words.pop(0)]
                while words and not words[0].startswith("--"):
                    text.append(words.pop(0))
                options[name] = " ".join(text)
            else:
                value = words.pop(0)
                options[name] = ALIASES.get(value.lower()) if name == "sampler_name" else LINE_TAGS[name](value)
    except ValueError:
        return {"prompt": line}
    return options


def _skip(webui: WebUI) -> Any:
    return webui.options.get("CLIP_stop_at_last_layers")
