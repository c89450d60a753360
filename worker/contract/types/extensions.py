"""Units of the WebUI's extensions, by allow-list: what is not a field here never reaches an extension.

A unit that is there is on; `enabled: false` turns it off.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator

from worker.contract.types.base_model import Name, Ratio, StrictModel, Switch, optional
from worker.contract.types.fields import Choice, Number, Whole, mistake

Small = Annotated[int, Whole(0, 512)]


class UltimateUpscale(StrictModel):
    """Ultimate SD upscale: tile by tile, img2img only."""

    enabled: Switch | None = optional("Default true.", group="ultimate_upscale")
    upscaler: Name | None = optional("By name; default Lanczos.", group="ultimate_upscale")
    scale: Annotated[float, Number(1, 16)] | None = optional(
        "Of the picture's own size; default 2.", group="ultimate_upscale"
    )
    width: Annotated[int, Whole(64, 8192, 8)] | None = optional("Or this size.", group="ultimate_upscale")
    height: Annotated[int, Whole(64, 8192, 8)] | None = optional("Or this size.", group="ultimate_upscale")
    tile_width: Annotated[int, Whole(64, 2048, 8)] | None = optional("Default 512.", group="ultimate_upscale")
    tile_height: Annotated[int, Whole(0, 2048, 8)] | None = optional("Default: as wide.", group="ultimate_upscale")
    mask_blur: Annotated[int, Whole(0, 64)] | None = optional("Default 8.", group="ultimate_upscale")
    padding: Small | None = optional("Default 32.", group="ultimate_upscale")
    redraw: Annotated[Literal["linear", "chess", "none"], Choice()] | None = optional(
        "Order of the tiles; default linear.", group="ultimate_upscale"
    )
    seam_fix: (
        Annotated[
            Literal["none", "band_pass", "half_tile", "half_tile_intersections"],
            Choice({"band pass": "band_pass", "half tile": "half_tile"}),
        ]
        | None
    ) = optional("Default none.", group="ultimate_upscale")
    seam_width: Annotated[int, Whole(0, 128)] | None = optional("Default 64.", group="ultimate_upscale")
    seam_denoise: Ratio | None = optional("Default 0.35.", group="ultimate_upscale")
    seam_padding: Annotated[int, Whole(0, 128)] | None = optional("Default 16.", group="ultimate_upscale")
    seam_mask_blur: Annotated[int, Whole(0, 64)] | None = optional("Default 4.", group="ultimate_upscale")

    @model_validator(mode="after")
    def _one_target(self) -> UltimateUpscale:
        if self.scale is not None and (self.width is not None or self.height is not None):
            raise mistake("takes scale, or width and height, not both")
        if (self.width is None) != (self.height is None):
            raise mistake("needs width and height together")
        return self


class TiledDiffusion(StrictModel):
    """Tiled Diffusion (licensed for non-commercial use only)."""

    enabled: Switch | None = optional("Default true.", group="tiled_diffusion")
    method: Annotated[Literal["MultiDiffusion", "Mixture of Diffusers"], Choice()] | None = optional(
        "Default MultiDiffusion.", group="tiled_diffusion"
    )
    width: Annotated[int, Whole(256, 16_384, 8)] | None = optional(
        "txt2img: size of the whole.", group="tiled_diffusion"
    )
    height: Annotated[int, Whole(256, 16_384, 8)] | None = optional(
        "txt2img: size of the whole.", group="tiled_diffusion"
    )
    tile_width: Annotated[int, Whole(16, 256)] | None = optional(
        "Latents (8 pixels each); default 96.", group="tiled_diffusion"
    )
    tile_height: Annotated[int, Whole(16, 256)] | None = optional("Latents; default 96.", group="tiled_diffusion")
    overlap: Annotated[int, Whole(0, 256)] | None = optional("Latents; default 48.", group="tiled_diffusion")
    batch_size: Annotated[int, Whole(1, 8)] | None = optional("Tiles at once; default 4.", group="tiled_diffusion")
    upscaler: Name | None = optional("img2img: by name.", group="tiled_diffusion")
    scale: Annotated[float, Number(1, 8)] | None = optional("img2img; default 2.", group="tiled_diffusion")
    keep_input_size: Switch | None = optional(
        "img2img: scale the picture's own size; default true.", group="tiled_diffusion"
    )
    noise_inversion: Switch | None = optional("img2img.", group="tiled_diffusion")
    noise_inversion_steps: Annotated[int, Whole(1, 200)] | None = optional("Default 10.", group="tiled_diffusion")
    retouch: Annotated[float, Number(1, 100)] | None = optional("Of noise inversion.", group="tiled_diffusion")
    renoise_strength: Annotated[float, Number(0, 2)] | None = optional("Of noise inversion.", group="tiled_diffusion")
    renoise_kernel: Annotated[int, Whole(2, 512)] | None = optional("Of noise inversion.", group="tiled_diffusion")
    control_on_cpu: Switch | None = optional("ControlNet's tensors in RAM.", group="tiled_diffusion")

    @model_validator(mode="after")
    def _tiles_overlap_less_than_whole(self) -> TiledDiffusion:
        smallest = min(self.tile_width or 96, self.tile_height or 96)
        if (48 if self.overlap is None else self.overlap) >= smallest:
            raise mistake(f"overlap must be less than the tile ({smallest})")
        return self


class TiledVae(StrictModel):
    """Tiled VAE (licensed for non-commercial use only)."""

    enabled: Switch | None = optional("Default true.", group="tiled_vae")
    encoder_tile: Annotated[int, Whole(256, 4096)] | None = optional("Pixels.", group="tiled_vae")
    decoder_tile: Annotated[int, Whole(48, 512)] | None = optional("Latents.", group="tiled_vae")
    vae_on_gpu: Switch | None = optional("Default true.", group="tiled_vae")
    fast_decoder: Switch | None = optional("Default true.", group="tiled_vae")
    fast_encoder: Switch | None = optional("Default true.", group="tiled_vae")
    color_fix: Switch | None = optional("Of the fast encoder.", group="tiled_vae")


class SoftInpainting(StrictModel):
    """The WebUI's own soft inpainting."""

    enabled: Switch | None = optional("Default true.", group="soft_inpainting")
    schedule_bias: Annotated[float, Number(0, 8)] | None = optional("Default 1.", group="soft_inpainting")
    preservation_strength: Annotated[float, Number(0, 8)] | None = optional("Default 0.5.", group="soft_inpainting")
    transition_contrast_boost: Annotated[float, Number(1, 32)] | None = optional("Default 4.", group="soft_inpainting")
    mask_influence: Ratio | None = optional("Default 0.", group="soft_inpainting")
    difference_threshold: Annotated[float, Number(0, 8)] | None = optional("Default 0.5.", group="soft_inpainting")
    difference_contrast: Annotated[float, Number(0, 8)] | None = optional("Default 2.", group="soft_inpainting")
