"""diffusers' names of arguments, translated when ``compat: "diffusers"`` is set (else they get suggestions)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from worker.contract.base.neutral import without_empty
from worker.contract.compat.client_form import Form, Translation
from worker.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

NAMES: dict[str, str] = {
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "num_images_per_prompt": "batch_size",
    "image": "init_images",
    "mask_image": "mask",
    "strength": "denoising_strength",
    "generator": "seed",
    "padding_mask_crop": "inpaint_full_res_padding",
}
"""Argument of a diffusers pipeline → our field."""

_CLIP_LAYERS = 12
_IGNORED = frozenset({"output_type", "return_dict", "num_inference_steps_scheduler"})
_NOT_SENT: dict[str, tuple[Any, ...]] = {
    "guidance_rescale": (0, 0.0),
    "eta": (0, 0.0),
    "use_safetensors": (True, False),
    "num_train_timesteps": (1000,),
    "original_size": (),
    "target_size": (),
    "crops_coords_top_left": ([0, 0],),
    "max_sequence_length": (77, 256, 512),
    "true_cfg_scale": (1, 1.0),
}
"""Arguments that A1111 has not, or has otherwise → values with which the pipeline changes nothing."""
_SAMPLERS = {
    "DDIMScheduler": "DDIM",
    "DEISMultistepScheduler": "DPM++ 2M",
    "DPMSolverMultistepScheduler": "DPM++ 2M",
    "DPMSolverSDEScheduler": "DPM++ SDE",
    "DPMSolverSinglestepScheduler": "DPM++ 2S a",
    "EulerAncestralDiscreteScheduler": "Euler a",
    "EulerDiscreteScheduler": "Euler",
    "HeunDiscreteScheduler": "Heun",
    "KDPM2AncestralDiscreteScheduler": "DPM2 a",
    "KDPM2DiscreteScheduler": "DPM2",
    "LCMScheduler": "LCM",
    "LMSDiscreteScheduler": "LMS",
    "PNDMScheduler": "PLMS",
    "UniPCMultistepScheduler": "UniPC",
}
"""diffusers' class → sampler."""
_NEAR = frozenset({"DEISMultistepScheduler", "DPMSolverSinglestepScheduler"})
_UNIT = {
    "control_image": "image",
    "controlnet": "model",
    "controlnet_conditioning_scale": "weight",
    "control_guidance_start": "guidance_start",
    "control_guidance_end": "guidance_end",
    "guess_mode": "",
}
"""Argument of a ControlNet pipeline → field of one unit; empty: nothing here."""
_SECOND = {"prompt_2": "prompt", "prompt_3": "prompt", "negative_prompt_2": "negative_prompt"}
"""Texts for further encoders, which A1111 gives the same text."""


class DiffusersForm(Form):
    """The arguments of a diffusers pipeline."""

    name = "diffusers"
    marks = frozenset({"compat"})

    def matches(self, raw: Mapping[str, Any]) -> bool:
        """Return whether `raw` says that it has this form."""
        return bool(raw["compat"] == self.name)

    def translate(self, raw: dict[str, Any], presets: Collection[str]) -> Translation:
        """Return `raw` in our names."""
        cleaned = without_empty(raw)
        empty = tuple(name for name in cleaned.empty if not _reads(name))
        return replace(to_job(cleaned.fields), empty=empty)


DIFFUSERS = DiffusersForm()


def _reads(name: str) -> bool:
    """Return whether `name` is an argument that this form knows."""
    return any(name in known for known in (NAMES, _IGNORED, _NOT_SENT, _UNIT, _SECOND))


def to_job(raw: Mapping[str, Any]) -> Translation:
    """Return `raw`, in which every value says something, in our names.

    `clip_skip` counts from the last layer there (0: none skipped) and from one here. Guidance of 1 and less is none
    there, which is a CFG scale of 1 here. Inpainting works on the whole picture there unless `padding_mask_crop` is
    given.

    Raises:
        InvalidInput: an argument and our field for it, both given.
    """
    call = Translation()
    fields, written = call.fields, call.written
    for name, value in raw.items():
        ours = NAMES.get(name, name)
        if name == "compat" or name in _IGNORED or name in _UNIT or value in _NOT_SENT.get(name, ()):
            continue
        if name in _SECOND and value == raw.get(_SECOND[name]):
            continue
        if ours in fields:
            raise InvalidInput.at(name, f"says the same as {written.get(ours, ours)}; send one of them")
        if ours != name:
            written[ours] = name
        fields[ours] = value
    if isinstance(fields.get("init_images"), str):
        fields["init_images"] = [fields["init_images"]]
        written["init_images[0]"] = written.get("init_images", "init_images")
    _guidance(call)
    _scheduler(call)
    _unit(raw, call)
    skipped = fields.get("clip_skip")
    if type(skipped) is int:
        if not 0 <= skipped < _CLIP_LAYERS:
            raise InvalidInput.at("clip_skip", f"must be 0 to {_CLIP_LAYERS - 1}, not {skipped}")
        fields["clip_skip"] = skipped + 1
    if fields.get("mask") and fields.get("inpaint_full_res") is None:
        fields["inpaint_full_res"] = fields.get("inpaint_full_res_padding") is not None
    return call


def _guidance(call: Translation) -> None:
    scale = call.fields.get("cfg_scale")
    if call.written.get("cfg_scale") != "guidance_scale" or not isinstance(scale, (int, float)):
        return
    if not isinstance(scale, bool) and 0 <= scale < 1:
        call.fields["cfg_scale"] = 1
        call.warnings.append("guidance_scale of 1 and less is no guidance in diffusers; here it becomes cfg_scale 1")


def _scheduler(call: Translation) -> None:
    """Read the name of a scheduler's class, which chooses the sampler there."""
    name = call.fields.get("scheduler")
    kind = name.rpartition(".")[2] if isinstance(name, str) else ""
    if kind not in _SAMPLERS or "sampler_name" in call.fields:
        return
    del call.fields["scheduler"]
    call.fields["sampler_name"] = _SAMPLERS[kind]
    call.written["sampler_name"] = "scheduler"
    if kind in _NEAR:
        call.warnings.append(f"{kind} is no sampler of the WebUI; its nearest, {_SAMPLERS[kind]!r}, draws instead")


def _unit(raw: Mapping[str, Any], call: Translation) -> None:
    """Read the arguments of a ControlNet pipeline as one unit."""
    given = {name: raw[name] for name, ours in _UNIT.items() if name in raw and ours}
    if isinstance(raw.get("controlnet"), (list, dict)):
        call.fields["controlnet"] = raw["controlnet"]
    elif given:
        call.fields["controlnet"] = [{_UNIT[name]: value for name, value in given.items()}]
        call.written.update({f"controlnet[0].{_UNIT[name]}": name for name in given})
