"""The WebUI's own command line, flag by flag: what `GET /sdapi/v1/cmd-flags` shows is what argparse made of it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

SWITCHES_BEFORE_PATHS = [
    "f",
    "update_all_extensions",
    "skip_python_version_check",
    "skip_torch_cuda_test",
    "reinstall_xformers",
    "reinstall_torch",
    "update_check",
    "test_server",
    "log_startup",
    "skip_prepare_environment",
    "skip_install",
    "dump_sysinfo",
    "do_not_download_clip",
]
SWITCHES = [
    "no_half",
    "no_half_vae",
    "no_progressbar_hiding",
    "allow_code",
    "medvram",
    "medvram_sdxl",
    "lowvram",
    "lowram",
    "always_batch_cond_uncond",
    "unload_gfpgan",
    "upcast_sampling",
    "share",
    "enable_insecure_extension_access",
    "xformers",
    "force_enable_xformers",
    "xformers_flash_attention",
    "deepdanbooru",
    "opt_split_attention",
    "opt_sub_quad_attention",
    "opt_split_attention_invokeai",
    "opt_split_attention_v1",
    "opt_sdp_attention",
    "opt_sdp_no_mem_attention",
    "disable_opt_split_attention",
    "disable_nan_check",
    "use_ipex",
    "disable_model_loading_ram_optimization",
    "listen",
    "show_negative_prompt",
    "hide_ui_dir_config",
    "freeze_settings",
    "gradio_debug",
    "opt_channelslast",
    "autolaunch",
    "use_textbox_seed",
    "disable_console_progressbars",
    "enable_console_prompts",
    "disable_safe_unpickle",
    "api",
    "api_log",
    "nowebui",
    "ui_debug_mode",
    "administrator",
    "no_gradio_queue",
    "skip_version_check",
    "no_hashing",
    "no_download_sd_model",
    "add_stop_route",
    "api_server_stop",
    "disable_all_extensions",
    "disable_extra_extensions",
    "skip_load_model_at_start",
    "unix_filenames_sanitization",
    "no_prompt_history",
]
TEXTS = [
    "loglevel",
    "ngrok",
    "freeze_settings_in_sections",
    "freeze_specific_settings",
    "gradio_auth",
    "gradio_img2img_tool",
    "gradio_inpaint_tool",
    "theme",
    "api_auth",
    "device_id",
    "cors_allow_origins",
    "cors_allow_origins_regex",
    "tls_keyfile",
    "tls_certfile",
    "server_name",
    "subpath",
]
PATHS = ["models_dir", "ckpt_dir", "vae_dir", "gfpgan_model", "clip_models_path", "gradio_auth_path", "vae_path"]
NUMBERS = {
    "max_batch_count": 16,
    "sub_quad_q_chunk_size": 1024,
    "sub_quad_kv_chunk_size": None,
    "sub_quad_chunk_threshold": None,
    "timeout_keep_alive": 30,
    "filenames_max_length": 128,
}
PATHS_IN_DATA = {
    "config": "configs/v1-inference.yaml",
    "ckpt": "model.ckpt",
    "gfpgan_dir": "GFPGAN",
    "embeddings_dir": "embeddings",
    "textual_inversion_templates_dir": "textual_inversion_templates",
    "hypernetwork_dir": "models/hypernetworks",
    "localizations_dir": "localizations",
    "codeformer_models_path": "models/Codeformer",
    "gfpgan_models_path": "models/GFPGAN",
    "esrgan_models_path": "models/ESRGAN",
    "bsrgan_models_path": "models/BSRGAN",
    "realesrgan_models_path": "models/RealESRGAN",
    "dat_models_path": "models/DAT",
    "ui_config_file": "ui-config.json",
    "ui_settings_file": "config.json",
    "ldsr_models_path": "models/LDSR",
    "lora_dir": "models/Lora",
    "lyco_dir_backcompat": "models/LyCORIS",
    "scunet_models_path": "models/ScuNET",
    "swinir_models_path": "models/SwinIR",
}
EXTENSION_FLAGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "controlnet": (
        ("no_half_controlnet",),
        (
            "controlnet_dir",
            "controlnet_annotator_models_path",
            "controlnet_preprocessor_cache_size",
            "controlnet_loglevel",
            "controlnet_tracemalloc",
        ),
    ),
    "adetailer": (("ad_no_huggingface",), ()),
}


DEMO_FLAG = "--demo-models"


def parse_flags(arguments: list[str], *, working_folder: Path, extensions: tuple[str, ...] = ()) -> argparse.Namespace:
    """The flags as A1111 would see them; exits with status 2 for one it does not know, as the real one does.

    `working_folder` is the folder of the installation where `--data-dir` is not given. `--demo-models` is the
    stand-in's own.
    """
    parser = argparse.ArgumentParser(prog="standin", description="A stand-in for the WebUI: draws, does not diffuse.")
    parser.add_argument(DEMO_FLAG, action="store_true", help="write tiny models where a model folder is empty")
    for name in SWITCHES_BEFORE_PATHS + SWITCHES:
        parser.add_argument("-f" if name == "f" else f"--{name.replace('_', '-')}", action="store_true")
    for name in TEXTS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=str, default=None)
    for name in PATHS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=_absolute, default=None)
    for name, default in NUMBERS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    for name in PATHS_IN_DATA:
        parser.add_argument(f"--{name.replace('_', '-')}", type=_absolute, default=None)
    parser.add_argument("--data-dir", type=_absolute, default=str(working_folder))
    parser.add_argument("--port", type=int, default=None)
    parser.add_argument("--precision", choices=["full", "half", "autocast"], default="autocast")
    parser.add_argument("--ngrok-region", type=str, default="")
    parser.add_argument("--ngrok-options", type=json.loads, default={})
    parser.add_argument("--use-cpu", nargs="+", type=str.lower, default=[])
    parser.add_argument("--gradio-allowed-path", action="append", default=None)
    parser.add_argument("--gradio-queue", action="store_true", default=True)
    parser.add_argument("--styles-file", action="append", default=None)
    parser.add_argument("--disable-tls-verify", action="store_false", default=None)
    for extension in extensions:
        switches, values = EXTENSION_FLAGS.get(extension, ((), ()))
        for name in switches:
            parser.add_argument(f"--{name.replace('_', '-')}", action="store_true")
        for name in values:
            parser.add_argument(f"--{name.replace('_', '-')}", type=str, default=None)
    flags = parser.parse_args(arguments)
    _fill_paths(flags)
    return flags


def shown(flags: argparse.Namespace) -> dict[str, object]:
    """Return the answer of `GET /sdapi/v1/cmd-flags`: every flag of the real program, port as text."""
    values = {name: value for name, value in vars(flags).items() if name != "demo_models"}
    return values | {"port": None if flags.port is None else str(flags.port)}


def _fill_paths(flags: argparse.Namespace) -> None:
    data = Path(flags.data_dir)
    for name, relative in PATHS_IN_DATA.items():
        if getattr(flags, name) is None:
            setattr(flags, name, str(data / relative))
    if flags.gradio_allowed_path is None:
        flags.gradio_allowed_path = [flags.data_dir]
    if flags.styles_file is None:
        flags.styles_file = [str(data / "styles.csv")]


def _absolute(text: str) -> str:
    return str(Path(text).absolute())
