"""Tiled Diffusion, DemoFusion and Tiled VAE (2024-08-07)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from standin.errors import WebUIError
from standin.models.upscalers import resize
from standin.scripts.extension import Extension

if TYPE_CHECKING:
    from PIL import Image

    from standin.generation.job import Processed, Processing
    from standin.webui import WebUI

METHODS = ("MultiDiffusion", "Mixture of Diffusers")
LATENT = 8
SMALLEST_TILED_VAE = 768
FIRST = (
    "enabled",
    "method",
    "overwrite",
    "keep",
    "width",
    "height",
    "tile_width",
    "tile_height",
    "overlap",
    "batch",
    "upscaler",
    "scale",
)


class TiledDiffusion(Extension):
    """The three always-on scripts; their only trace in the infotext is the key "Tiled Diffusion"."""

    name, folder, version = "tiled diffusion", "multidiffusion-upscaler-for-automatic1111", "2024-08-07"

    def before_process(self, webui: WebUI, p: Processing) -> None:
        """Checks what is a 500, and sets the size."""
        arguments = p.alwayson.get(self.name, [])
        if arguments and arguments[0]:
            if arguments[1] not in METHODS:
                raise WebUIError("ValueError", f"{arguments[1]!r} is not a valid Method")
            self._resize(webui, p, arguments)
        vae = p.alwayson.get("tiled vae", [])
        if vae and vae[0] and not vae[2]:
            raise WebUIError("ZeroDivisionError", "division by zero")

    def process(self, webui: WebUI, p: Processing) -> None:
        """Notes the tiling where more than one tile is needed."""
        arguments = p.alwayson.get(self.name, [])
        if arguments and arguments[0]:
            given = dict(zip(FIRST, arguments, strict=False))
            latent = (p.width // LATENT, p.height // LATENT)
            if latent[0] > given["tile_width"] or latent[1] > given["tile_height"]:
                p.extra_generation_params["Tiled Diffusion"] = self._facts(webui, p, given, arguments)
                p.extra_look["tiled"] = repr(arguments[1:10])
        demo = p.alwayson.get("demofusion", [])
        if demo and demo[0]:
            p.extra_generation_params["Tiled Diffusion"] = {
                "Method": "DemoFusion",
                "Window Size": demo[3],
                "Tile Overlap": demo[4],
                "Tile batch size": demo[5],
                "Global batch size": demo[20],
            }
            p.extra_look["demofusion"] = repr(demo[3:7])
        vae = p.alwayson.get("tiled vae", [])
        if vae and vae[0] and min(p.width, p.height) >= SMALLEST_TILED_VAE:
            p.extra_look["tiled vae"] = repr(vae[1:3])

    def postprocess(self, webui: WebUI, p: Processing, processed: Processed) -> None:
        """Every stage of DemoFusion is a picture."""
        demo = p.alwayson.get("demofusion", [])
        if demo and demo[0] and processed.images:
            scale = int(demo[6])
            last: list[Image.Image] = []
            for image in processed.images:
                larger = resize(image, image.width * scale, image.height * scale, "Lanczos")
                larger.info = dict(image.info)
                last.append(larger)
            processed.images.extend(last)
            processed.infotexts.extend(list(processed.infotexts))

    def _resize(self, webui: WebUI, p: Processing, arguments: list[Any]) -> None:
        given = dict(zip(FIRST, arguments, strict=False))
        if p.tab == "txt2img":
            if given["overwrite"]:
                p.width, p.height = given["width"], given["height"]
            return
        upscaler = given["upscaler"]
        if upscaler == "None" or not webui.has_upscaler(upscaler) or not p.init_images:
            return
        start = p.init_images[0]
        scale = given["scale"]
        p.init_images = [resize(start.convert("RGB"), int(start.width * scale), int(start.height * scale), upscaler)]
        if given["keep"]:
            p.width, p.height = p.init_images[0].size
        else:
            p.width, p.height = int(p.width * scale), int(p.height * scale)
        p.extra_generation_params["Tiled Diffusion upscaler"] = upscaler
        p.extra_generation_params["Tiled Diffusion scale factor"] = scale

    def _facts(self, webui: WebUI, p: Processing, given: dict[str, Any], arguments: list[Any]) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "Method": given["method"],
            "Tile tile width": given["tile_width"],
            "Tile tile height": given["tile_height"],
            "Tile Overlap": given["overlap"],
            "Tile batch size": given["batch"],
        }
        if p.tab == "img2img":
            if webui.has_upscaler(given["upscaler"]) and given["upscaler"] != "None":
                facts |= {"Upscaler": given["upscaler"], "Upscale factor": given["scale"]}
            if given["keep"]:
                facts["Keep input size"] = True
            if arguments[12]:
                names = ("NoiseInv Steps", "NoiseInv Retouch", "NoiseInv Renoise strength", "NoiseInv Kernel size")
                facts |= {"NoiseInv": True, **dict(zip(names, arguments[13:17], strict=True))}
        return facts
