"""The bare body of the WebUI's API as the input itself: our own fields are a superset of it.

The answer is ours, which has the WebUI's `images`, `parameters` and `info`. With ``compat: "a1111"``, or for every bare
body where the operator set ``ANSWER_FORM=a1111``, it is the WebUI's own shape, where `info` is a JSON text. A bare body
alone can't tell: our own simplest job is one too.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from worker.contract.compat.client_form import Form, Translation

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from worker.contract.compat.client_form import Cache

WEBUI_FIELDS = frozenset(
    [
        "alwayson_scripts",
        "batch_size",
        "cfg_scale",
        "comments",
        "denoising_strength",
        "disable_extra_networks",
        "do_not_save_grid",
        "do_not_save_samples",
        "enable_hr",
        "eta",
        "firstpass_image",
        "firstphase_height",
        "firstphase_width",
        "force_task_id",
        "height",
        "hr_checkpoint_name",
        "hr_negative_prompt",
        "hr_prompt",
        "hr_resize_x",
        "hr_resize_y",
        "hr_sampler_name",
        "hr_scale",
        "hr_scheduler",
        "hr_second_pass_steps",
        "hr_upscaler",
        "image_cfg_scale",
        "include_init_images",
        "infotext",
        "init_images",
        "initial_noise_multiplier",
        "inpaint_full_res",
        "inpaint_full_res_padding",
        "inpainting_fill",
        "inpainting_mask_invert",
        "latent_mask",
        "mask",
        "mask_blur",
        "mask_blur_x",
        "mask_blur_y",
        "mask_round",
        "n_iter",
        "negative_prompt",
        "override_settings",
        "override_settings_restore_afterwards",
        "prompt",
        "refiner_checkpoint",
        "refiner_switch_at",
        "resize_mode",
        "restore_faces",
        "s_churn",
        "s_min_uncond",
        "s_noise",
        "s_tmax",
        "s_tmin",
        "sampler_index",
        "sampler_name",
        "save_images",
        "scheduler",
        "script_args",
        "script_name",
        "seed",
        "seed_resize_from_h",
        "seed_resize_from_w",
        "send_images",
        "steps",
        "styles",
        "subseed",
        "subseed_strength",
        "tiling",
        "width",
    ]
)
"""Fields of the WebUI's txt2img and img2img (its echo of a request, v1.10.1)."""


def is_bare(raw: Mapping[str, Any]) -> bool:
    """Return whether `raw` has only fields of the WebUI's own API."""
    return raw.keys() <= WEBUI_FIELDS


class WebUIBodyForm(Form):
    """The body of the WebUI's API, marked for an answer in the WebUI's own shape."""

    name = "a1111"
    marks = frozenset({"compat"})

    def matches(self, raw: Mapping[str, Any]) -> bool:
        """Return whether `raw` asks for the WebUI's own shape of answer."""
        return bool(raw["compat"] == self.name)

    def translate(self, raw: dict[str, Any], presets: Collection[str]) -> Translation:
        """Return `raw` without the mark."""
        return Translation({name: value for name, value in raw.items() if name != "compat"})

    def answer(self, call: Translation, answer: Mapping[str, Any], cache: Cache) -> dict[str, Any]:
        """Return `answer` in the WebUI's own shape."""
        return generation_answer(answer) if "images" in answer else dict(answer)


WEBUI_BODY = WebUIBodyForm()


def generation_answer(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the WebUI's answer to a request for pictures, by ours."""
    info = answer.get("info", {})
    earlier = [image for stage in answer.get("stages") or () for image in stage.get("images") or ()]  # of Loopback
    parts = answer.get("parts") or ()
    if parts and isinstance(info, dict):
        info = _of_all(info, [part.get("info") or {} for part in parts])
    if isinstance(answer.get("grid"), str) and any("cell" in part for part in parts):
        earlier, info = [answer["grid"]], _with_sheet(info)
    return {
        "images": [*earlier, *answer.get("images", ())],
        "parameters": answer.get("parameters", {}),
        "info": info if isinstance(info, str) else json.dumps(info, ensure_ascii=False),
    }


_PER_PICTURE = ("all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds", "infotexts")


def _of_all(info: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return `info` of the first of several requests with what it lists for each picture of all of them."""
    lists = {name: [entry for part in parts for entry in part.get(name) or ()] for name in _PER_PICTURE}
    return {**info, **lists}


def _with_sheet(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return `info` of a plot as the WebUI has it: its sheet comes first, and counts as the first cell's picture."""
    lists = {name: [*info[name][:1], *info[name]] for name in _PER_PICTURE}
    return {**info, **lists, "index_of_first_image": 1}
