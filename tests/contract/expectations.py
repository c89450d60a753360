"""Everything that the worker relies on in A1111's HTTP interface (v1.10.1), in one place.

`test_webui_contract.py` checks the list against the stand-in, and against a real WebUI when WEBUI_URL is set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SMALL: dict[str, Any] = {"prompt": "a cat", "steps": 1, "width": 64, "height": 64, "seed": 42, "sampler_name": "Euler"}
"""A txt2img body that a real WebUI answers in well under a second on a CPU."""

PINNED: dict[str, Any] = {
    "CLIP_stop_at_last_layers": 1,
    "sd_vae": "Automatic",
    "samples_format": "png",
    "eta_noise_seed_delta": 0,
    "live_previews_enable": False,
    "grid_save": False,
}
"""Options that are set before the checks, as the worker sets them, so that overrides are restored."""

SAMPLERS: dict[str, tuple[str, ...]] = {
    "DPM++ 2M": ("k_dpmpp_2m",),
    "DPM++ SDE": ("k_dpmpp_sde",),
    "DPM++ 2M SDE": ("k_dpmpp_2m_sde",),
    "DPM++ 2M SDE Heun": ("k_dpmpp_2m_sde_heun",),
    "DPM++ 2S a": ("k_dpmpp_2s_a",),
    "DPM++ 3M SDE": ("k_dpmpp_3m_sde",),
    "Euler a": ("k_euler_a", "k_euler_ancestral"),
    "Euler": ("k_euler",),
    "LMS": ("k_lms",),
    "Heun": ("k_heun",),
    "DPM2": ("k_dpm_2",),
    "DPM2 a": ("k_dpm_2_a",),
    "DPM fast": ("k_dpm_fast",),
    "DPM adaptive": ("k_dpm_ad",),
    "Restart": ("restart",),
    "DDIM": ("ddim",),
    "DDIM CFG++": ("ddim_cfgpp",),
    "PLMS": ("plms",),
    "UniPC": ("unipc",),
    "LCM": ("k_lcm",),
}
SCHEDULERS: dict[str, str] = {
    "automatic": "Automatic",
    "uniform": "Uniform",
    "karras": "Karras",
    "exponential": "Exponential",
    "polyexponential": "Polyexponential",
    "sgm_uniform": "SGM Uniform",
    "kl_optimal": "KL Optimal",
    "align_your_steps": "Align Your Steps",
    "simple": "Simple",
    "normal": "Normal",
    "ddim": "DDIM",
    "beta": "Beta",
}
UPSCALERS = ("None", "Lanczos", "Nearest")
"""Those that need no file."""
LATENT_UPSCALE_MODES = (
    "Latent",
    "Latent (antialiased)",
    "Latent (bicubic)",
    "Latent (bicubic antialiased)",
    "Latent (nearest)",
    "Latent (nearest-exact)",
)
OPTIONS: dict[str, Any] = {
    "sd_vae": "Automatic",
    "sd_checkpoints_limit": 1,
    "sd_checkpoints_keep_in_cpu": True,
    "CLIP_stop_at_last_layers": 1,
    "samples_save": True,
    "samples_format": "png",
    "grid_save": True,
    "return_grid": True,
    "grid_only_if_multiple": True,
    "enable_pnginfo": True,
    "jpeg_quality": 80,
    "live_previews_enable": True,
    "show_progress_every_n_steps": 10,
    "memmon_poll_rate": 8,
    "disable_mmap_load_safetensors": False,
    "lora_in_memory_limit": 0,
    "eta_noise_seed_delta": 0,
    "face_restoration": False,
    "face_restoration_model": "CodeFormer",
    "code_former_weight": 0.5,
    "tiling": False,
    "randn_source": "GPU",
    "api_enable_requests": True,
    "api_forbid_local_requests": True,
    "upcast_attn": False,
    "auto_vae_precision": True,
    "token_merging_ratio": 0.0,
    "img2img_color_correction": False,
    "img2img_background_color": "#ffffff",
    "add_version_to_infotext": True,
    "persistent_cond_cache": True,
    "emphasis": "Original",
    "s_noise": 1.0,
    "eta_ancestral": 1.0,
    "eta_ddim": 0.0,
}
"""Options that the worker sets or reads, with the defaults of a fresh installation."""

LISTINGS: dict[str, tuple[type, tuple[str, ...]]] = {
    "samplers": (list, ("name", "aliases", "options")),
    "schedulers": (list, ("name", "label", "aliases", "default_rho", "need_inner_model")),
    "sd-models": (list, ("title", "model_name", "hash", "sha256", "filename", "config")),
    "sd-vae": (list, ("model_name", "filename")),
    "loras": (list, ("name", "alias", "path", "metadata")),
    "upscalers": (list, ("name", "model_name", "model_path", "model_url", "scale")),
    "latent-upscale-modes": (list, ("name",)),
    "face-restorers": (list, ("name", "cmd_dir")),
    "realesrgan-models": (list, ("name", "path", "scale")),
    "hypernetworks": (list, ()),
    "prompt-styles": (list, ()),
    "extensions": (list, ()),
    "script-info": (list, ("name", "is_alwayson", "is_img2img", "args")),
    "embeddings": (dict, ("loaded", "skipped")),
    "scripts": (dict, ("txt2img", "img2img")),
    "options": (dict, ("sd_model_checkpoint",)),
    "cmd-flags": (dict, ("ckpt", "ckpt_dir", "lora_dir", "embeddings_dir", "vae_dir", "no_hashing", "api", "data_dir")),
    "memory": (dict, ("ram", "cuda")),
    "progress": (dict, ("progress", "eta_relative", "state", "current_image", "textinfo")),
}
"""Every GET: the kind of its answer and the keys of it (of its first item, for a list)."""
STATE_KEYS = (
    *("skipped", "interrupted", "stopping_generation", "job", "job_count", "job_timestamp", "job_no"),
    *("sampling_step", "sampling_steps"),
)
SCRIPTS = {
    "txt2img": ("prompt matrix", "prompts from file or textbox", "x/y/z plot", "refiner", "sampler", "seed"),
    "img2img": ("loopback", "outpainting mk2", "poor man's outpainting", "sd upscale", "soft inpainting"),
}

TXT2IMG_DEFAULTS: dict[str, Any] = {
    "prompt": "",
    "negative_prompt": "",
    "styles": None,
    "seed": -1,
    "subseed": -1,
    "subseed_strength": 0,
    "seed_resize_from_h": -1,
    "seed_resize_from_w": -1,
    "sampler_name": None,
    "scheduler": None,
    "batch_size": 1,
    "n_iter": 1,
    "steps": 50,
    "cfg_scale": 7.0,
    "width": 512,
    "height": 512,
    "restore_faces": None,
    "tiling": None,
    "do_not_save_samples": False,
    "do_not_save_grid": False,
    "eta": None,
    "denoising_strength": None,
    "s_min_uncond": None,
    "s_churn": None,
    "s_tmax": None,
    "s_tmin": None,
    "s_noise": None,
    "override_settings": None,
    "override_settings_restore_afterwards": True,
    "refiner_checkpoint": None,
    "refiner_switch_at": None,
    "disable_extra_networks": False,
    "firstpass_image": None,
    "comments": None,
    "enable_hr": False,
    "firstphase_width": 0,
    "firstphase_height": 0,
    "hr_scale": 2.0,
    "hr_upscaler": None,
    "hr_second_pass_steps": 0,
    "hr_resize_x": 0,
    "hr_resize_y": 0,
    "hr_checkpoint_name": None,
    "hr_sampler_name": None,
    "hr_scheduler": None,
    "hr_prompt": "",
    "hr_negative_prompt": "",
    "force_task_id": None,
    "sampler_index": "Euler",
    "script_name": None,
    "script_args": [],
    "send_images": True,
    "save_images": False,
    "alwayson_scripts": {},
    "infotext": None,
}
"""Every field of txt2img as the answer's `parameters` shows it when nothing was sent."""
IMG2IMG_ONLY_DEFAULTS: dict[str, Any] = {
    "denoising_strength": 0.75,
    "init_images": None,
    "resize_mode": 0,
    "image_cfg_scale": None,
    "mask": None,
    "mask_blur_x": 4,
    "mask_blur_y": 4,
    "mask_blur": None,
    "mask_round": True,
    "inpainting_fill": 0,
    "inpaint_full_res": True,
    "inpaint_full_res_padding": 0,
    "inpainting_mask_invert": 0,
    "initial_noise_multiplier": None,
    "latent_mask": None,
    "include_init_images": False,
}
INFO_KEYS = (
    *(
        "prompt",
        "all_prompts",
        "negative_prompt",
        "all_negative_prompts",
        "seed",
        "all_seeds",
        "subseed",
        "all_subseeds",
    ),
    *("subseed_strength", "width", "height", "sampler_name", "cfg_scale", "steps", "batch_size", "restore_faces"),
    *("face_restoration_model", "sd_model_name", "sd_model_hash", "sd_vae_name", "sd_vae_hash", "seed_resize_from_w"),
    *(
        "seed_resize_from_h",
        "denoising_strength",
        "extra_generation_params",
        "index_of_first_image",
        "infotexts",
        "styles",
    ),
    *("job_timestamp", "clip_skip", "is_using_inpainting_conditioning", "version"),
)
"""The keys of `info`, in order."""


@dataclass(frozen=True)
class Refused:
    """A request that fails: what comes back.

    `error` and `message` are of the shape {"error", "detail", "body", "errors"} (`detail`: that of an HTTPException);
    `problems` of FastAPI's list, as (location, type) pairs; `plain` of {"detail": text}.
    """

    name: str
    path: str
    body: Any
    status: int = 500
    error: str = ""
    message: str | None = None
    detail: str = ""
    problems: tuple[tuple[tuple[Any, ...], str], ...] = ()
    plain: str = ""
    method: str = "POST"
    raw: bytes | None = None


def _job(name: str, error: str, message: str | None = None, **changes: Any) -> Refused:
    return Refused(name, "txt2img", {**SMALL, **changes}, error=error, message=message)


HIRES: dict[str, Any] = {"enable_hr": True, "denoising_strength": 0.4}
REFUSED = (
    _job("prompt null", "AssertionError", "", prompt=None),
    _job("steps zero", "ZeroDivisionError", None, steps=0),
    _job("steps negative", "RuntimeError", "number of steps must be non-negative", steps=-1),
    _job("steps null", "TypeError", None, steps=None),
    _job("width null", "TypeError", None, width=None),
    _job("width zero", "RuntimeError", None, width=0),
    _job("width negative", "RuntimeError", None, width=-64),
    _job("no batch", "IndexError", "list index out of range", batch_size=0),
    _job("no iteration", "IndexError", "list index out of range", n_iter=0),
    _job("unknown override", "KeyError", "'no_such_option'", override_settings={"no_such_option": 1}),
    _job("clip skip as text", "TypeError", None, override_settings={"CLIP_stop_at_last_layers": "2"}),
    _job("hires without denoising", "TypeError", None, enable_hr=True),
    _job("unknown hires upscaler", "Exception", "could not find upscaler named Nope", **HIRES, hr_upscaler="Nope"),
    _job("unknown hires sampler", "AssertionError", "bad sampler name: Nope", **HIRES, hr_sampler_name="Nope"),
    _job(
        "unknown hires checkpoint",
        "Exception",
        "Could not find checkpoint with name Nope",
        **HIRES,
        hr_checkpoint_name="Nope",
    ),
    _job("unknown refiner", "Exception", "Could not find checkpoint with name Nope", refiner_checkpoint="Nope"),
    _job(
        "UniPC with few steps", "AssertionError", "UniPC order must be < sampling steps", sampler_name="UniPC", steps=2
    ),
    _job(
        "always-on script as number",
        "TypeError",
        "argument of type 'int' is not iterable",
        alwayson_scripts={"seed": 5},
    ),
    Refused(
        "always-on args as object",
        "txt2img",
        {**SMALL, "alwayson_scripts": {"seed": {"args": {"a": 1}}}},
        error="KeyError",
    ),
    Refused(
        "unknown always-on script",
        "txt2img",
        {**SMALL, "alwayson_scripts": {"nope": {"args": []}}},
        422,
        "HTTPException",
        "",
        "Script 'nope' not found",
    ),
    Refused(
        "selectable script always on",
        "txt2img",
        {**SMALL, "alwayson_scripts": {"x/y/z plot": {"args": []}}},
        422,
        "HTTPException",
        "",
        "Cannot have a selectable script in the always on scripts params",
    ),
    Refused(
        "unknown script",
        "txt2img",
        {**SMALL, "script_name": "nope"},
        422,
        "HTTPException",
        "",
        "Script 'nope' not found",
    ),
    Refused(
        "steps as word",
        "txt2img",
        {**SMALL, "steps": "abc"},
        422,
        problems=((("body", "steps"), "type_error.integer"),),
    ),
    Refused(
        "cfg as word",
        "txt2img",
        {**SMALL, "cfg_scale": "x"},
        422,
        problems=((("body", "cfg_scale"), "type_error.float"),),
    ),
    Refused(
        "prompt as list", "txt2img", {**SMALL, "prompt": ["a"]}, 422, problems=((("body", "prompt"), "type_error.str"),)
    ),
    Refused(
        "seed as list", "txt2img", {**SMALL, "seed": [1]}, 422, problems=((("body", "seed"), "type_error.integer"),)
    ),
    Refused(
        "two mistakes",
        "txt2img",
        {**SMALL, "steps": "x", "prompt": {}},
        422,
        problems=((("body", "prompt"), "type_error.str"), (("body", "steps"), "type_error.integer")),
    ),
    Refused(
        "overrides as list",
        "txt2img",
        {**SMALL, "override_settings": [1]},
        422,
        problems=((("body", "override_settings"), "type_error.dict"),),
    ),
    Refused(
        "tiling as word",
        "txt2img",
        {**SMALL, "tiling": "maybe"},
        422,
        problems=((("body", "tiling"), "type_error.bool"),),
    ),
    Refused(
        "style as object",
        "txt2img",
        {**SMALL, "styles": ["a", {}]},
        422,
        problems=((("body", "styles", 1), "type_error.str"),),
    ),
    Refused("body is a list", "txt2img", [1], 422, problems=((("body",), "type_error.dict"),)),
    Refused("no body", "txt2img", None, 422, problems=((("body",), "value_error.missing"),)),
    Refused("broken JSON", "txt2img", None, 422, problems=((("body", 1), "value_error.jsondecode"),), raw=b"{bad"),
    Refused("GET of a POST", "txt2img", None, 405, plain="Method Not Allowed", method="GET"),
    Refused("unknown path", "nope", None, 404, plain="Not Found", method="GET"),
    Refused("ping without the web interface", "/internal/ping", None, 404, plain="Not Found", method="GET"),
    Refused("server-kill without its flag", "server-kill", None, 404, plain="Not Found"),
    Refused("img2img without pictures", "img2img", {"prompt": "x"}, 404, "HTTPException", "", "Init image not found"),
    Refused("img2img with none of them", "img2img", {**SMALL, "init_images": []}, error="RuntimeError"),
    Refused(
        "img2img with one picture as text",
        "img2img",
        {**SMALL, "init_images": "abc"},
        422,
        problems=((("body", "init_images"), "type_error.list"),),
    ),
    Refused(
        "img2img without base64",
        "img2img",
        {**SMALL, "init_images": ["%%%"]},
        500,
        "HTTPException",
        "",
        "Invalid encoded image",
    ),
    Refused(
        "img2img of a local address",
        "img2img",
        {**SMALL, "init_images": ["http://127.0.0.1:9/x.png"]},
        500,
        "HTTPException",
        "",
        "Request to local resource not allowed",
    ),
    Refused("options with an unknown key", "options", {"nope": 1}, error="KeyError", message="'nope'"),
    Refused(
        "options with an unknown checkpoint",
        "options",
        {"sd_model_checkpoint": "Nope"},
        error="RuntimeError",
        message="model 'Nope' not found",
    ),
    Refused("png-info of nothing", "png-info", {"image": ""}, 500, "HTTPException", "", "Invalid encoded image"),
    Refused("png-info without image", "png-info", {}, 422, problems=((("body", "image"), "value_error.missing"),)),
    Refused(
        "extras of no picture",
        "extra-single-image",
        {"image": "zzz"},
        500,
        "HTTPException",
        "",
        "Invalid encoded image",
    ),
    Refused(
        "interrogate without picture",
        "interrogate",
        {"model": "clip"},
        500,
        "HTTPException",
        "",
        "Invalid encoded image",
    ),
    Refused(
        "batch extras without list",
        "extra-batch-images",
        {},
        422,
        problems=((("body", "imageList"), "value_error.missing"),),
    ),
)


@dataclass(frozen=True)
class Taken:
    """A txt2img request that succeeds, though it may do something else than it says.

    `info`: keys of `info` with their values; `extra`: of its extra_generation_params; `parts`: what the first
    picture's infotext contains; `sizes`: of every picture that comes back.
    """

    name: str
    changes: dict[str, Any]
    info: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ((64, 64),)


KARRAS = {"Schedule type": "Karras"}
TAKEN = (
    Taken("plain", {}, {"seed": 42, "sampler_name": "Euler", "clip_skip": 1, "steps": 1, "sd_vae_name": None}),
    Taken("unknown field", {"foo_bar": 1}),
    Taken("numbers as text", {"seed": "123", "steps": "2"}, {"seed": 123, "steps": 2}),
    Taken("fractions", {"seed": 12.7, "steps": 2.5}, {"seed": 12, "steps": 2}),
    Taken("prompt as number", {"prompt": 5}, {"prompt": "5"}),
    Taken("negative seed", {"seed": -2}, {"seed": -2, "all_seeds": [-2]}),
    Taken(
        "large seed",
        {"seed": 4294967295, "batch_size": 2},
        {"all_seeds": [4294967295, 4294967296]},
        sizes=((64, 64),) * 2,
    ),
    Taken("cfg zero", {"cfg_scale": 0}, {"cfg_scale": 0.0}, parts=("CFG scale: 0.0, ",)),
    Taken(
        "seeds count up", {"seed": 7, "batch_size": 2, "n_iter": 2}, {"all_seeds": [7, 8, 9, 10]}, sizes=((64, 64),) * 4
    ),
    Taken(
        "subseed counts instead",
        {"batch_size": 2, "subseed": 5, "subseed_strength": 0.3},
        {"all_seeds": [42, 42], "all_subseeds": [5, 6], "subseed_strength": 0.3},
        parts=("Variation seed: 5, Variation seed strength: 0.3, ",),
        sizes=((64, 64),) * 2,
    ),
    Taken("width rounds down", {"width": 65, "height": 70}, {"width": 65, "height": 70}, parts=("Size: 65x70, ",)),
    Taken(
        "unknown sampler", {"sampler_name": "Nope"}, {"sampler_name": "DPM++ 2M"}, KARRAS, ("Schedule type: Karras, ",)
    ),
    Taken("sampler in lower case", {"sampler_name": "euler a"}, {"sampler_name": "DPM++ 2M"}, KARRAS),
    Taken("sampler by alias", {"sampler_name": "k_euler_a"}, {"sampler_name": "DPM++ 2M"}, KARRAS),
    Taken("sampler empty", {"sampler_name": ""}, {"sampler_name": "Euler"}),
    Taken("sampler by index", {"sampler_name": None, "sampler_index": "DDIM"}, {"sampler_name": "DDIM"}),
    Taken("combined name", {"sampler_name": "DPM++ 2M Karras"}, {"sampler_name": "DPM++ 2M"}, KARRAS),
    Taken("named scheduler", {"sampler_name": "DPM++ 2M", "scheduler": "karras"}, {"sampler_name": "DPM++ 2M"}, KARRAS),
    Taken("scheduler by label", {"sampler_name": "Euler", "scheduler": "Karras"}, {"sampler_name": "Euler"}, KARRAS),
    Taken(
        "explicit scheduler wins",
        {"sampler_name": "DPM++ 2M Karras", "scheduler": "exponential"},
        {"sampler_name": "DPM++ 2M"},
        {"Schedule type": "Exponential"},
    ),
    Taken(
        "unknown scheduler",
        {"scheduler": "nope"},
        {"extra_generation_params": {}},
        parts=("Schedule type: Automatic, ",),
    ),
    Taken(
        "clip skip", {"override_settings": {"CLIP_stop_at_last_layers": 2}}, {"clip_skip": 2}, parts=("Clip skip: 2, ",)
    ),
    Taken("clip skip as a field", {"clip_skip": 2}, {"clip_skip": 1}),
    Taken("unknown VAE", {"override_settings": {"sd_vae": "nope.safetensors"}}, {"sd_vae_name": None}),
    Taken("unknown style", {"styles": ["nope"]}, {"styles": ["nope"], "prompt": "a cat"}),
    Taken("unknown LoRA", {"prompt": "a cat <lora:nope:1>"}, {"prompt": "a cat <lora:nope:1>"}),
    Taken("comment", {"prompt": "cat # not this\n dog"}, {"prompt": "cat \n dog"}),
    Taken("tiling", {"tiling": True}, parts=("Tiling: True, ",)),
    Taken("no pictures wanted", {"send_images": False}, {"all_seeds": [42]}, sizes=()),
    Taken(
        "grid first",
        {"batch_size": 2, "save_images": True},
        {"index_of_first_image": 1, "all_seeds": [42, 43]},
        sizes=((128, 64), (64, 64), (64, 64)),
    ),
    Taken(
        "hires by factor",
        {**HIRES, "hr_upscaler": "Lanczos", "hr_scale": 1.5},
        {"width": 64, "denoising_strength": 0.4},
        {"Hires upscale": 1.5, "Hires upscaler": "Lanczos", "Hires prompt": None, "Denoising strength": 0.4},
        ("Size: 64x64, ", "Hires upscale: 1.5, Hires upscaler: Lanczos, "),
        ((96, 96),),
    ),
    Taken(
        "hires to a size",
        {**HIRES, "hr_upscaler": "Latent", "hr_resize_x": 96, "hr_resize_y": 128},
        extra={"Hires resize": "96x128"},
        sizes=((96, 128),),
    ),
    Taken(
        "hires with its own sampler",
        {**HIRES, "hr_sampler_name": "Euler a", "hr_scheduler": "karras", "hr_prompt": "dog"},
        extra={"Hires sampler": "Euler a", "Hires schedule type": "Karras"},
        parts=("Hires sampler: Euler a, Hires prompt: dog, Hires schedule type: Karras, ",),
        sizes=((128, 128),),
    ),
    Taken("seed script with its defaults", {"alwayson_scripts": {"seed": {"args": []}}}, {"seed": 42}),
)
