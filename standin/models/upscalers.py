"""Upscalers: the list, and what each does: a sharper picture with its file, a plain resize without, as the real one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageFilter

from standin.models.checkpoints import model_files

if TYPE_CHECKING:
    import argparse

    from standin.options import Options

LATENT_MODES = (
    "Latent",
    "Latent (antialiased)",
    "Latent (bicubic)",
    "Latent (bicubic antialiased)",
    "Latent (nearest)",
    "Latent (nearest-exact)",
)
_FILES = "https://github.com"
_DAT = f"{_FILES}/n0kovo/dat_upscaler_models/raw/main/DAT"
_ESRGAN = f"{_FILES}/xinntao/Real-ESRGAN/releases/download"
_KAIR = f"{_FILES}/cszn/KAIR/releases/download/v1.0"


@dataclass(frozen=True, slots=True)
class Upscaler:
    """One entry of `GET /sdapi/v1/upscalers`."""

    name: str
    model_name: str | None = None
    path: str | None = None
    scale: float = 4.0
    file: Path | None = None  # its weights on this machine; the listing does not tell

    def listed(self) -> dict[str, Any]:
        """The entry as JSON."""
        return {
            "name": self.name,
            "model_name": self.model_name,
            "model_path": self.path,
            "model_url": None,
            "scale": self.scale,
        }


FIRST = (Upscaler("None"), Upscaler("Lanczos"), Upscaler("Nearest"))
"""Those that need no file; they stand at the head of the list."""
ESRGAN = "ESRGAN_4x"
UPSCALERS = (
    *FIRST,
    Upscaler("DAT x2", path=f"{_DAT}/DAT_x2.pth", scale=2.0),
    Upscaler("DAT x3", path=f"{_DAT}/DAT_x3.pth", scale=3.0),
    Upscaler("DAT x4", path=f"{_DAT}/DAT_x4.pth"),
    Upscaler(ESRGAN, ESRGAN, f"{_KAIR}/ESRGAN.pth"),
    Upscaler("LDSR"),
    Upscaler("R-ESRGAN 4x+", path=f"{_ESRGAN}/v0.1.0/RealESRGAN_x4plus.pth"),
    Upscaler("R-ESRGAN 4x+ Anime6B", path=f"{_ESRGAN}/v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth"),
    Upscaler("ScuNET GAN", "ScuNET GAN", f"{_KAIR}/scunet_color_real_gan.pth"),
    Upscaler("ScuNET PSNR", "ScuNET GAN", f"{_KAIR}/scunet_color_real_psnr.pth"),
    Upscaler(
        "SwinIR 4x",
        "SwinIR 4x",
        f"{_FILES}/JingyunLiang/SwinIR/releases/download/v0.0/003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN.pth",
    ),
)
REALESRGAN = (
    ("R-ESRGAN General 4xV3", f"{_ESRGAN}/v0.2.5.0/realesr-general-x4v3.pth", 4),
    ("R-ESRGAN General WDN 4xV3", f"{_ESRGAN}/v0.2.5.0/realesr-general-wdn-x4v3.pth", 4),
    ("R-ESRGAN AnimeVideo", f"{_ESRGAN}/v0.2.5.0/realesr-animevideov3.pth", 4),
    ("R-ESRGAN 4x+", f"{_ESRGAN}/v0.1.0/RealESRGAN_x4plus.pth", 4),
    ("R-ESRGAN 4x+ Anime6B", f"{_ESRGAN}/v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth", 4),
    ("R-ESRGAN 2x+", f"{_ESRGAN}/v0.2.1/RealESRGAN_x2plus.pth", 2),
)


def installed(flags: argparse.Namespace) -> tuple[Upscaler, ...]:
    """Every upscaler in the order of the listing; files in the ESRGAN folder take the place of its download."""
    own = [Upscaler(path.stem, ESRGAN, str(path), file=path) for path in _weights(flags.esrgan_models_path)]
    downloaded = {path.name: path for path in _weights(flags.realesrgan_models_path)}
    rest = [
        replace(upscaler, file=downloaded.get(PurePosixPath(upscaler.path or "").name))
        if upscaler.name.startswith("R-ESRGAN ")
        else upscaler
        for upscaler in UPSCALERS[len(FIRST) :]
        if not own or upscaler.name != ESRGAN
    ]
    return *FIRST, *sorted([*rest, *own], key=lambda upscaler: upscaler.name.lower())


def _weights(folder: str) -> list[Path]:
    return model_files(Path(folder), (".pt", ".pth"))


def resize(picture: Image.Image, width: int, height: int, upscaler: str) -> Image.Image:
    """The picture at this size; Nearest keeps pixels sharp, everything else is Lanczos."""
    method = Image.Resampling.NEAREST if upscaler == "Nearest" else Image.Resampling.LANCZOS
    return picture.resize((max(1, width), max(1, height)), method)


class UpscaledPictures:
    """Pictures that the extras tab upscaled last: the same request is answered from here.

    So is one whose upscaler could not be read before, with the plain resize of then, also when its file is mended.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._kept: dict[tuple[bytes, str, int, int], Image.Image] = {}

    def enlarge(self, picture: Image.Image, width: int, height: int, upscaler: Upscaler) -> Image.Image:
        """The picture at this size by this upscaler, or as it was made before."""
        key = (picture.tobytes(), upscaler.name, width, height)
        result = self._kept.pop(key, None) or enlarge(picture, width, height, upscaler)
        self._kept[key] = result
        if len(self._kept) > self._options.get("upscaling_max_images_in_cache"):
            self._kept.pop(next(iter(self._kept)))
        return result.copy()


def enlarge(picture: Image.Image, width: int, height: int, upscaler: Upscaler) -> Image.Image:
    """The picture at this size by this upscaler: visibly its work where its file is on this machine, and not empty."""
    resized = resize(picture, width, height, upscaler.name)
    if upscaler.file is None or not upscaler.file.is_file() or not upscaler.file.stat().st_size:
        return resized
    return resized.filter(ImageFilter.UnsharpMask(radius=2, percent=150))
