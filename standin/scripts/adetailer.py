"""ADetailer 25.3.0: passes over what it finds; nothing in its arguments is ever an error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from standin.generation.prompts import take_tags
from standin.models.checkpoints import model_files
from standin.scripts.extension import Extension

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from standin.generation.job import Processed, Processing
    from standin.options import Options
    from standin.webui import WebUI

VERSION = "25.3.0"
BUILT_IN = ("mediapipe_face_full", "mediapipe_face_short", "mediapipe_face_mesh", "mediapipe_face_mesh_eyes_only")
AREA, CONFIDENCE = "Area", "Confidence"
Rule = tuple[str, Any, type, float | None, float | None, tuple[str, ...]]
"""Label in the infotext, default, type, least, most, permitted words."""

RULES: dict[str, Rule] = {
    "ad_model": ("model", "None", str, None, None, ()),
    "ad_model_classes": ("model classes", "", str, None, None, ()),
    "ad_tab_enable": ("tab enable", True, bool, None, None, ()),
    "ad_prompt": ("prompt", "", str, None, None, ()),
    "ad_negative_prompt": ("negative prompt", "", str, None, None, ()),
    "ad_confidence": ("confidence", 0.3, float, 0, 1, ()),
    "ad_mask_filter_method": ("method to decide top k masks", AREA, str, None, None, (AREA, CONFIDENCE)),
    "ad_mask_k": ("mask only top k", 0, int, 0, None, ()),
    "ad_mask_min_ratio": ("mask min ratio", 0.0, float, 0, 1, ()),
    "ad_mask_max_ratio": ("mask max ratio", 1.0, float, 0, 1, ()),
    "ad_x_offset": ("x offset", 0, int, None, None, ()),
    "ad_y_offset": ("y offset", 0, int, None, None, ()),
    "ad_dilate_erode": ("dilate erode", 4, int, None, None, ()),
    "ad_mask_merge_invert": ("mask merge invert", "None", str, None, None, ("None", "Merge", "Merge and Invert")),
    "ad_mask_blur": ("mask blur", 4, int, 0, None, ()),
    "ad_denoising_strength": ("denoising strength", 0.4, float, 0, 1, ()),
    "ad_inpaint_only_masked": ("inpaint only masked", True, bool, None, None, ()),
    "ad_inpaint_only_masked_padding": ("inpaint padding", 32, int, 0, None, ()),
    "ad_use_inpaint_width_height": ("use inpaint width height", False, bool, None, None, ()),
    "ad_inpaint_width": ("inpaint width", 512, int, 1, None, ()),
    "ad_inpaint_height": ("inpaint height", 512, int, 1, None, ()),
    "ad_use_steps": ("use separate steps", False, bool, None, None, ()),
    "ad_steps": ("steps", 28, int, 1, None, ()),
    "ad_use_cfg_scale": ("use separate CFG scale", False, bool, None, None, ()),
    "ad_cfg_scale": ("CFG scale", 7.0, float, 0, None, ()),
    "ad_use_checkpoint": ("use separate checkpoint", False, bool, None, None, ()),
    "ad_checkpoint": ("checkpoint", None, str, None, None, ()),
    "ad_use_vae": ("use separate VAE", False, bool, None, None, ()),
    "ad_vae": ("VAE", None, str, None, None, ()),
    "ad_use_sampler": ("use separate sampler", False, bool, None, None, ()),
    "ad_sampler": ("sampler", "DPM++ 2M Karras", str, None, None, ()),
    "ad_scheduler": ("scheduler", "Use same scheduler", str, None, None, ()),
    "ad_use_noise_multiplier": ("use separate noise multiplier", False, bool, None, None, ()),
    "ad_noise_multiplier": ("noise multiplier", 1.0, float, 0.5, 1.5, ()),
    "ad_use_clip_skip": ("use separate CLIP skip", False, bool, None, None, ()),
    "ad_clip_skip": ("CLIP skip", 1, int, 1, 12, ()),
    "ad_restore_face": ("restore face", False, bool, None, None, ()),
    "ad_controlnet_model": ("ControlNet model", "None", str, None, None, ()),
    "ad_controlnet_module": ("ControlNet module", "None", str, None, None, ()),
    "ad_controlnet_weight": ("ControlNet weight", 1.0, float, 0, 1, ()),
    "ad_controlnet_guidance_start": ("ControlNet guidance start", 0.0, float, 0, 1, ()),
    "ad_controlnet_guidance_end": ("ControlNet guidance end", 1.0, float, 0, 1, ()),
}
HIDDEN_AT_DEFAULT = frozenset(
    {"ad_model_classes", "ad_prompt", "ad_negative_prompt", "ad_mask_min_ratio", "ad_mask_max_ratio", "ad_x_offset"}
    | {"ad_y_offset", "ad_mask_merge_invert", "ad_restore_face", "ad_scheduler", "ad_controlnet_module"}
    | {"ad_controlnet_weight", "ad_controlnet_guidance_start", "ad_controlnet_guidance_end"}
)
GROUPS = {
    "ad_mask_k": ("ad_mask_k", "ad_mask_filter_method"),
    "ad_inpaint_only_masked": ("ad_inpaint_only_masked_padding",),
    "ad_use_inpaint_width_height": ("ad_use_inpaint_width_height", "ad_inpaint_width", "ad_inpaint_height"),
    "ad_use_steps": ("ad_use_steps", "ad_steps"),
    "ad_use_cfg_scale": ("ad_use_cfg_scale", "ad_cfg_scale"),
    "ad_use_checkpoint": ("ad_use_checkpoint", "ad_checkpoint"),
    "ad_use_vae": ("ad_use_vae", "ad_vae"),
    "ad_use_sampler": ("ad_use_sampler", "ad_sampler", "ad_scheduler"),
    "ad_use_noise_multiplier": ("ad_use_noise_multiplier", "ad_noise_multiplier"),
    "ad_use_clip_skip": ("ad_use_clip_skip", "ad_clip_skip"),
}
CONTROL = (
    "ad_controlnet_model",
    "ad_controlnet_module",
    "ad_controlnet_weight",
    "ad_controlnet_guidance_start",
    "ad_controlnet_guidance_end",
)
SUFFIXES = ("", " 2nd", " 3rd")


class ADetailer(Extension):
    """The extension; its models are those that mediapipe brings, and the files in its folders."""

    name, folder, version = "adetailer", "adetailer", VERSION
    options = {  # noqa: RUF012 # read, never written
        "ad_max_models": 4,
        "ad_extra_models_dir": "",
        "ad_save_previews": False,
        "ad_save_images_before": False,
        "ad_only_selected_scripts": True,
        "ad_script_names": "dynamic_prompting,dynamic_thresholding",
        "ad_bbox_sortby": "None",
        "ad_same_seed_for_each_tab": False,
    }

    def __init__(self, flags: argparse.Namespace, options: Options) -> None:
        own = Path(flags.models_dir or Path(flags.data_dir) / "models") / "adetailer"
        extra = [Path(folder) for folder in str(options.get("ad_extra_models_dir")).split("|") if folder]
        files = [path.name for folder in (own, *extra) for path in model_files(folder, (".pt",))]
        self.models = [*BUILT_IN, *dict.fromkeys(files)]

    def gets(self) -> dict[str, Callable[[WebUI, dict[str, str]], Any]]:
        """Version, models and the schema of a pass."""
        return {
            "/adetailer/v1/version": lambda _, __: {"version": VERSION},
            "/adetailer/v1/ad_model": lambda _, __: {"ad_model": self.models},
            "/adetailer/v1/schema": lambda _, __: schema(),
        }

    def process(self, webui: WebUI, p: Processing) -> None:
        """Writes what it will do into the infotext; with skip_img2img the picture itself is the start."""
        passes = self._passes(p)
        if not passes:
            return
        noted = p.extra_generation_params
        for place, one in passes:
            noted.update(told(one, place))
        noted["ADetailer version"] = VERSION
        found = [one for _, one in passes if self._finds(one)]
        if found:
            seen = [item for one in found for item in {**one, **_as_read(webui, p, one)}.items()]
            p.extra_look["detailed"] = repr(sorted((key, str(value)) for key, value in seen))
        if self._skips(p):
            p.steps, p.width, p.height = 1, 128, 128
            p.extra_look["skipped img2img"] = "True"

    def postprocess(self, webui: WebUI, p: Processing, processed: Processed) -> None:
        """With skip_img2img the pictures have the size of the given one, and are it where nothing was found."""
        if not self._passes(p) or not self._skips(p):
            return
        start = p.init_images[0].convert("RGB")
        changed = "detailed" in p.extra_look
        for place, image in enumerate(processed.images):
            new = image.resize(start.size) if changed else start.copy()
            new.info = dict(image.info)
            processed.images[place] = new

    def _skips(self, p: Processing) -> bool:
        arguments = p.alwayson.get(self.name, [])
        return bool(p.init_images) and p.mask is None and len(arguments) > 1 and arguments[1] is True

    def _passes(self, p: Processing) -> list[tuple[int, dict[str, Any]]]:
        arguments = p.alwayson.get(self.name, [])
        if not arguments or arguments[0] is False:
            return []
        if len(arguments) > 1 and arguments[1] is True and p.mask is not None:
            return []
        valid = [checked for value in arguments if isinstance(value, dict) and (checked := check(value)) is not None]
        return [(place, one) for place, one in enumerate(valid) if one["ad_model"] != "None" and one["ad_tab_enable"]]

    def _finds(self, one: dict[str, Any]) -> bool:
        control = one["ad_controlnet_model"]
        return one["ad_model"] in self.models and one["ad_model"] not in BUILT_IN and control in ("None", "Passthrough")


def _as_read(webui: WebUI, p: Processing, one: dict[str, Any]) -> dict[str, Any]:
    """The prompts of a pass as its model gets them: tags are taken out, and those that name no LoRA do nothing.

    Its answer says nothing of either: the LoRAs are noted with the pass's own picture, which is thrown away.
    `disable_extra_networks` is not handed on to a pass.
    """
    _, weights = webui.model.require()
    prompts: list[str] = []
    loras: list[str] = []
    for part in re.split(r"\s*\[SEP\]\s*", one["ad_prompt"]):
        text, tags = take_tags((part or "[PROMPT]").replace("[PROMPT]", p.all_prompts[0]))
        prompts.append(text.strip())
        loras += (f"{lora}@{lora.version}" for lora in (webui.networks.apply(tags, weights) if tags else ()))
    return {"ad_prompt": prompts, "loras": loras}


def check(raw: dict[str, Any]) -> dict[str, Any] | None:
    """A pass with all its fields; None (with a line in the log) for an unknown field or a value out of range."""
    values = {name: rule[1] for name, rule in RULES.items()}
    for name, value in raw.items():
        if name == "is_api":
            continue
        rule = RULES.get(name)
        if rule is None or not _fits(value, rule):
            print(f"[-] ADetailer: ValidationError: {name}", flush=True)
            return None
        values[name] = rule[2](value) if value is not None else None
    return values


def told(one: dict[str, Any], place: int) -> dict[str, Any]:
    """Return the infotext's fields about a pass."""
    hidden = {"ad_tab_enable"} | {name for name in HIDDEN_AT_DEFAULT if one[name] == RULES[name][1]}
    for switch, names in GROUPS.items():
        if not one[switch]:
            hidden.update(names)
    if one["ad_controlnet_model"] == "None":
        hidden.update(CONTROL)
    suffix = SUFFIXES[place] if place < len(SUFFIXES) else f" {place + 1}th"
    return {f"ADetailer {rule[0]}{suffix}": one[name] for name, rule in RULES.items() if name not in hidden}


def schema() -> dict[str, Any]:
    """The JSON schema of a pass."""
    kinds = {str: "string", bool: "boolean", int: "integer", float: "number"}
    properties: dict[str, Any] = {}
    for name, (_, default, kind, least, most, words) in RULES.items():
        entry: dict[str, Any] = {"title": name.replace("_", " ").title(), "type": kinds[kind]}
        entry |= {} if default is None else {"default": default}
        entry |= {} if least is None else {"minimum": least}
        entry |= {} if most is None else {"maximum": most}
        properties[name] = entry | ({"enum": list(words)} if words else {})
    properties["is_api"] = {"title": "Is Api", "default": True, "type": "boolean"}
    return {"title": "ADetailerArgs", "type": "object", "properties": properties, "additionalProperties": False}


def _fits(value: Any, rule: Rule) -> bool:
    _, default, kind, least, most, words = rule
    if value is None:
        return default is None
    try:
        converted = kind(value)
    except (TypeError, ValueError):
        return False
    if words and converted not in words:
        return False
    if isinstance(converted, bool) or not isinstance(converted, int | float):
        return not isinstance(value, list | dict)
    return (least is None or converted >= least) and (most is None or converted <= most)
