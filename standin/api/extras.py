"""The extras tab: upscaling, with the texts that the WebUI writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from standin.api.fields import REQUIRED, problem, validate
from standin.errors import InvalidRequest, WebUIError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from standin.models.upscalers import UpscaledPictures, Upscaler

BASE: dict[str, tuple[str, Any]] = {
    "resize_mode": ("int", 0),
    "show_extras_results": ("bool", True),
    "gfpgan_visibility": ("float", 0),
    "codeformer_visibility": ("float", 0),
    "codeformer_weight": ("float", 0),
    "upscaling_resize": ("float", 2),
    "upscaling_resize_w": ("int", 512),
    "upscaling_resize_h": ("int", 512),
    "upscaling_crop": ("bool", True),
    "upscaler_1": ("str", "None"),
    "upscaler_2": ("str", "None"),
    "extras_upscaler_2_visibility": ("float", 0),
    "upscale_first": ("bool", False),
}
SINGLE = {**BASE, "image": ("str", "")}
BATCH = {**BASE, "imageList": ("list", REQUIRED)}
SHARES = ("gfpgan_visibility", "codeformer_visibility", "codeformer_weight", "extras_upscaler_2_visibility")
TO_SIZE = 1


def read(body: Any, fields: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    """The validated request; raises InvalidRequest, also for numbers outside their range."""
    values = validate(body, fields, nullable=False)
    problems = []
    if values["resize_mode"] not in (0, TO_SIZE):
        entry = problem(["body", "resize_mode"], "unexpected value; permitted: 0, 1", "value_error.const")
        problems.append({**entry, "ctx": {"given": values["resize_mode"], "permitted": [0, 1]}})
    for name in SHARES:
        if values[name] < 0:
            entry = problem(
                ["body", name], "ensure this value is greater than or equal to 0", "value_error.number.not_ge"
            )
            problems.append({**entry, "ctx": {"limit_value": 0}})
        elif values[name] > 1:
            entry = problem(["body", name], "ensure this value is less than or equal to 1", "value_error.number.not_le")
            problems.append({**entry, "ctx": {"limit_value": 1}})
    if values["upscaling_resize"] <= 0:
        entry = problem(
            ["body", "upscaling_resize"], "ensure this value is greater than 0", "value_error.number.not_gt"
        )
        problems.append({**entry, "ctx": {"limit_value": 0}})
    for name in ("upscaling_resize_w", "upscaling_resize_h"):
        if values[name] < 1:
            entry = problem(
                ["body", name], "ensure this value is greater than or equal to 1", "value_error.number.not_ge"
            )
            problems.append({**entry, "ctx": {"limit_value": 1}})
    if problems:
        raise InvalidRequest(problems)
    return values


def run(
    picture: Image.Image, values: Mapping[str, Any], listed: Iterable[Upscaler], lately: UpscaledPictures
) -> tuple[Image.Image, str]:
    """The picture with its `postprocessing` text inside, and the text; raises for an upscaler not `listed`."""
    known = {upscaler.name: upscaler for upscaler in listed}
    facts: dict[str, Any] = {}
    for name in (values["upscaler_1"], values["upscaler_2"]):
        if name not in (None, "None") and name not in known:
            raise WebUIError("AssertionError", f"could not find upscaler named {name}")
    try:
        picture.load()
    except OSError as error:
        raise WebUIError("OSError", str(error)) from None
    result = picture.convert("RGB") if picture.mode not in ("RGB", "RGBA") else picture.copy()
    steps = [lambda image: _upscale(image, values, known, facts, lately), lambda image: _restore(image, values, facts)]
    for step in steps if values["upscale_first"] else reversed(steps):
        result = step(result)
    result.info = {key: value for key, value in picture.info.items() if key == "parameters"}
    text = ", ".join(f"{key}: {value}" for key, value in facts.items())
    result.info["postprocessing"] = text
    return result, f"<p>{text}</p>"


def _upscale(
    image: Image.Image,
    values: Mapping[str, Any],
    known: Mapping[str, Upscaler],
    facts: dict[str, Any],
    lately: UpscaledPictures,
) -> Image.Image:
    first, second = values["upscaler_1"], values["upscaler_2"]
    if first in (None, "None"):
        return image
    result = _to_size(image, values, known[first], facts, lately)
    facts["Postprocess upscaler"] = first
    share = values["extras_upscaler_2_visibility"]
    if second not in (None, "None") and share > 0:
        other = _to_size(image, values, known[second], facts, lately).convert(result.mode)
        result = Image.blend(result, other, share)
        facts["Postprocess upscaler 2"] = second
    return result


def _to_size(
    image: Image.Image,
    values: Mapping[str, Any],
    upscaler: Upscaler,
    facts: dict[str, Any],
    lately: UpscaledPictures,
) -> Image.Image:
    if values["resize_mode"] != TO_SIZE:
        scale = values["upscaling_resize"]
        facts["Postprocess upscale by"] = scale
        return lately.enlarge(image, int(image.width * scale), int(image.height * scale), upscaler)
    width, height = values["upscaling_resize_w"], values["upscaling_resize_h"]
    scale = max(width / image.width, height / image.height)
    facts["Postprocess upscale to"] = f"{width}x{height}"
    result = lately.enlarge(image, int(image.width * scale), int(image.height * scale), upscaler)
    if values["upscaling_crop"]:
        canvas = Image.new("RGB", (width, height))
        canvas.paste(result, (width // 2 - result.width // 2, height // 2 - result.height // 2))
        facts["Postprocess crop to"] = f"{width}x{height}"
        return canvas
    return result


def _restore(image: Image.Image, values: Mapping[str, Any], facts: dict[str, Any]) -> Image.Image:
    if values["gfpgan_visibility"] > 0:
        facts["GFPGAN visibility"] = round(values["gfpgan_visibility"], 3)
    if values["codeformer_visibility"] > 0:
        facts["CodeFormer visibility"] = round(values["codeformer_visibility"], 3)
        facts["CodeFormer weight"] = values["codeformer_weight"]
    return image
