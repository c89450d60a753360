"""The WebUI's options that one job may override, by allow-list, with their types.

Only what shapes this job's pictures is here. What would touch files, other jobs or the process is not, and what the
contract has its own field for (checkpoint, VAE, clip skip, picture format) is moved there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticCustomError

from worker.common.suggestions import nearest
from worker.contract.base.json_guard import shown, word
from worker.contract.base.neutral import says_nothing
from worker.contract.base.other_programs import other_field
from worker.contract.types.fields import Flag, Number, Text, Whole, mistake
from worker.contract.types.other_options import AT_DEFAULT, WITHOUT_EFFECT
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping


class OneOf:
    """One of the words that the WebUI knows for an option, in any case: it takes its default in silence for another."""

    def __init__(self, *words: str) -> None:
        self._words = {each.lower(): each for each in words}

    def read(self, value: object) -> str:
        """Return the word in `value`; raise a `mistake` otherwise."""
        found = self._words.get(word(value))
        if found is None:
            near = nearest(value, self._words.values()) if isinstance(value, str) else None
            raise mistake(f"must be one of {', '.join(self._words.values())}, not {shown(value)}", near)
        return found


class Colour:
    """A colour as Pillow reads it, which the WebUI leaves it to: ``#rrggbb``, ``rgb(…)``, or a name of CSS."""

    def read(self, value: object) -> str:
        """Return the text in `value`; raise a `mistake` otherwise."""
        from PIL import ImageColor  # noqa: PLC0415 - one rare option needs it

        text = Text(40).read(value)
        try:
            ImageColor.getrgb(text)
        except ValueError:
            raise mistake(f"must be a colour such as #ffffff or white, not {shown(value)}") from None
        return text


Reader = Colour | Flag | Number | OneOf | Text | Whole

ALLOWED: dict[str, Reader] = {
    "CLIP_stop_at_last_layers": Whole(1, 12),
    "DAT_tile": Whole(0, 512, 16),
    "DAT_tile_overlap": Whole(0, 48),
    "ESRGAN_tile": Whole(0, 512, 16),
    "ESRGAN_tile_overlap": Whole(0, 48),
    "always_discard_next_to_last_sigma": Flag(),
    "beta_dist_alpha": Number(0.01, 1),
    "beta_dist_beta": Number(0.01, 1),
    "code_former_weight": Number(0, 1),
    "comma_padding_backtrack": Whole(0, 74),
    "ddim_discretize": OneOf("uniform", "quad"),
    "emphasis": OneOf("None", "Ignore", "Original", "No norm"),
    "enable_batch_seeds": Flag(),
    "enable_prompt_comments": Flag(),
    "eta_ancestral": Number(0, 1),
    "eta_ddim": Number(0, 1),
    "eta_noise_seed_delta": Whole(0, 2**32 - 1),
    "extra_networks_default_multiplier": Number(0, 2),
    "face_restoration_model": Text(40),
    "hires_fix_refiner_pass": OneOf("first pass", "second pass", "both passes"),
    "hires_fix_use_firstpass_conds": Flag(),
    "img2img_background_color": Colour(),
    "img2img_color_correction": Flag(),
    "img2img_extra_noise": Number(0, 1),
    "img2img_fix_steps": Flag(),
    "initial_noise_multiplier": Number(0, 1.5),
    "inpainting_mask_weight": Number(0, 1),
    "no_dpmpp_sde_batch_determinism": Flag(),
    "overlay_inpaint": Flag(),
    "pad_cond_uncond": Flag(),
    "pad_cond_uncond_v0": Flag(),
    "randn_source": OneOf("GPU", "CPU", "NV"),
    "refiner_switch_by_sample_steps": Flag(),
    "rho": Number(0, 100),
    "s_churn": Number(0, 100),
    "s_min_uncond": Number(0, 15),
    "s_min_uncond_all": Flag(),
    "s_noise": Number(0, 1.1),
    "s_tmax": Number(0, 999),
    "s_tmin": Number(0, 10),
    "sd_hypernetwork": Text(200),
    "sd_model_checkpoint": Text(500),
    "sd_noise_schedule": OneOf("Default", "Zero Terminal SNR"),
    "sd_vae": Text(500),
    "sd_vae_decode_method": OneOf("Full", "TAESD"),
    "sd_vae_encode_method": OneOf("Full", "TAESD"),
    "sdxl_clip_l_skip": Flag(),
    "sdxl_crop_left": Whole(0, 4096),
    "sdxl_crop_top": Whole(0, 4096),
    "sdxl_refiner_high_aesthetic_score": Number(0, 10),
    "sdxl_refiner_low_aesthetic_score": Number(0, 10),
    "sgm_noise_multiplier": Flag(),
    "sigma_max": Number(0, 60),
    "sigma_min": Number(0, 2),
    "skip_early_cond": Number(0, 1),
    "tiling": Flag(),
    "token_merging_ratio": Number(0, 0.9),
    "token_merging_ratio_hr": Number(0, 0.9),
    "token_merging_ratio_img2img": Number(0, 0.9),
    "uni_pc_lower_order_final": Flag(),
    "uni_pc_order": Whole(1, 50),
    "uni_pc_skip_type": OneOf("time_uniform", "time_quadratic", "logSNR"),
    "uni_pc_variant": OneOf("bh1", "bh2", "vary_coeff"),
    "upcast_attn": Flag(),
    "upscaler_for_img2img": Text(200),
    "use_downcasted_alpha_bar": Flag(),
    "use_old_emphasis_implementation": Flag(),
    "use_old_hires_fix_width_height": Flag(),
    "use_old_karras_scheduler_sigmas": Flag(),
    "use_old_scheduling": Flag(),
}
"""Option → how its value is read. Ranges are those of the WebUI's own sliders."""

MOVED: dict[str, str] = {
    "sd_model_checkpoint": "checkpoint",
    "sd_vae": "vae",
    "CLIP_stop_at_last_layers": "clip_skip",
    "samples_format": "output.format",
    "jpeg_quality": "output.quality",
    "webp_lossless": "output.lossless",
}
"""Option → the job's own field for the same thing."""


_ALL_OPTIONS = 100
"""Known options from which on they are all that the WebUI has, read and sent back; a job names a few."""
_INSTEAD = {"tiling": "tiling", "face_restoration": "restore_faces"}
"""Option of the screen's start values → the job's own field."""
_FIELDS = (
    *dict.fromkeys(field.partition(".")[0] for field in MOVED.values()),
    *("steps", "cfg_scale", "sampler_name", "scheduler", "seed", "width", "height", "denoising_strength", "styles"),
)
"""Fields of a job that may be taken for options."""
_SAME_NAME = 1.0


def _unknown(name: str, path: str) -> Problem:
    """Return the problem with an option that is not allowed: it may be a field of the job, or misspelt."""
    said = "is not an option that a job may override"
    moved = next((option for option, field in MOVED.items() if name.casefold() == option.casefold()), None)
    field = nearest(name, _FIELDS, similarity=_SAME_NAME, prefix=False)
    if moved is not None:
        return Problem(path, f"{said} under this spelling", moved)
    if field is not None:
        return Problem(path, f"{said}; send {field!r} as a field of the job", field)
    return Problem(path, said, nearest(name, [*ALLOWED, *MOVED]))


@dataclass(frozen=True, slots=True)
class Overrides:
    """The meaning of a job's override settings.

    Attributes:
        kept: Options with their values read.
        problems: A problem for each option that is unknown, wrong, or not to be changed by a job.
        ignored: Options without effect on pictures, in words.
    """

    kept: dict[str, Any]
    problems: list[Problem]
    ignored: list[str]


def read_overrides(given: Mapping[str, Any], path: str = "override_settings") -> Overrides:
    """Return what the override settings `given` say; null values and the options of `MOVED` are left out."""
    kept: dict[str, Any] = {}
    problems: list[Problem] = []
    ignored: list[str] = []
    all_of_them = len(given.keys() & (ALLOWED.keys() | WITHOUT_EFFECT)) >= _ALL_OPTIONS
    for name, value in given.items():
        if name in MOVED or value is None:
            continue
        reader = ALLOWED.get(name)
        if reader is None:
            refused = _not_allowed(name, value, f"{path}.{name}")
            if isinstance(refused, Problem) and all_of_them:
                refused = refused.path  # nobody typed it: the options of extensions come back as well
            if isinstance(refused, Problem):
                problems.append(refused)
            elif refused:
                ignored.append(refused)
            continue
        try:
            kept[name] = reader.read(value)
        except PydanticCustomError as error:
            suggestion = (error.context or {}).get("suggestion")
            problems.append(Problem(f"{path}.{name}", error.message(), None if suggestion is None else str(suggestion)))
    return Overrides(kept, problems, ignored)


def _not_allowed(  # noqa: PLR0911 - one explanation after the other
    name: str, value: object, path: str
) -> Problem | str:
    """Return the problem of an option that no job may override, else the option in words; empty: not worth a word."""
    if name in WITHOUT_EFFECT:
        return path
    if name in AT_DEFAULT:
        if value == AT_DEFAULT[name]:
            return ""
        return Problem(path, "is not an option that a job may override", _INSTEAD.get(name))
    other = other_field(name)
    if other is not None:
        if says_nothing(value) or other.changes_nothing(value):
            return f"{path} ({other.owner}'s)"
        return Problem(path, f"is an option of {other.owner}; this worker runs AUTOMATIC1111", other.instead)
    if says_nothing(value):
        return path
    return _unknown(name, path)
