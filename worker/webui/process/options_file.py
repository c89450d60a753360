"""The options that are written before the WebUI starts, so that no job can change another and none wastes time.

A1111 restores an overridden option after a job only if its config file names that option: everything a job may
override is therefore written here with A1111's own default (v1.10.1, `modules/shared_options.py`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from worker.common.atomic_files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORCED: dict[str, Any] = {
    # Nothing is written to disk behind the worker's back, and no picture appears twice in an answer.
    "samples_save": False,
    "grid_save": False,
    "save_images_before_face_restoration": False,
    "save_images_before_highres_fix": False,
    "save_images_before_color_correction": False,
    "save_mask": False,
    "save_mask_composite": False,
    "save_init_img": False,
    "save_incomplete_images": False,
    "export_for_4chan": False,
    "return_grid": False,
    "return_mask": False,
    "return_mask_composite": False,
    "do_not_show_images": False,
    # The answer's infotext is evidence: it has to be complete.
    "enable_pnginfo": True,
    "add_model_name_to_info": True,
    "add_model_hash_to_info": True,
    "add_vae_name_to_info": True,
    "add_vae_hash_to_info": True,
    "add_version_to_infotext": True,
    "lora_add_hashes_to_infotext": True,
    "textual_inversion_add_hashes_to_infotext": True,
    "lora_not_found_warning_console": True,
    # A preview decodes the latent again on the GPU; the memory monitor polls it.
    "live_previews_enable": False,
    # A job that asks for previews switches them on for itself: its progress is asked for at a bounded rate.
    "show_progress_type": "Approx cheap",
    "show_progress_every_n_steps": 1,
    "show_progress_grid": True,
    "live_previews_image_format": "png",
    "show_progressbar": True,
    "memmon_poll_rate": 0,
    # An upscaler that could not be read has its plain resize remembered too, without another word in the log.
    "upscaling_max_images_in_cache": 0,
    # Pictures by URL are fetched by the worker, guarded; never by the WebUI.
    "api_enable_requests": False,
    "api_forbid_local_requests": True,
    # Every picture of a batch is encoded as PNG; other formats are made beside the next job.
    "samples_format": "png",
    "disable_all_extensions": "none",
    # Aliases of LoRAs collide; the file's name is the tag.
    "lora_preferred_name": "Filename",
    "control_net_no_detectmap": False,
    "control_net_unit_count": 10,
    "ad_max_models": 8,
    "ad_save_images_before": False,
    "ad_save_previews": False,
}

OVERRIDABLE: dict[str, Any] = {
    "CLIP_stop_at_last_layers": 1,
    "sd_vae": "Automatic",
    "sd_vae_overrides_per_model_preferences": True,
    "sd_unet": "Automatic",
    "sd_vae_encode_method": "Full",
    "sd_vae_decode_method": "Full",
    "auto_vae_precision": True,
    "auto_vae_precision_bfloat16": False,
    "upcast_attn": False,
    "emphasis": "Original",
    "enable_batch_seeds": True,
    "comma_padding_backtrack": 20,
    "sdxl_clip_l_skip": False,
    "sdxl_crop_top": 0,
    "sdxl_crop_left": 0,
    "sdxl_refiner_low_aesthetic_score": 2.5,
    "sdxl_refiner_high_aesthetic_score": 6.0,
    "randn_source": "GPU",
    "tiling": False,
    "hires_fix_refiner_pass": "second pass",
    "hires_fix_use_firstpass_conds": False,
    "inpainting_mask_weight": 1.0,
    "initial_noise_multiplier": 1.0,
    "img2img_extra_noise": 0.0,
    "img2img_color_correction": False,
    "img2img_fix_steps": False,
    "img2img_background_color": "#ffffff",
    "overlay_inpaint": True,
    "upscaler_for_img2img": None,
    "face_restoration": False,
    "face_restoration_model": "CodeFormer",
    "code_former_weight": 0.5,
    "ESRGAN_tile": 192,
    "ESRGAN_tile_overlap": 8,
    "DAT_tile": 192,
    "DAT_tile_overlap": 8,
    "eta_ddim": 0.0,
    "eta_ancestral": 1.0,
    "ddim_discretize": "uniform",
    "s_min_uncond": 0.0,
    "s_min_uncond_all": False,
    "s_churn": 0.0,
    "s_tmin": 0.0,
    "s_tmax": 0.0,
    "s_noise": 1.0,
    "sigma_min": 0.0,
    "sigma_max": 0.0,
    "rho": 0.0,
    "eta_noise_seed_delta": 0,
    "always_discard_next_to_last_sigma": False,
    "sgm_noise_multiplier": False,
    "uni_pc_variant": "bh1",
    "uni_pc_skip_type": "time_uniform",
    "uni_pc_order": 3,
    "uni_pc_lower_order_final": True,
    "sd_noise_schedule": "Default",
    "skip_early_cond": 0.0,
    "beta_dist_alpha": 0.6,
    "beta_dist_beta": 0.6,
    "token_merging_ratio": 0.0,
    "token_merging_ratio_img2img": 0.0,
    "token_merging_ratio_hr": 0.0,
    "pad_cond_uncond": False,
    "pad_cond_uncond_v0": False,
    "persistent_cond_cache": True,
    "batch_cond_uncond": True,
    "use_old_emphasis_implementation": False,
    "use_old_karras_scheduler_sigmas": False,
    "no_dpmpp_sde_batch_determinism": False,
    "use_old_hires_fix_width_height": False,
    "use_old_scheduling": False,
    "use_downcasted_alpha_bar": False,
    "refiner_switch_by_sample_steps": False,
    "enable_prompt_comments": True,
    "extra_networks_default_multiplier": 1.0,
    "sd_hypernetwork": "None",
    "sd_lora": "None",
}
"""Options that a job may override (or leave behind), with A1111's default; each is restored after every job."""
_DETECTORS = "ad_extra_models_dir"
"""ADetailer's folders of detectors beside models/adetailer, parted by ``|``."""


def options(
    *,
    disable_mmap: bool,
    checkpoints_in_memory: int,
    loras_in_memory: int,
    own: Mapping[str, Any],
    detectors: Path | None = None,
) -> dict[str, Any]:
    """Return the whole options file.

    Args:
        disable_mmap: Read models sequentially. Right on a network volume, where mmap costs minutes; needs RAM of
            about twice the file.
        checkpoints_in_memory: How many checkpoints stay loaded (``sd_checkpoints_limit``), at least 1.
        loras_in_memory: How many LoRAs stay loaded; A1111's own 0 reads each again for every job.
        own: The operator's options file; what correctness rests on wins over it.
        detectors: The folder of ADetailer's detectors, beside those that the operator's file names.
    """
    named = own.get(_DETECTORS)
    folders = [*(named.split("|") if isinstance(named, str) else ()), *([str(detectors)] if detectors else ())]
    return {
        **OVERRIDABLE,
        **own,
        **FORCED,
        **({_DETECTORS: "|".join(dict.fromkeys(filter(None, folders)))} if folders else {}),
        "disable_mmap_load_safetensors": disable_mmap,
        "sd_checkpoints_limit": max(1, checkpoints_in_memory),
        "lora_in_memory_limit": max(0, loras_in_memory),
    }


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` to `path` at once or not at all; on a full disk into the file of the run before.

    Raises:
        OSError: as the disk does, naming the file.
    """
    data = json.dumps(content, indent=1).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_atomically(path, data, durable=False)
    except OSError as error:
        if not path.is_file():
            raise OSError(error.errno, error.strerror, str(path)) from error
        path.write_bytes(data)  # nobody reads it now, and it has its room already
