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
