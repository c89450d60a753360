"""The pictures: quiet landscapes that nobody takes for diffused ones, always the same for the same request."""

from __future__ import annotations

import colorsys
import functools
import hashlib
import json
import math
import random
from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

PALETTE_HUES = (0.02, 0.08, 0.33, 0.45, 0.55, 0.60, 0.72, 0.85, 0.93)
SMALLEST_WITH_TEXT = 128
NOTE = "drawn by the stand-in, not diffused"
ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that changes a picture. Two equal looks give equal pixels, two different ones different pixels."""

    prompt: str
    negative_prompt: str
    seed: int
    width: int
    height: int
    model: str
    steps: int
    sampler: str
    scheduler: str
    cfg_scale: float
    clip_skip: int
    vae: str
    loras: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()
    extras: tuple[tuple[str, str], ...] = ()
    """Anything else by name: eta, refiner, subseed, tiling …"""

    def key(self) -> bytes:
        """The seed of the drawing's randomness."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, default=str).encode()).digest()

    def lines(self) -> list[str]:
        """Return the lines written on the picture, the prompt first."""
        loras = f"LoRA {', '.join(self.loras)}" if self.loras else ""
        facts = f"seed {self.seed} · {self.width}x{self.height} · {self.sampler}/{self.scheduler} · {self.steps} steps"
        model = f"{self.model} · cfg {self.cfg_scale:g} · clip skip {self.clip_skip}" + (
            f" · {self.vae}" if self.vae else ""
        )
        return [self.prompt or "(no prompt)", *filter(None, (facts, model, loras)), NOTE]


def draw(look: Look, grain: float = 0.0) -> Image.Image:
    """An RGB picture of the look's size: sky, sun and hills in colours of the seed, with the request written on it.

    `grain` (0 to 1) is a share of noise, which makes the file as large as that of a photograph.
    """
    dice = random.Random(look.key())  # noqa: S311 # repeatable, not secret
    picture = _sky(look, dice)
    _landscape(picture, dice)
    _fingerprint(picture, look.key())
    if min(look.width, look.height) >= SMALLEST_WITH_TEXT:
        _write(picture, look.lines())
    if grain <= 0:
        return picture
    noise = Image.frombytes("RGB", picture.size, dice.randbytes(3 * picture.width * picture.height))
    return Image.blend(picture, noise, min(grain, 1.0))


def unfinished(picture: Image.Image, look: Look, share: float) -> Image.Image:
    """The picture as it looks when sampling was interrupted after `share` (0 to 1) of the steps: still noisy."""
    dice = random.Random(look.key() + b"noise")  # noqa: S311 # repeatable, not secret
    size = (max(1, picture.width // 4), max(1, picture.height // 4))
    noise = Image.frombytes("RGB", size, dice.randbytes(size[0] * size[1] * 3)).resize(
        picture.size, Image.Resampling.NEAREST
    )
    return Image.blend(noise, picture, min(max(share, 0.0), 0.95))


def _sky(look: Look, dice: random.Random) -> Image.Image:
    hue = dice.choice(PALETTE_HUES) + dice.uniform(-0.03, 0.03)
    small = Image.new("RGB", (4, 5))
    for row in range(5):
        for column in range(4):
            lightness = 0.30 + 0.11 * row + dice.uniform(-0.04, 0.04)
            tone = hue + 0.03 * row + dice.uniform(-0.025, 0.025)
            small.putpixel((column, row), _colour(tone, lightness, 0.45))
    return small.resize((look.width, look.height), Image.Resampling.BICUBIC)


def _landscape(picture: Image.Image, dice: random.Random) -> None:
    width, height = picture.size
    pen = ImageDraw.Draw(picture, "RGBA")
    hue = dice.choice(PALETTE_HUES)
    radius = dice.uniform(0.05, 0.12) * min(width, height)
    x, y = dice.uniform(0.15, 0.85) * width, dice.uniform(0.12, 0.38) * height
    for ring in (2.2, 1.6, 1.0):
        box = (x - radius * ring, y - radius * ring, x + radius * ring, y + radius * ring)
        pen.ellipse(box, fill=(*_colour(hue, 0.85, 0.7), 40 if ring > 1 else 230))
    for layer in range(4):
        base = height * (0.48 + 0.13 * layer)
        waves = [
            (dice.uniform(0.6, 2.6), dice.uniform(0, math.tau), dice.uniform(0.02, 0.07) * height) for _ in range(3)
        ]
        step = max(2, width // 96)
        ridge = [
            (left, base + sum(size * math.sin(turns * math.tau * left / width + phase) for turns, phase, size in waves))
            for left in range(0, width + step, step)
        ]
        pen.polygon(
            [(0, height), *ridge, (width + step, height)],
            fill=(*_colour(hue + 0.04 * layer, 0.42 - 0.09 * layer, 0.38), 255),
        )


def _fingerprint(picture: Image.Image, key: bytes) -> None:
    """A row of dots in the lower left corner that is different for every look, so that small pictures differ too."""
    size = max(1, min(picture.size) // 64)
    pen = ImageDraw.Draw(picture)
    for index in range(8):
        left, top = index * size, picture.height - size
        pen.rectangle((left, top, left + size - 1, top + size - 1), fill=tuple(key[3 * index : 3 * index + 3]))


def _write(picture: Image.Image, lines: list[str]) -> None:
    width, height = picture.size
    size = max(9, min(width, height) // 34)
    margin = size
    pen = ImageDraw.Draw(picture, "RGBA")
    plain, large = font(size), font(size * 3 // 2)
    room = width - 4 * margin
    title = _wrap(lines[0], large, room, most=3)
    rest = [shown for line in lines[1:] for shown in _wrap(line, plain, room, most=2)]
    panel = len(title) * size * 2 + len(rest) * size * 3 // 2 + 2 * margin
    top = height - panel - margin
    pen.rounded_rectangle((margin, top, width - margin, height - margin), radius=size, fill=(12, 16, 24, 150))
    y = top + margin * 3 // 4
    for text in title:
        pen.text((2 * margin, y), text, font=large, fill=(255, 255, 255, 255))
        y += size * 2
    for text in rest:
        pen.text((2 * margin, y), text, font=plain, fill=(226, 232, 240, 235))
        y += size * 3 // 2


def _wrap(text: str, face: Any, room: int, *, most: int) -> list[str]:
    shown: list[str] = []
    line = ""
    for word in text[:400].split():
        longer = f"{line} {word}".strip()
        if line and face.getlength(longer) > room:
            shown.append(line)
            line = word
        else:
            line = longer
    shown.append(line)
    if len(shown) > most:
        shown = [*shown[: most - 1], f"{shown[most - 1]} {ELLIPSIS}"]
    return [_clip(line, face, room) for line in shown]


def _clip(line: str, face: Any, room: int) -> str:
    while len(line) > 1 and face.getlength(line) > room:
        line = line[: max(1, int(len(line) * 0.9) - 1)] + ELLIPSIS
    return line


@functools.lru_cache(maxsize=32)
def font(size: int) -> Any:
    """Pillow's own typeface at this size in pixels."""
    return ImageFont.load_default(size)


def _colour(hue: float, lightness: float, saturation: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hls_to_rgb(hue % 1.0, min(max(lightness, 0.0), 1.0), saturation)
    return int(red * 255), int(green * 255), int(blue * 255)
