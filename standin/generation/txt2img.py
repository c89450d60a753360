"""Text to picture, with the second pass that the WebUI calls hires fix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from standin.errors import WebUIError, type_error
from standin.generation import samplers
from standin.generation.processing import note_loras
from standin.generation.prompts import take_tags
from standin.generation.sampling import LATENT, latent_size
from standin.models.upscalers import LATENT_MODES

if TYPE_CHECKING:
    from PIL import Image

    from standin.generation.drawing import Look
    from standin.generation.job import Processing
    from standin.models.checkpoints import Checkpoint
    from standin.webui import WebUI

SAME_CHECKPOINT = "Use same checkpoint"


@dataclass(frozen=True, slots=True)
class SecondPass:
    """The target of hires fix, in pixels, and how much of it is cut off (in latent pixels)."""

    width: int
    height: int
    cut_x: int = 0
    cut_y: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """The size of the picture that comes out."""
        return (self.width // LATENT - self.cut_x) * LATENT, (self.height // LATENT - self.cut_y) * LATENT


def second_pass(width: int, height: int, scale: float, resize_x: int, resize_y: int) -> SecondPass:
    """The target for a first pass of this size: scaled, or resized to cover and then cut."""
    if resize_x == 0 and resize_y == 0:
        return SecondPass(int(width * scale), int(height * scale))
    if resize_y == 0:
        return SecondPass(resize_x, resize_x * height // width)
    if resize_x == 0:
        return SecondPass(resize_y * width // height, resize_y)
    if width / height < resize_x / resize_y:
        target = (resize_x, resize_x * height // width)
    else:
        target = (resize_y * width // height, resize_y)
    return SecondPass(*target, (target[0] - resize_x) // LATENT, (target[1] - resize_y) // LATENT)


class TextToImage:
    """The work of the txt2img tab before and during sampling."""

    def __init__(self, webui: WebUI) -> None:
        self._webui = webui
        self._hires: SecondPass | None = None
        self._hires_checkpoint: Checkpoint | None = None

    def prepare(self, p: Processing) -> None:
        """Checks and notes what hires fix needs; raises WebUIError for names that do not exist."""
        if not p.value("enable_hr"):
            return
        webui, noted = self._webui, p.extra_generation_params
        noted["Denoising strength"] = p.value("denoising_strength")
        name = p.value("hr_checkpoint_name")
        if name and name != SAME_CHECKPOINT:
            self._hires_checkpoint = webui.checkpoints.closest(name)
            if self._hires_checkpoint is None:
                raise WebUIError("Exception", f"Could not find checkpoint with name {name}")
            noted["Hires checkpoint"] = self._hires_checkpoint.stem
        if p.value("hr_sampler_name") is not None and p.value("hr_sampler_name") != p.sampler_name:
            noted["Hires sampler"] = p.value("hr_sampler_name")
        noted["Hires prompt"] = lambda index: self._other_text(p, "hr_prompt", p.all_prompts[index])
        noted["Hires negative prompt"] = lambda index: self._other_text(
            p, "hr_negative_prompt", p.all_negative_prompts[index]
        )
        noted["Hires schedule type"] = None
        upscaler = p.value("hr_upscaler")
        if upscaler is not None and upscaler not in LATENT_MODES and not webui.has_upscaler(upscaler):
            raise WebUIError("Exception", f"could not find upscaler named {upscaler}")
        x, y = p.value("hr_resize_x") or 0, p.value("hr_resize_y") or 0
        if x == 0 and y == 0:
            noted["Hires upscale"] = p.value("hr_scale")
        else:
            noted["Hires resize"] = f"{x}x{y}"
        self._hires = second_pass(p.width, p.height, p.value("hr_scale"), x, y)
        if webui.state.job_count == -1:
            webui.state.job_count = p.n_iter
        webui.state.job_count *= 2
        if p.value("hr_second_pass_steps"):
            noted["Hires steps"] = p.value("hr_second_pass_steps")
        if upscaler is not None:
            noted["Hires upscaler"] = upscaler

    def batch(self, p: Processing, indexes: range) -> list[Image.Image]:
        """The pictures of one batch."""
        sampling, state = self._webui.sampling, self._webui.state
        size = latent_size(p.width, p.height)
        sampling.allocate(size[0] * size[1] * len(indexes))
        sampling.note_scheduler(p)
        model = self._webui.model.require()[0].stem
        done = sampling.steps(p.steps, looks=[sampling.look(p, index, model, size) for index in indexes])
        model = sampling.refine(p, p.steps)
        looks = [sampling.look(p, index, model, size) for index in indexes]
        if self._hires is None or state.interrupted:
            return [sampling.picture(look, done, p.steps) for look in looks]
        return self._second(p, indexes, looks)

    def _second(self, p: Processing, indexes: range, looks: list[Look]) -> list[Image.Image]:
        assert self._hires is not None  # noqa: S101 # the caller has just looked
        sampling, model = self._webui.sampling, self._webui.model
        sampler = p.value("hr_sampler_name") or p.sampler_name
        if self._hires_checkpoint is not None:
            model.reload(self._hires_checkpoint, write_option=False)
        if samplers.sampler_named(sampler) is None:
            raise WebUIError("AssertionError", f"bad sampler name: {sampler}")
        if p.value("denoising_strength") is None:
            raise type_error("'>' not supported between instances of 'NoneType' and 'int'")
        other = p.value("hr_prompt")
        if other and not p.value("disable_extra_networks"):
            note_loras(self._webui, p, take_tags(str(other))[1])
        size = self._hires.size
        if min(size) <= 0:
            raise WebUIError("RuntimeError", f"Trying to create tensor with negative dimension {min(size) // LATENT}")
        sampling.allocate(size[0] * size[1] * len(indexes))
        sampling.note_scheduler(p, hires=sampler)
        self._webui.state.nextjob()
        steps = p.value("hr_second_pass_steps") or p.steps
        done = sampling.steps(steps, looks=looks)
        second = {
            name: str(p.value(name))
            for name in ("hr_upscaler", "hr_prompt", "hr_negative_prompt", "denoising_strength")
        }
        second |= {"hr_steps": str(steps), "hr_sampler": sampler, "hr_model": model.require()[0].stem}
        second |= {"hr_from": f"{p.width}x{p.height}", "hr_scheduler": str(p.value("hr_scheduler"))}
        result = []
        for look in looks:
            larger = replace(look, width=size[0], height=size[1], extras=tuple(sorted((*look.extras, *second.items()))))
            result.append(sampling.picture(larger, done, steps))
        return result

    def _other_text(self, p: Processing, name: str, text: str) -> Any:
        styles = self._webui.styles
        apply = styles.apply if name == "hr_prompt" else styles.apply_negative
        other = p.value(name)
        return None if not other or apply(other, p.styles) == text else apply(other, p.styles)
