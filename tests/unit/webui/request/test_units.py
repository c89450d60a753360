from __future__ import annotations

from typing import Any

from worker.contract.types.adetailer import ADetailerUnit
from worker.contract.types.controlnet import ControlNetUnit
from worker.contract.types.extensions import SoftInpainting, TiledDiffusion, TiledVae, UltimateUpscale
from worker.webui.request import extension_args

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAknRFWHRw"


def test_a_controlnet_unit_is_enabled_returns_its_map_and_has_only_our_picture() -> None:
    unit = ControlNetUnit.model_validate({"module": "canny", "model": "x", "image": PICTURE, "weight": 0.5})
    entry = extension_args.controlnet([unit], {0: "x [12345678]"}, {"0.image": "clean"})
    assert entry == {
        "controlnet": {
            "args": [
                {
                    "module": "canny",
                    "weight": 0.5,
                    "image": "clean",
                    "enabled": True,
                    "save_detected_map": True,
                    "model": "x [12345678]",
                }
            ]
        }
    }


def test_adetailer_gets_both_switches_every_pass_and_an_empty_one() -> None:
    unit = ADetailerUnit.model_validate({"model": "face.pt", "steps": 5, "checkpoint": "other"})
    args: list[Any] = extension_args.adetailer([unit], {0: "Other_v1.safetensors"}, {})["ADetailer"]["args"]
    assert args == [
        True,
        False,
        {
            "ad_model": "face.pt",
            "ad_steps": 5,
            "ad_use_steps": True,
            "ad_checkpoint": "Other_v1.safetensors",
            "ad_use_checkpoint": True,
        },
        {"ad_model": "None"},
    ]


def test_positional_lists_have_their_full_length() -> None:
    assert len(extension_args.tiled_diffusion(TiledDiffusion(), upscaler=None)["Tiled Diffusion"]["args"]) == 18
    assert len(extension_args.tiled_vae(TiledVae())["Tiled VAE"]["args"]) == 7
    assert len(extension_args.soft_inpainting(SoftInpainting())["soft inpainting"]["args"]) == 7
    assert len(extension_args.ultimate_upscale(UltimateUpscale(), upscaler=1)["script_args"]) == 18


def test_zero_is_a_value_and_not_a_missing_one() -> None:
    args = extension_args.tiled_diffusion(TiledDiffusion(overlap=0), upscaler="Lanczos")["Tiled Diffusion"]["args"]
    assert (args[8], args[10]) == (0, "Lanczos")


def test_ultimate_upscale_goes_by_scale_or_by_size_and_saves_nothing() -> None:
    by_scale = extension_args.ultimate_upscale(UltimateUpscale(scale=3), upscaler=1)["script_args"]
    assert (by_scale[14], by_scale[17], by_scale[9], by_scale[11]) == (2, 3.0, False, False)
    by_size = extension_args.ultimate_upscale(UltimateUpscale(width=1024, height=768), upscaler=1)["script_args"]
    assert by_size[14:17] == [1, 1024, 768]


def test_tiled_diffusion_has_the_extensions_own_defaults_and_each_wish_at_its_place() -> None:
    (bare,) = extension_args.tiled_diffusion(TiledDiffusion(), upscaler=None).values()
    assert bare["args"] == [
        *(True, "MultiDiffusion", False, True, 1024, 1024, 96, 96, 48, 4, "None", 2.0, False, 10, 1, 1, 64, False)
    ]
    wishes = {
        "method": "Mixture of Diffusers",
        "keep_input_size": False,
        "width": 1536,
        "height": 1280,
        "tile_width": 64,
        "tile_height": 80,
        "overlap": 0,
        "batch_size": 2,
        "scale": 3,
        "noise_inversion": True,
        "noise_inversion_steps": 20,
        "retouch": 2,
        "renoise_strength": 0,
        "renoise_kernel": 32,
        "control_on_cpu": True,
    }
    (full,) = extension_args.tiled_diffusion(TiledDiffusion.model_validate(wishes), upscaler="Lanczos").values()
    assert full["args"] == [
        *(True, "Mixture of Diffusers", True, False, 1536, 1280, 64, 80, 0, 2, "Lanczos", 3, True, 20, 2, 0, 32, True)
    ]
    (wide,) = extension_args.tiled_diffusion(TiledDiffusion(width=1536), upscaler=None).values()
    assert wide["args"][2:6] == [True, True, 1536, 1024]


def test_tiled_vae_has_the_extensions_own_defaults_and_each_wish_at_its_place() -> None:
    (bare,) = extension_args.tiled_vae(TiledVae()).values()
    assert bare["args"] == [True, 1024, 96, True, True, True, False]
    wishes = TiledVae(
        encoder_tile=512, decoder_tile=64, vae_on_gpu=False, fast_decoder=False, fast_encoder=False, color_fix=True
    )
    (full,) = extension_args.tiled_vae(wishes).values()
    assert full["args"] == [True, 512, 64, False, False, False, True]


def test_soft_inpainting_has_the_webuis_own_defaults_and_each_wish_at_its_place() -> None:
    (bare,) = extension_args.soft_inpainting(SoftInpainting()).values()
    assert bare["args"] == [True, 1, 0.5, 4, 0, 0.5, 2]
    wishes = {
        "schedule_bias": 2,
        "preservation_strength": 0.25,
        "transition_contrast_boost": 3,
        "mask_influence": 0.75,
        "difference_threshold": 0.6,
        "difference_contrast": 5,
    }
    (full,) = extension_args.soft_inpainting(SoftInpainting.model_validate(wishes)).values()
    assert full["args"] == [True, 2, 0.25, 3, 0.75, 0.6, 5]


def test_ultimate_upscale_has_the_scripts_own_defaults_and_each_wish_at_its_place() -> None:
    bare = extension_args.ultimate_upscale(UltimateUpscale(), upscaler=1)["script_args"]
    assert bare == [None, 512, 0, 8, 32, 64, 0.35, 16, 1, False, 0, False, 4, 0, 2, 2048, 2048, 2.0]
    wishes = {
        "tile_width": 640,
        "tile_height": 576,
        "mask_blur": 0,
        "padding": 16,
        "seam_width": 32,
        "seam_denoise": 0.5,
        "seam_padding": 8,
        "redraw": "chess",
        "seam_mask_blur": 2,
        "seam_fix": "half_tile",
        "width": 1024,
        "height": 1536,
    }
    full = extension_args.ultimate_upscale(UltimateUpscale.model_validate(wishes), upscaler=3)["script_args"]
    assert full == [None, 640, 576, 0, 16, 32, 0.5, 8, 3, False, 1, False, 2, 2, 1, 1024, 1536, 2.0]
    scaled = extension_args.ultimate_upscale(UltimateUpscale(scale=3, redraw="none"), upscaler=3)["script_args"]
    assert (scaled[10], scaled[14], scaled[17]) == (2, 2, 3)


def test_every_wish_of_a_detailer_switches_its_own_use_on() -> None:
    wishes = {
        "model": "face.pt",
        "inpaint_width": 512,
        "inpaint_height": 640,
        "cfg_scale": 5,
        "sampler": "Euler",
        "noise_multiplier": 0.9,
        "clip_skip": 2,
    }
    unit = ADetailerUnit.model_validate(wishes)
    args: list[Any] = extension_args.adetailer([unit], {}, {0: "v.pt"})["ADetailer"]["args"]
    assert {name for name, value in args[2].items() if value is True} == {
        *("ad_use_inpaint_width_height", "ad_use_cfg_scale", "ad_use_sampler", "ad_use_noise_multiplier"),
        *("ad_use_clip_skip", "ad_use_vae"),
    }
    assert args[2]["ad_vae"] == "v.pt"
