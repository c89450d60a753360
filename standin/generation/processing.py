"""One generation: from a validated request to pictures and the info text, in the WebUI's order of events."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

from PIL import Image

from standin import VERSION
from standin.errors import WebUIError, type_error
from standin.generation import infotext, samplers
from standin.generation.job import result
from standin.generation.prompts import strip_comments, take_tags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from standin.generation.job import Processed, Processing
    from standin.generation.prompts import Tag
    from standin.webui import WebUI

MAX_SEED = 4294967294
LATENT = 8
"""Pixels per number of the latent picture, in each direction."""
NO_NAME = (None, "", "None", "none")


def run(webui: WebUI, p: Processing) -> Processed:
    """The whole generation with its overrides: applies them, generates, restores those that had a value before.

    Raises WebUIError for everything that is a 500.
    """
    options, model = webui.options, webui.model
    webui.extensions.before_process(webui, p)
    stored = {key: options.get(key) for key in p.override_settings if key in options.data}
    try:
        if webui.checkpoints.named(p.override_settings.get("sd_model_checkpoint")) is None:
            p.override_settings.pop("sd_model_checkpoint", None)
            model.reload()
        for key, value in p.override_settings.items():
            options.set(key, value)
            if key == "sd_model_checkpoint":
                model.reload()
            if key == "sd_vae":
                model.reload_vae()
        sampler, scheduler = samplers.resolve(p.sampler_name, p.scheduler)
        p.sampler_name, p.scheduler = sampler.name, scheduler.label
        return _generate(webui, p)
    finally:
        if p.value("override_settings_restore_afterwards"):
            for key, value in stored.items():
                options.data[key] = value
                if key == "sd_vae":
                    model.reload_vae()


def _generate(webui: WebUI, p: Processing) -> Processed:
    if p.prompt is None:
        raise WebUIError("AssertionError")
    checkpoint, _ = webui.model.require()
    options, state = webui.options, webui.state
    seed, subseed = fixed_seed(p.seed), fixed_seed(p.subseed)
    p.restore_faces = bool(
        options.get("face_restoration") if p.value("restore_faces") is None else p.value("restore_faces")
    )
    p.tiling = bool(options.get("tiling") if p.value("tiling") is None else p.value("tiling"))
    if p.value("refiner_checkpoint") not in NO_NAME:
        p.refiner = webui.checkpoints.closest(p.value("refiner_checkpoint"))
        if p.refiner is None:
            raise WebUIError("Exception", f"Could not find checkpoint with name {p.value('refiner_checkpoint')}")
    p.sd_model_name = checkpoint.stem
    p.sd_vae_name = webui.model.vae.name if webui.model.vae else None
    p.clip_skip = options.get("CLIP_stop_at_last_layers")
    _setup_prompts(webui, p, seed, subseed)
    webui.extensions.process(webui, p)
    _check_numbers(p)
    if p.start is not None:
        p.start(p)
    if p.prepare is not None:
        p.prepare(p)
    if state.job_count == -1:
        state.job_count = p.n_iter
    images, texts = _iterate(webui, p)
    first = 0
    if _wants_grid(webui, p, len(images)):
        text = describe(webui, p, 0, main_prompt=True)
        grid = make_grid(images)
        grid.info["parameters"] = text
        texts.insert(0, text)
        images.insert(0, grid)
        first = 1
    if not texts:
        texts.append(describe(webui, p, 0))
    processed = result(
        p,
        images,
        seed=p.all_seeds[0],
        subseed=p.all_subseeds[0],
        info=texts[0],
        infotexts=texts,
        first=first,
        clip_skip=p.clip_skip,
        timestamp=state.job_timestamp,
    )
    webui.extensions.postprocess(webui, p, processed)
    return processed


def _iterate(webui: WebUI, p: Processing) -> tuple[list[Image.Image], list[str]]:
    state = webui.state
    images: list[Image.Image] = []
    texts: list[str] = []
    for iteration in range(p.n_iter):
        state.skipped = False
        if state.interrupted or state.stopping_generation:
            break
        webui.model.reload()
        if p.n_iter > 1:
            state.job = f"Batch {iteration + 1} out of {p.n_iter}"
        indexes = range(iteration * p.batch_size, min((iteration + 1) * p.batch_size, len(p.all_prompts)))
        _activate_networks(webui, p, indexes)
        painted = p.paint(p, indexes) if p.paint is not None else []
        state.nextjob()
        for index, image in zip(indexes, painted, strict=True):
            text = describe(webui, p, index)
            if webui.options.get("enable_pnginfo"):
                image.info["parameters"] = text
            texts.append(text)
            images.append(image)
    return images, texts


def _activate_networks(webui: WebUI, p: Processing, indexes: range) -> None:
    if webui.faults.take("no-loras"):
        p.loras = ()
        return
    if p.value("disable_extra_networks"):
        p.loras = webui.networks.in_layers  # those of the request before: nothing is activated, so nothing is taken out
        return
    _, tags = take_tags(p.all_prompts[indexes.start])
    _, weights = webui.model.require()
    if webui.faults.take("starved-lora", where=bool(tags)):
        webui.networks.starve(tags)
    p.loras = webui.networks.apply(tags, weights)
    note_loras(webui, p, tags)


def note_loras(webui: WebUI, p: Processing, tags: Sequence[Tag]) -> None:
    """Write the LoRAs that these tags load into the infotext, beside those of an earlier pass."""
    p.lora_hashes |= webui.networks.hashes(tags)
    if p.lora_hashes and webui.options.get("lora_add_hashes_to_infotext"):
        told = ", ".join(f"{name}: {digits}" for name, digits in p.lora_hashes.items())
        p.extra_generation_params["Lora hashes"] = told


def _setup_prompts(webui: WebUI, p: Processing, seed: int, subseed: int) -> None:
    count = p.batch_size * p.n_iter
    prompts = p.prompt if isinstance(p.prompt, list) else [p.prompt] * count
    negatives = p.negative_prompt if isinstance(p.negative_prompt, list) else [p.negative_prompt or ""] * len(prompts)
    p.all_prompts = [webui.styles.apply(text, p.styles) for text in prompts]
    p.all_negative_prompts = [webui.styles.apply_negative(text, p.styles) for text in negatives]
    if webui.options.get("enable_prompt_comments"):
        p.all_prompts = [strip_comments(text) for text in p.all_prompts]
        p.all_negative_prompts = [strip_comments(text) for text in p.all_negative_prompts]
    fixed = bool(p.value("subseed_strength"))
    p.all_seeds = (
        p.seed if isinstance(p.seed, list) else [seed + (0 if fixed else i) for i in range(len(p.all_prompts))]
    )
    p.all_subseeds = [subseed + i for i in range(len(p.all_prompts))]


def _check_numbers(p: Processing) -> None:
    """The ways in which odd numbers end in the real program."""
    if p.width is None or p.height is None:
        raise type_error("unsupported operand type(s) for //: 'NoneType' and 'int'")
    if not p.all_prompts:
        raise WebUIError("IndexError", "list index out of range")
    if not isinstance(p.clip_skip, int | float) or isinstance(p.clip_skip, bool):
        raise type_error(f"bad operand type for unary -: '{type(p.clip_skip).__name__}'")
    if p.steps is None:
        raise type_error("unsupported operand type(s) for //: 'NoneType' and 'NoneType'")
    if p.steps == 0:
        raise WebUIError("ZeroDivisionError", "integer division or modulo by zero")
    if p.steps < 0:
        raise WebUIError("RuntimeError", "number of steps must be non-negative")
    if p.sampler_name == "UniPC" and p.steps < samplers.UNIPC_ORDER:
        raise WebUIError("AssertionError", "UniPC order must be < sampling steps")
    if p.value("cfg_scale") is None:
        raise type_error("unsupported operand type(s) for *: 'NoneType' and 'float'")
    _check_size(p)


def _check_size(p: Processing) -> None:
    width, height = p.width // LATENT, p.height // LATENT
    if width < 0 or height < 0:
        raise WebUIError(
            "RuntimeError",
            f"Trying to create tensor with negative dimension {min(width, height)}: [4, {height}, {width}]",
        )
    if width == 0 or height == 0:
        raise WebUIError(
            "RuntimeError",
            f"Calculated padded input size per channel: ({height + 2} x {width + 2}). Kernel size: (3 x 3). "
            f"Kernel size can't be "
            "greater than actual input size",
        )


def describe(webui: WebUI, p: Processing, index: int, *, main_prompt: bool = False) -> str:
    """The infotext of the picture at `index`."""
    prompts, negatives = p.all_prompts, p.all_negative_prompts
    index = 0 if main_prompt else index
    varied = bool(p.value("subseed_strength"))
    resized = (p.value("seed_resize_from_w") or 0) > 0 and (p.value("seed_resize_from_h") or 0) > 0
    options = webui.options
    ratio = options.get("token_merging_ratio")
    parameters: dict[str, Any] = {
        "Steps": p.steps,
        "Sampler": p.sampler_name,
        "Schedule type": p.scheduler,
        "CFG scale": p.value("cfg_scale"),
        "Seed": p.all_seeds[index],
        "Face restoration": options.get("face_restoration_model") if p.restore_faces else None,
        "Size": f"{p.width}x{p.height}",
        "Model": p.sd_model_name if options.get("add_model_name_to_info") else None,
        "VAE": p.sd_vae_name if options.get("add_vae_name_to_info") else None,
        "Variation seed": p.all_subseeds[index] if varied else None,
        "Variation seed strength": p.value("subseed_strength") if varied else None,
        "Seed resize from": f"{p.value('seed_resize_from_w')}x{p.value('seed_resize_from_h')}" if resized else None,
        "Denoising strength": p.extra_generation_params.get("Denoising strength"),
        "Clip skip": p.clip_skip if p.clip_skip > 1 else None,
        "ENSD": options.get("eta_noise_seed_delta") or None,
        "Token merging ratio": ratio or None,
        "RNG": options.get("randn_source") if options.get("randn_source") != "GPU" else None,
        "Tiling": "True" if p.tiling else None,
    }
    for key, value in p.extra_generation_params.items():
        parameters[key] = value(index) if callable(value) else (value[index] if isinstance(value, list) else value)
    parameters["Version"] = VERSION if options.get("add_version_to_infotext") else None
    return infotext.compose(prompts[index], negatives[index], parameters)


def make_grid(images: list[Image.Image], rows: int = -1) -> Image.Image:
    """All pictures in one; `rows` -1 is as square as it gets."""
    count = min(len(images), rows if rows > 0 else round(math.sqrt(len(images))))
    columns = -(-len(images) // count)
    width, height = images[0].size
    grid = Image.new("RGB", (columns * width, count * height), "black")
    for position, image in enumerate(images):
        grid.paste(image, (position % columns * width, position // columns * height))
    return grid


def _wants_grid(webui: WebUI, p: Processing, count: int) -> bool:
    single = count < 2 and webui.options.get("grid_only_if_multiple")  # noqa: PLR2004 # one picture needs no grid
    return bool(webui.options.get("return_grid") and not p.do_not_save_grid and not single and count)


def fixed_seed(seed: Any) -> int:
    """The seed itself, or a random one where it is left open."""
    if seed is None or seed == "" or (isinstance(seed, int) and seed == -1):
        return random.randrange(MAX_SEED)  # noqa: S311 # a picture's seed, not a secret
    return 0 if isinstance(seed, list) else int(seed)
