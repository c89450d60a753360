"""Picture to picture and inpainting: the drawn picture mixed with the given one, inside the mask only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image, ImageFilter, ImageOps

from standin.errors import WebUIError
from standin.generation.sampling import latent_size
from standin.models.upscalers import resize as plain_resize

if TYPE_CHECKING:
    from standin.generation.job import Processing
    from standin.webui import WebUI

JUST_RESIZE, CROP, FILL, LATENT_RESIZE = 0, 1, 2, 3
FILL_MASKED, KEEP_MASKED, LATENT_NOISE, LATENT_NOTHING = 0, 1, 2, 3
HIGHEST_DENOISING = 0.999
Box = tuple[int, int, int, int]


class ImageToImage:
    """The work of the img2img tab before and during sampling."""

    def __init__(self, webui: WebUI) -> None:
        self._webui = webui
        self._inits: list[Image.Image] = []
        self._originals: list[Image.Image] = []
        self._mask: Image.Image | None = None
        self._box: Box | None = None

    def prepare(self, p: Processing) -> None:
        """Fits pictures and mask to the size; raises WebUIError for a wrong number of pictures."""
        noted = p.extra_generation_params
        noted["Denoising strength"] = p.value("denoising_strength")
        full_res = bool(p.value("inpaint_full_res"))
        if p.mask is not None:
            self._prepare_mask(p, full_res=full_res)
        self._originals = [
            flatten(image, self._webui.options.get("img2img_background_color")) for image in p.init_images
        ]
        mode = p.value("resize_mode")
        whole_masked = self._mask is not None and self._box is None
        if mode == LATENT_RESIZE and whole_masked and any(one.size != (p.width, p.height) for one in self._originals):
            raise WebUIError("ValueError", "images do not match")
        if self._box is None:
            self._originals = [resize_image(mode, image, p.width, p.height) for image in self._originals]
            self._inits = self._originals
        else:
            self._inits = [resize_image(FILL, image.crop(self._box), p.width, p.height) for image in self._originals]
        if self._mask is not None:
            fill = p.value("inpainting_fill")
            content = {FILL_MASKED: "fill", LATENT_NOISE: "latent noise", LATENT_NOTHING: "latent nothing"}.get(fill)
            if content:
                noted["Masked content"] = content
        count = len(self._inits)
        if count == 0:
            raise WebUIError(
                "RuntimeError", "Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: [0]"
            )
        if count == 1:
            self._inits, self._originals = self._inits * p.batch_size, self._originals * p.batch_size
        elif count <= p.batch_size:
            p.batch_size = count
        else:
            raise WebUIError("RuntimeError", f"bad number of images passed: {count}; expecting {p.batch_size} or less")

    def batch(self, p: Processing, indexes: range) -> list[Image.Image]:
        """The pictures of one batch."""
        sampling = self._webui.sampling
        size = latent_size(p.width, p.height)
        sampling.allocate(size[0] * size[1] * len(indexes))
        multiplier = p.value("initial_noise_multiplier")
        if multiplier is not None and multiplier != 1.0:
            p.extra_generation_params["Noise multiplier"] = multiplier
        sampling.note_scheduler(p)
        strength = p.value("denoising_strength")
        steps = max(1, int(min(strength, HIGHEST_DENOISING) * p.steps) + 1) if strength > 0 else 1
        model = self._webui.model.require()[0].stem
        done = sampling.steps(steps, looks=[sampling.look(p, index, model, size) for index in indexes])
        model = sampling.refine(p, p.steps)
        pictures = []
        for place, index in enumerate(indexes):
            look = sampling.look(p, index, model, size)
            drawn = sampling.picture(look, done, steps)
            pictures.append(self._compose(p, place, drawn, strength))
        return pictures

    def _compose(self, p: Processing, place: int, drawn: Image.Image, strength: float) -> Image.Image:
        given = self._inits[place].resize(drawn.size, Image.Resampling.LANCZOS)
        share = min(max(strength, 0.0), 1.0)
        if self._mask is None:
            return Image.blend(given, drawn, share)
        if p.value("inpainting_fill") != KEEP_MASKED:
            given = Image.blend(given, drawn, 0.5)
        new = Image.blend(given, drawn, share)
        if not self._webui.options.get("overlay_inpaint"):
            return new
        original = self._originals[place]
        if self._box is None:
            new = new.resize(original.size, Image.Resampling.LANCZOS)
        else:
            part = new.resize((self._box[2] - self._box[0], self._box[3] - self._box[1]), Image.Resampling.LANCZOS)
            new = original.copy()
            new.paste(part, self._box[:2])
        return Image.composite(new, original, self._mask)

    def _prepare_mask(self, p: Processing, *, full_res: bool) -> None:
        assert p.mask is not None  # noqa: S101 # the caller has just looked
        noted = p.extra_generation_params
        mask = binary_mask(p.mask, rounded=bool(p.value("mask_round")))
        if p.value("inpainting_mask_invert"):
            mask = ImageOps.invert(mask)
            noted["Mask mode"] = "Inpaint not masked"
        single = p.value("mask_blur")
        blur_x, blur_y = (single, single) if single is not None else (p.value("mask_blur_x"), p.value("mask_blur_y"))
        if blur_x > 0 or blur_y > 0:
            mask = mask.filter(ImageFilter.GaussianBlur((blur_x, blur_y)))
            noted["Mask blur"] = blur_x if blur_x == blur_y else None
        if not full_res:
            self._mask = resize_image(p.value("resize_mode"), mask, p.width, p.height).point(
                lambda value: min(255, value * 2)
            )
            return
        padding = p.value("inpaint_full_res_padding")
        bounds = mask.getbbox()
        if bounds is None:
            return
        grown = grow(bounds, padding, mask.size)
        self._box = expand(grown, p.width / p.height, mask.size)
        self._mask = mask
        noted["Inpaint area"] = "Only masked"
        noted["Masked area padding"] = padding
        first = p.init_images[0].size if p.init_images else mask.size
        if self._mask.size != first:
            self._mask = resize_image(p.value("resize_mode"), self._mask, *first)


def flatten(image: Image.Image, background: str) -> Image.Image:
    """RGB with transparency replaced by the background colour; reads the pixels, so a truncated file raises here."""
    try:
        image.load()
    except OSError as error:
        raise WebUIError("OSError", str(error)) from None
    if image.mode == "RGBA":
        canvas = Image.new("RGB", image.size, background)
        canvas.paste(image, mask=image)
        return canvas
    return image.convert("RGB")


def binary_mask(image: Image.Image, *, rounded: bool) -> Image.Image:
    """The mask in grey: from the alpha channel where that says something, all or nothing then when `rounded`."""
    image.load()
    if image.mode == "RGBA" and image.getextrema()[-1] != (255, 255):
        grey = image.getchannel("A")
        return grey.point(lambda value: 255 if value > 128 else 0) if rounded else grey  # noqa: PLR2004 # half of a byte
    return image.convert("L")


def resize_image(mode: int, image: Image.Image, width: int, height: int) -> Image.Image:
    """The picture at this size: stretched (0, 3), cropped to fit (1), or fitted with its edges drawn out (2)."""
    if mode in (JUST_RESIZE, LATENT_RESIZE):
        return plain_resize(image, width, height, "Lanczos")
    ratio, wanted = image.width / image.height, width / height
    covering = (ratio < wanted) == (mode == CROP)
    size = (width, width * image.height // image.width) if covering else (height * image.width // image.height, height)
    fitted = plain_resize(image, *size, "Lanczos")
    left, top = width // 2 - fitted.width // 2, height // 2 - fitted.height // 2
    result = plain_resize(fitted, width, height, "Nearest") if mode == FILL else Image.new(image.mode, (width, height))
    result.paste(fitted, (left, top))
    return result


def grow(bounds: Box, padding: int, size: tuple[int, int]) -> Box:
    """The box with padding on all sides, within a picture of this size."""
    left, top, right, bottom = bounds
    return max(left - padding, 0), max(top - padding, 0), min(right + padding, size[0]), min(bottom + padding, size[1])


def expand(box: Box, ratio: float, size: tuple[int, int]) -> Box:
    """The box made wider or higher until it has the ratio of the generated picture, within a picture of this size."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    if width / height < ratio:
        wanted = min(size[0], math.ceil(height * ratio))
        left = max(0, min(left - (wanted - width) // 2, size[0] - wanted))
        right = left + wanted
    else:
        wanted = min(size[1], math.ceil(width / ratio))
        top = max(0, min(top - (wanted - height) // 2, size[1] - wanted))
        bottom = top + wanted
    return left, top, right, bottom
