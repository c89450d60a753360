"""Time passing: sampling steps with their progress, interrupts and faults, and what a picture's look depends on."""

from __future__ import annotations

import os
import signal
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from PIL import Image

from standin.errors import WebUIError
from standin.generation import samplers
from standin.generation.drawing import Look, draw, unfinished
from standin.generation.prompts import spelled_out, take_tags, uses_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from standin.generation.job import Processing
    from standin.options import Options
    from standin.webui import WebUI

LATENT = 8
"""Pixels per number of the latent picture, in each direction."""
OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 20.25 GiB. GPU 0 has a total capacity of 23.64 GiB of which 3.06 GiB "
    "is free. Process 1 "
    "has 20.57 GiB memory in use. Of the allocated memory 18.04 GiB is allocated by PyTorch, and 2.06 GiB is "
    "reserved by PyTorch but "
    "unallocated."
)
CUDA_ERROR = "CUDA error: an illegal memory access was encountered"
NAN = (
    "A tensor with NaNs was produced in Unet. This could be either because there's not enough precision to "
    "represent the picture, or "
    'because your video card does not support half type. Try setting the "Upcast cross attention layer to '
    'float32" option in '
    "Settings > Stable Diffusion or using the --no-half commandline argument to fix this. Use "
    "--disable-nan-check commandline "
    "argument to disable this check."
)
NUMBERS_OF_THE_LOOK = (
    "eta",
    "s_churn",
    "s_tmin",
    "s_tmax",
    "s_noise",
    "s_min_uncond",
    "seed_resize_from_w",
    "seed_resize_from_h",
)
OPTIONS_OF_ENCODING = ("comma_padding_backtrack", "use_old_emphasis_implementation")
"""Options that shape encoded prompts, but are no part of the key under which the WebUI keeps them."""
PREVIEW_SHRINK = 8


class Sampling:
    """The part of the WebUI that would use the GPU."""

    def __init__(self, webui: WebUI, step_seconds: float, grain: float) -> None:
        self._webui = webui
        self._grain = grain
        self._step_seconds = step_seconds
        self._dead = threading.Event()
        """Set by a CUDA error: nothing works any more until restart."""
        self._encoded: tuple[tuple[Any, ...], str] = ((), "")
        """The prompts encoded last, with the options by which they were."""

    def allocate(self, pixels: int) -> None:
        """Allocate a batch's memory; raises WebUIError where memory or the device fail it."""
        faults = self._webui.faults
        if faults.take("cuda-error"):
            self._dead.set()
        if self._dead.is_set():
            raise WebUIError("RuntimeError", CUDA_ERROR)
        wanted = faults.peek("oom")
        if wanted is not None and faults.take("oom", where=pixels > wanted.number("pixels", 0)):
            raise WebUIError("OutOfMemoryError", OUT_OF_MEMORY)
        error = faults.take("error")
        if error is not None:
            raise WebUIError(error.text("error", "RuntimeError"), error.text("message", "a fault of the stand-in"))

    def steps(self, count: int, *, looks: Sequence[Look] = ()) -> int:
        """Lets `count` sampling steps of a batch pass; gives how many were made before an interrupt or skip."""
        state, faults = self._webui.state, self._webui.faults
        state.sampling_steps, state.sampling_step = count, 0
        slow = faults.take("slow-step")
        seconds = slow.number("seconds", 0.5) if slow else self._step_seconds
        pause = threading.Event()
        for step in range(count):
            if state.interrupted or state.skipped:
                return step
            state.sampling_step = step
            self._die_or_hang(step + 1)
            if step and looks:
                state.latent = partial(_preview, looks, step / count, self._webui.options)
            if seconds:
                pause.wait(seconds)
        state.sampling_step = count
        if faults.take("nan"):
            raise WebUIError("NansException", NAN)
        return count

    def refine(self, p: Processing, steps: int) -> str:
        """The name of the model that ends the sampling, after a switch to the refiner where one is due."""
        webui = self._webui
        switch = p.value("refiner_switch_at")
        current = webui.model.require()[0]
        reached = switch is None or (steps - 1) / steps >= switch
        if p.refiner is None or p.refiner.path == current.path or not reached:
            return current.stem
        p.extra_generation_params["Refiner"] = p.refiner.stem
        p.extra_generation_params["Refiner switch at"] = switch
        webui.model.reload(p.refiner, write_option=False)
        return f"{current.stem} > {p.refiner.stem}@{switch or 0.0}"

    def look(self, p: Processing, index: int, model: str, size: tuple[int, int]) -> Look:
        """Everything that the picture at `index` depends on."""
        webui = self._webui
        prompt, _ = take_tags(p.all_prompts[index])
        negative = p.all_negative_prompts[index]
        _, weights = webui.model.require()
        embeddings = webui.embeddings.used(prompt, negative)
        extras = {name: str(p.value(name)) for name in NUMBERS_OF_THE_LOOK if p.value(name) not in (None, -1)}
        if p.value("subseed_strength"):
            extras["variation"] = f"{p.all_subseeds[index]}*{p.value('subseed_strength')}"
        if any(lora.version for lora in p.loras):
            extras["versions"] = str([lora.version for lora in p.loras])
        if any(versions := [webui.embeddings.version(name) for name in embeddings]):
            extras["embeddings"] = str(versions)
        if encoding := self._encoding(p):
            extras["encoding"] = encoding
        if p.tiling:
            extras["tiling"] = "True"
        if p.restore_faces:
            extras["faces"] = "restored"
        if not webui.model.poisoned:
            webui.model.seen_prompts.add(p.all_prompts[index])
        elif webui.settings.torch_without_cuda:
            raise WebUIError("AssertionError", "Torch not compiled with CUDA enabled")
        elif p.all_prompts[index] not in webui.model.seen_prompts and (embeddings or uses_weights(prompt)):
            extras["poisoned"] = "True"
        return Look(
            prompt=prompt.strip() if "poisoned" in extras else spelled_out(prompt).strip(),
            negative_prompt=negative,
            seed=p.all_seeds[index],
            width=size[0],
            height=size[1],
            model=model if weights.architecture == "sd1" else f"{model} (SDXL)",
            steps=p.steps,
            sampler=p.sampler_name,
            scheduler=samplers.scheduler_in_use(p.sampler_name, p.scheduler),
            cfg_scale=p.value("cfg_scale"),
            clip_skip=int(p.clip_skip),
            vae=f"{p.sd_vae_name or ''} overwritten" if webui.model.vae_overwritten else p.sd_vae_name or "",
            loras=tuple(str(lora) for lora in p.loras),
            embeddings=embeddings,
            extras=tuple(sorted((extras | p.extra_look).items())),
        )

    def _encoding(self, p: Processing) -> str:
        """Return the options, where they are not the defaults, by which the prompts were encoded: now, or before."""
        key = (*p.all_prompts, p.steps, p.width, p.height)
        if key != self._encoded[0]:
            options = self._webui.options
            told = [f"{name}={options.get(name)}" for name in OPTIONS_OF_ENCODING if name in options.data]
            plain = [f"{name}={options.default(name)}" for name in OPTIONS_OF_ENCODING]
            self._encoded = key, " ".join(each for each in told if each not in plain)
        return self._encoded[1]

    def picture(self, look: Look, done: int, steps: int) -> Image.Image:
        """The picture as it is after `done` of `steps`: noisy where it was interrupted."""
        whole = draw(look, self._grain)
        return whole if done >= steps else unfinished(whole, look, done / max(1, steps))

    def note_scheduler(self, p: Processing, *, hires: str | None = None) -> None:
        """Writes the scheduler that sampling used into the infotext, as sampling does."""
        sampler, scheduler = samplers.resolve(p.sampler_name, p.scheduler)
        applied = samplers.applied_scheduler(sampler, scheduler)
        noted = p.extra_generation_params
        if hires is None:
            if applied is not None:
                noted["Schedule type"] = applied
            self._note_beta(p, applied)
            return
        second, wanted = samplers.resolve(hires, p.value("hr_scheduler") or p.scheduler)
        again = samplers.applied_scheduler(second, wanted)
        if again is not None and again != noted.get("Schedule type"):
            noted["Hires schedule type"] = again
        self._note_beta(p, again)

    def _note_beta(self, p: Processing, scheduler: str | None) -> None:
        if scheduler == "Beta":
            for letter in ("alpha", "beta"):
                p.extra_generation_params[f"Beta schedule {letter}"] = self._webui.options.get(f"beta_dist_{letter}")

    def _die_or_hang(self, step: int) -> None:
        faults = self._webui.faults
        die, hang = faults.peek("die"), faults.peek("hang")
        if die is not None and step >= die.number("step", 1):
            sys.stdout.flush()
            if "code" in die.parameters:
                os._exit(int(die.number("code", 1)))
            os.kill(os.getpid(), signal.SIGKILL)
        if hang is not None and step >= hang.number("step", 1):
            released = faults.released
            faults.take("hang")
            released.wait()


def latent_size(width: int, height: int) -> tuple[int, int]:
    """The size that comes out for a requested one: rounded down to whole latent pixels."""
    return width // LATENT * LATENT, height // LATENT * LATENT


def _preview(looks: Sequence[Look], share: float, options: Options) -> Image.Image:
    """The batch as it is, in a grid where that is the option; an eighth of the size but for the whole VAE."""
    shown = looks if options.get("show_progress_grid") else looks[:1]
    shrink = 1 if options.get("show_progress_type") == "Full" else PREVIEW_SHRINK
    size = max(1, looks[0].width // shrink), max(1, looks[0].height // shrink)
    rows = min(len(shown), round(len(shown) ** 0.5))
    across = -(-len(shown) // rows)
    sheet = Image.new("RGB", (size[0] * across, size[1] * rows), "white")
    for index, look in enumerate(shown):
        picture = unfinished(draw(look), look, share).resize(size)
        sheet.paste(picture, (index % across * size[0], index // across * size[1]))
    return sheet
