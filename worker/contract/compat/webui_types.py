"""Types of the bodies of A1111's API, read as A1111 reads them (pydantic 1). Pure.

The contract is stricter where a value would be changed in silence. On A1111's own paths what A1111 changes is changed
here as well, and said in a warning; what it refuses is left as it is, for the contract's words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_INTEGERS = frozenset(
    {
        "batch_size",
        "firstphase_height",
        "firstphase_width",
        "height",
        "hr_resize_x",
        "hr_resize_y",
        "hr_second_pass_steps",
        "inpaint_full_res_padding",
        "inpainting_fill",
        "inpainting_mask_invert",
        "mask_blur",
        "mask_blur_x",
        "mask_blur_y",
        "n_iter",
        "resize_mode",
        "seed",
        "seed_resize_from_h",
        "seed_resize_from_w",
        "steps",
        "subseed",
        "upscaling_resize_h",
        "upscaling_resize_w",
        "width",
    }
)
_NUMBERS = frozenset(
    {
        "cfg_scale",
        "codeformer_visibility",
        "codeformer_weight",
        "denoising_strength",
        "eta",
        "extras_upscaler_2_visibility",
        "gfpgan_visibility",
        "hr_scale",
        "image_cfg_scale",
        "initial_noise_multiplier",
        "refiner_switch_at",
        "s_churn",
        "s_min_uncond",
        "s_noise",
        "s_tmax",
        "s_tmin",
        "subseed_strength",
        "upscaling_resize",
    }
)
_SWITCHES = frozenset(
    {
        "disable_extra_networks",
        "do_not_save_grid",
        "do_not_save_samples",
        "enable_hr",
        "include_init_images",
        "inpaint_full_res",
        "mask_round",
        "override_settings_restore_afterwards",
        "restore_faces",
        "save_images",
        "send_images",
        "show_extras_results",
        "tiling",
        "upscale_first",
        "upscaling_crop",
    }
)
_TEXTS = frozenset(
    {
        "hr_checkpoint_name",
        "hr_negative_prompt",
        "hr_prompt",
        "hr_sampler_name",
        "hr_scheduler",
        "hr_upscaler",
        "negative_prompt",
        "prompt",
        "refiner_checkpoint",
        "sampler_index",
        "sampler_name",
        "scheduler",
        "script_name",
        "upscaler_1",
        "upscaler_2",
    }
)
_TRUE = frozenset({"1", "on", "t", "true", "y", "yes"})
_FALSE = frozenset({"0", "off", "f", "false", "n", "no"})
_SPELLINGS: dict[str, Mapping[str, str]] = {
    "sampler_name": {"huen": "Heun"},
    "sampler_index": {"huen": "Heun"},
    "hr_upscaler": {"latent (bicubic, antialiased)": "Latent (bicubic antialiased)"},
}
"""Field → the misspelt names that known programs send, in lower case → what they mean."""
_NO_SCHEDULER = "n/a"
"""Word of a program that could not load the list of schedulers."""
_LONGEST = 100
"""Characters of a text that may stand for a number or a switch, and bits of a number that may stand for a text."""


@dataclass(slots=True)
class TypedBody:
    """A body with its values as A1111 reads them.

    Attributes:
        fields: The body's.
        warnings: One for each value that is another one now.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def read_types(body: Mapping[str, Any]) -> TypedBody:
    """Return `body` with its values as A1111 reads them."""
    read = TypedBody()
    for name, value in body.items():
        if name in {"scheduler", "hr_scheduler"} and _word(value) == _NO_SCHEDULER:
            continue
        meant = _SPELLINGS.get(name, {}).get(_word(value))
        typed = meant if meant is not None else _read(name, value)
        read.fields[name] = typed
        if _is_another(value, typed):
            read.warnings.append(f"{name}: {_shown(value)} is read as {_shown(typed)}")
    return read


def _read(name: str, value: Any) -> Any:
    if name == "styles" and isinstance(value, list):
        return [_text(style) for style in value]
    readers: tuple[tuple[frozenset[str], Callable[[Any], Any]], ...] = (
        (_INTEGERS, _integer),
        (_NUMBERS, _number),
        (_SWITCHES, read_switch),
        (_TEXTS, _text),
    )
    return next((reader(value) for names, reader in readers if name in names), value)


def _integer(value: Any) -> Any:
    """Cut a fraction off; a text has to be a whole number."""
    if isinstance(value, float):
        return int(value) if math.isfinite(value) else value
    if not isinstance(value, (bool, str)) or (isinstance(value, str) and len(value) > _LONGEST):
        return value
    try:
        return int(value)
    except ValueError:
        return value


def _number(value: Any) -> Any:
    if not isinstance(value, (bool, str)) or (isinstance(value, str) and len(value) > _LONGEST):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return number if math.isfinite(number) else value


def read_switch(value: Any) -> Any:
    """Return the truth value that A1111 reads `value` as; what is no switch as it is."""
    if type(value) in {int, float} and value in (0, 1):
        return bool(value)
    word = _word(value)
    return True if word in _TRUE else False if word in _FALSE else value


def _text(value: Any) -> Any:
    if isinstance(value, float):
        return str(value) if math.isfinite(value) else value
    return str(value) if isinstance(value, int) and value.bit_length() <= _LONGEST else value


def _word(value: object) -> str:
    """Return a text as it is compared; blanks around it count, as they do in A1111."""
    return value.lower() if isinstance(value, str) and len(value) <= _LONGEST else ""


def _is_another(value: Any, typed: Any) -> bool:
    """Return whether a client may not expect the value that was read: a cut number, or a switch taken for one."""
    if isinstance(value, bool):
        return type(typed) is not bool
    return type(value) is float and type(typed) is int and value != typed


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else repr(value) if isinstance(value, str) else str(value)
