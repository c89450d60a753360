"""Parameters of a request as its answer has to name them, and the mark by which the answer is known. Pure."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_STEPS = 50
DEFAULT_CFG_SCALE = 7.0
DEFAULT_DENOISING = 0.75
"""Of img2img; txt2img has none without hires fix."""
DEFAULT_HIRES_SCALE = 2.0


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters of a request as the answer has to name them.

    Attributes:
        prompt, negative_prompt: As sent, before styles and comments.
        styles: By their listed names.
        numbers: By their names in the infotext.
        texts: Likewise.
        subseed: Of the first picture; None: any.
        varied: The subseeds are part of the infotext.
    """

    prompt: str
    negative_prompt: str
    styles: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    subseed: int | None = None
    varied: bool = False


def asked_for(body: Mapping[str, Any]) -> Parameters:
    """Return the parameters of the request with this body, the API's own defaults where it says nothing."""
    numbers = {
        "Steps": float(body.get("steps", DEFAULT_STEPS)),
        "CFG scale": float(body.get("cfg_scale", DEFAULT_CFG_SCALE)),
    }
    texts: dict[str, str] = {}
    if "init_images" in body:
        numbers["Denoising strength"] = float(body.get("denoising_strength", DEFAULT_DENOISING))
    elif body.get("enable_hr"):
        if body.get("denoising_strength") is not None:
            numbers["Denoising strength"] = float(body["denoising_strength"])
        width, height = body.get("hr_resize_x") or 0, body.get("hr_resize_y") or 0
        if width or height:
            texts["Hires resize"] = f"{width}x{height}"
        else:
            numbers["Hires upscale"] = float(body.get("hr_scale", DEFAULT_HIRES_SCALE))
        if body.get("hr_second_pass_steps"):
            numbers["Hires steps"] = float(body["hr_second_pass_steps"])
    if body.get("tiling"):
        texts["Tiling"] = "True"
    varied = bool(body.get("subseed_strength"))
    if varied:
        numbers["Variation seed strength"] = float(body["subseed_strength"])
    subseed = body.get("subseed", -1)
    return Parameters(
        prompt=str(body.get("prompt") or ""),
        negative_prompt=str(body.get("negative_prompt") or ""),
        styles=tuple(body.get("styles") or ()),
        numbers=numbers,
        texts=texts,
        subseed=subseed if isinstance(subseed, int) and subseed >= 0 else None,
        varied=varied,
    )


def marked(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return `body` with a subseed of its own, by which its answer is told from the answer to another request.

    Without a strength the subseed changes no picture, but A1111 repeats it. It follows from everything that is sent,
    pictures included, so that the same request keeps its mark. A body whose subseed counts, or is named, stays.
    """
    if body.get("subseed_strength") or body.get("subseed", -1) != -1:
        return dict(body)
    return {**body, "subseed": zlib.crc32(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))}
