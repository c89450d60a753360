"""From what a picture's notes say to the job that makes it again. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.contract.types.adetailer import ADetailerUnit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NAMED = 12
_SIZE = re.compile(r"\s*(\d{1,5})\s*x\s*(\d{1,5})\s*")


def _whole(text: str) -> int:
    return int(text.strip())


def _number(text: str) -> float:
    return float(text)


def _text(text: str) -> str:
    return text


def _flag(text: str) -> bool:
    return text.strip().lower() == "true"


_FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "Steps": ("steps", _whole),
    "Sampler": ("sampler_name", _text),
    "Schedule type": ("scheduler", _text),
    "CFG scale": ("cfg_scale", _number),
    "Seed": ("seed", _whole),
    "Model": ("checkpoint", _text),
    "VAE": ("vae", _text),
    "Clip skip": ("clip_skip", _whole),
    "Tiling": ("tiling", _flag),
    "Variation seed": ("subseed", _whole),
    "Variation seed strength": ("subseed_strength", _number),
    "Denoising strength": ("denoising_strength", _number),
    "Eta": ("eta", _number),
    "Sigma churn": ("s_churn", _number),
    "Sigma tmin": ("s_tmin", _number),
    "Sigma tmax": ("s_tmax", _number),
    "Sigma noise": ("s_noise", _number),
    "Refiner": ("refiner_checkpoint", _text),
    "Refiner switch at": ("refiner_switch_at", _number),
    "Hires upscale": ("hr_scale", _number),
    "Hires steps": ("hr_second_pass_steps", _whole),
    "Hires upscaler": ("hr_upscaler", _text),
    "Hires checkpoint": ("hr_checkpoint_name", _text),
    "Hires sampler": ("hr_sampler_name", _text),
    "Hires schedule type": ("hr_scheduler", _text),
    "Hires prompt": ("hr_prompt", _text),
    "Hires negative prompt": ("hr_negative_prompt", _text),
}
"""Name in the WebUI's infotext → the job's field and how its value is read."""

_OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "Beta schedule alpha": ("beta_dist_alpha", _number),
    "Beta schedule beta": ("beta_dist_beta", _number),
    "Conditional mask weight": ("inpainting_mask_weight", _number),
    "Discard penultimate sigma": ("always_discard_next_to_last_sigma", _flag),
    "Downcast alphas_cumprod": ("use_downcasted_alpha_bar", _flag),
    "ENSD": ("eta_noise_seed_delta", _whole),
    "Emphasis": ("emphasis", _text),
    "Eta DDIM": ("eta_ddim", _number),
    "Extra noise": ("img2img_extra_noise", _number),
    "Hires refiner": ("hires_fix_refiner_pass", _text),
    "NGMS": ("s_min_uncond", _number),
    "NGMS all steps": ("s_min_uncond_all", _flag),
    "Noise Schedule": ("sd_noise_schedule", _text),
    "Noise multiplier": ("initial_noise_multiplier", _number),
    "Old prompt editing timelines": ("use_old_scheduling", _flag),
    "Pad conds": ("pad_cond_uncond", _flag),
    "Pad conds v0": ("pad_cond_uncond_v0", _flag),
    "RNG": ("randn_source", _text),
    "Refiner switch by sampling steps": ("refiner_switch_by_sample_steps", _flag),
    "SGM noise multiplier": ("sgm_noise_multiplier", _flag),
    "Schedule max sigma": ("sigma_max", _number),
    "Schedule min sigma": ("sigma_min", _number),
    "Schedule rho": ("rho", _number),
    "Skip Early CFG": ("skip_early_cond", _number),
    "Token merging ratio": ("token_merging_ratio", _number),
    "Token merging ratio hr": ("token_merging_ratio_hr", _number),
    "UniPC lower order final": ("uni_pc_lower_order_final", _flag),
    "UniPC order": ("uni_pc_order", _whole),
    "UniPC skip type": ("uni_pc_skip_type", _text),
    "UniPC variant": ("uni_pc_variant", _text),
    "Upcast cross attn": ("upcast_attn", _flag),
    "VAE Decoder": ("sd_vae_decode_method", _text),
    "VAE Encoder": ("sd_vae_encode_method", _text),
}
_PAIRS = {
    "Size": ("width", "height"),
    "Hires resize": ("hr_resize_x", "hr_resize_y"),
    "Seed resize from": ("seed_resize_from_w", "seed_resize_from_h"),
}
_OF_A_PICTURE: dict[str, tuple[str, Callable[[str], Any]]] = {
    "Image CFG scale": ("image_cfg_scale", _number),
    "Resize mode": ("resize_mode", _text),
}
_OF_A_MASK: dict[str, tuple[str, Callable[[str], Any]]] = {
    "Mask blur": ("mask_blur", _whole),
    "Masked area padding": ("inpaint_full_res_padding", _whole),
    "Masked content": ("inpainting_fill", _text),
    "Inpaint area": ("inpaint_full_res", lambda text: text.strip().lower() == "only masked"),
    "Mask mode": ("inpainting_mask_invert", lambda text: int("not masked" in text.lower())),
}
_SAYS_NOTHING = frozenset(
    {
        "Hashes", "Lora hashes", "Model hash", "Negative Template", "TI hashes", "Template", "Time taken", "User",
        "VAE hash", "Version", "Wildcard negative prompt", "Wildcard prompt",
    }
)  # fmt: skip
"""Names that tell nothing about how to make the picture again."""
_FORGE = frozenset({"Distilled CFG Scale", "Hires CFG Scale", "Hires Distilled CFG Scale", "Diffusion in Low Bits"})
_DETAILER = "ADetailer "
_DETAILER_NAMES = {
    "inpaint_padding": "inpaint_only_masked_padding",
    "mask_only_top_k": "mask_k",
    "mask_only_the_top_k_largest": "mask_k",
    "method_to_decide_top_k_masks": "mask_filter_method",
    "use_separate_cfg_scale": "use_cfg_scale",
    "use_separate_checkpoint": "use_checkpoint",
    "use_separate_clip_skip": "use_clip_skip",
    "use_separate_noise_multiplier": "use_noise_multiplier",
    "use_separate_sampler": "use_sampler",
    "use_separate_steps": "use_steps",
    "use_separate_vae": "use_vae",
}
_DETAILER_PLACE = re.compile(r"(?P<name>.+?)(?: (?P<place>\d+)(?:st|nd|rd|th))?")
_CONTROL_UNIT = re.compile(r"ControlNet(?:[- ](?P<index>\d+))?")
_CONTROL_FIELDS = {
    "control_mode", "guidance_end", "guidance_start", "hr_option", "model", "module", "pixel_perfect", "processor_res",
    "resize_mode", "threshold_a", "threshold_b", "weight",
}  # fmt: skip


@dataclass(slots=True)
class Rebuilt:
    """A job made from a picture's notes.

    Attributes:
        job: Its input.
        lost: Names of what the notes say and the job does not.
        warnings: What is missing to make the same picture.
    """

    job: dict[str, Any]
    lost: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def job_from(prompt: str, negative_prompt: str, fields: Mapping[str, str]) -> Rebuilt:
    """Return the job that makes the picture with these notes again, as far as they tell, and what they do not carry.

    LoRAs stand in the prompt as tags. A picture that was made from another one becomes a job of that kind, which still
    lacks the picture: it can't be run as it is, and so makes no other one.
    """
    rebuilt = Rebuilt({"prompt": prompt})
    job = rebuilt.job
    if negative_prompt:
        job["negative_prompt"] = negative_prompt
    left = {name: text for name, text in fields.items() if text.strip() and name not in _SAYS_NOTHING}
    _take(left, _FIELDS, job)
    for name, (across, down) in _PAIRS.items():
        match = _SIZE.fullmatch(left.get(name, ""))
        if match:
            job[across], job[down] = int(match[1]), int(match[2])
            del left[name]
    options: dict[str, Any] = {}
    _take(left, _OPTIONS, options)
    restorer = left.pop("Face restoration", None)
    if restorer is not None:
        job["restore_faces"] = True
        options["face_restoration_model"] = restorer
    if options:
        job["override_settings"] = options
    if any(name.startswith("hr_") for name in job):
        job["enable_hr"] = True
    _from_picture(left, rebuilt)
    _detailers(left, rebuilt)
    _control_units(left, rebuilt)
    rebuilt.lost += left
    _told(rebuilt)
    return rebuilt


def _take(left: dict[str, str], names: Mapping[str, tuple[str, Callable[[str], Any]]], into: dict[str, Any]) -> None:
    """Move what can be read from `left` to `into`."""
    for name, (target, read) in names.items():
        if name not in left:
            continue
        try:
            into[target] = read(left[name])
        except ValueError:
            continue
        del left[name]


def _from_picture(left: dict[str, str], rebuilt: Rebuilt) -> None:
    """Make the job one that starts from a picture, where the notes are of such a one."""
    job = rebuilt.job
    masked = any(name in left for name in _OF_A_MASK)
    alone = "denoising_strength" in job and not job.get("enable_hr")
    if not (masked or alone or any(name in left for name in _OF_A_PICTURE)):
        return
    _take(left, _OF_A_PICTURE, job)
    _take(left, _OF_A_MASK, job)
    job["type"] = "inpaint" if masked else "img2img"
    rebuilt.lost += ["init_images", "mask"] if masked else ["init_images"]
    missing = "a picture and a mask, which the file does not hold; add init_images and mask"
    without = "a picture, which the file does not hold; add init_images"
    rebuilt.warnings.append(f"made from {missing if masked else without}")


def _detailers(left: dict[str, str], rebuilt: Rebuilt) -> None:
    """Read ADetailer's passes, whose fields all stand in the notes, ``2nd`` and so on behind those of later ones."""
    units: dict[int, dict[str, Any]] = {}
    for name in [name for name in left if name.startswith(_DETAILER)]:
        found = _DETAILER_PLACE.fullmatch(name.removeprefix(_DETAILER))
        key = found["name"].strip().lower().replace(" ", "_") if found else ""
        key = _DETAILER_NAMES.get(key, key)
        if key == "version":
            del left[name]
        elif found and (key in ADetailerUnit.model_fields or key.startswith("use_")):
            units.setdefault(int(found["place"] or 1), {})[key] = left.pop(name)
    if units:
        rebuilt.job["adetailer"] = [units[place] for place in sorted(units)]


def _control_units(left: dict[str, str], rebuilt: Rebuilt) -> None:
    """Read ControlNet's units, of which only the pictures are missing."""
    units: list[dict[str, Any]] = []
    for name in [name for name in left if _CONTROL_UNIT.fullmatch(name)]:
        said = {
            part.partition(":")[0].strip().lower().replace(" ", "_"): part.partition(":")[2].strip()
            for part in left.pop(name).split(",")
        }
        said = {_CONTROL_NAMES.get(key, key): value for key, value in said.items()}
        units.append({key: value for key, value in said.items() if key in _CONTROL_FIELDS and value})
        rebuilt.lost.append(f"controlnet[{len(units) - 1}].image")
    if units:
        rebuilt.job["controlnet"] = units
        rebuilt.warnings.append("made with ControlNet, whose pictures the file does not hold; add controlnet[].image")


_CONTROL_NAMES = {
    "preprocessor": "module",
    "guidance_strength": "guidance_end",
    "starting": "guidance_start",
    "ending": "guidance_end",
}


def _told(rebuilt: Rebuilt) -> None:
    """Warn of what the job does not carry."""
    forge = [name for name in rebuilt.lost if name in _FORGE or name.startswith("Module ")]
    if forge:
        rebuilt.warnings.append(f"made with Forge, which A1111 is not: {', '.join(forge)}")
    rest = [name for name in rebuilt.lost if name not in forge and not _is_told(name)]
    if rest:
        shown = ", ".join(rest[:_NAMED]) + (f" and {len(rest) - _NAMED} more" if len(rest) > _NAMED else "")
        rebuilt.warnings.append(f"the job does not carry all that made the picture: {shown}")


def _is_told(name: str) -> bool:
    return name in {"init_images", "mask"} or name.startswith("controlnet[")
