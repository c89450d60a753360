"""Fields of OpenAI's image API, each translated into those of a job."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from worker.common.suggestions import nearest
from worker.contract.base.json_guard import shown, word
from worker.contract.compat.openai_request import OpenAIRequest, is_nothing
from worker.contract.types.fields import Flag, Whole

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Kind = Literal["generation", "edit", "variation"]

FORMATS = ("png", "jpeg", "webp", "avif")
QUALITY_PRESET = "quality-"
"""First part of the name of the operator's preset for a word in `quality`."""

_SIZE = re.compile(r"([0-9]{1,5})\s*[x\u00d7*]\s*([0-9]{1,5})", re.ASCII)
_SIDE_STEP, _SHORTEST_SIDE, _LONGEST_SIDE = 8, 64, 2048
_OPENAI_MODEL = re.compile(r"(dall-e|gpt-image|chatgpt-image)\b.*", re.IGNORECASE)
_QUALITIES = ("low", "medium", "high", "xhigh", "max", "hd")
_DEFAULT_QUALITIES = ("auto", "standard")
_DEFAULT_COMPRESSION = 100
_MOST_PICTURES = 10
MOST_PREVIEWS = 3
_FIDELITY_STRENGTH = 0.5
"""Denoising strength of an edit with high `input_fidelity`; the WebUI's default of 0.75 keeps less."""
_ORIGINAL = 1
"""`inpainting_fill`: what is under the mask at first is the picture itself."""
_WITHOUT_EFFECT = ("user", "safety_identifier", "moderation", "complexity")
"""Fields about accounts, and about parts of OpenAI's models that there are none of here."""
_OF_OTHER_FORMATS = ("svg", "frame_count", "frame_duration_ms")
_OF_OTHER_FORMS = frozenset({"type", "action", "compat", "api", "payload", "openai_route", "openai_input"})
_OTHER_NAMES = {
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "strength": "denoising_strength",
}
"""diffusers' names, which are commoner among servers of this API than ours."""


def translate(fields: Mapping[str, Any], kind: Kind, presets: Collection[str]) -> OpenAIRequest:
    """Return a request with the job that it means.

    Args:
        fields: The request's.
        kind: By its route.
        presets: Names of the operator's presets.
    """
    request = OpenAIRequest(fields)
    if kind != "generation":
        _start_picture(request)
    if kind == "edit":
        _edit(request)
    stream = bool(request.take_as(Flag(), "stream"))
    count = request.take_as(Whole(1, _MOST_PICTURES), "n")
    if count is not None:
        request.put("n_iter" if stream else "batch_size", count, "n")
    chosen = [*_model(request, presets), *_quality(request, presets), *_own_presets(request)]
    _size(request, of_start_picture=kind != "generation")
    _format(request)
    _response_format(request, stream=stream)
    _background(request)
    _stream(request, stream=stream)
    _without_effect(request)
    _own_fields(request)
    if request.output:
        request.fields["output"] = request.output
    if chosen:
        request.fields["preset"] = chosen
    return request


def _start_picture(request: OpenAIRequest) -> None:
    """Read the picture to start from: text, or a list of one (OpenAI's JSON form calls it `images`)."""
    request.fields["type"] = "img2img"
    name = "images" if request.says("images") and not request.says("image") else "image"
    given = request.take(name)
    pictures = given if isinstance(given, list) else [] if given is None else [given]
    if len(pictures) > 1:
        message = "one is edited here, and further ones are no references: as units of `controlnet` they guide it"
        request.problem(name, f"has {len(pictures)} pictures; {message}")
    if pictures:
        request.put("init_images", [_picture(request, name, pictures[0])], name)
        request.written["init_images[0]"] = request.place(name)
    elif not request.says("init_images"):
        request.written["init_images"] = "image"


def _picture(request: OpenAIRequest, name: str, given: object) -> object:
    """Return a picture as text: `given` itself, or the `image_url` of an object."""
    if not isinstance(given, dict):
        return given
    url = given.get("image_url")
    address = url.get("url") if isinstance(url, dict) else url
    if is_nothing(address):
        request.problem(name, "must have an image_url; no files are stored here that a file_id could name")
    return address


def _edit(request: OpenAIRequest) -> None:
    if not any(request.says(name) for name in ("prompt", "prompts", "styles")):
        request.problem("prompt", "is missing")
    if request.take("markup") is not None:
        request.problem("markup", "is not offered; draw into the picture itself, or send a mask")
    mask = request.take("mask")
    if mask is not None:
        first = mask[0] if isinstance(mask, list) and len(mask) == 1 else mask
        request.put("mask", _picture(request, "mask", first), "mask")
        request.fields["type"] = "inpaint"
        request.given.setdefault("mask_from_alpha", True)
        request.given.setdefault("inpainting_fill", _ORIGINAL)
    fidelity = request.take_word("input_fidelity")
    if fidelity not in {None, "low", "high"}:
        request.problem("input_fidelity", f"must be low or high, not {shown(fidelity)}")
    if fidelity == "high" and not request.says("denoising_strength") and not request.says("strength"):
        request.put("denoising_strength", _FIDELITY_STRENGTH, "input_fidelity")


def _model(request: OpenAIRequest, presets: Collection[str]) -> list[str]:
    """Read `model`: a checkpoint, or the name of a preset, which is returned."""
    model = request.take("model")
    if isinstance(model, str) and model in presets:
        request.written["preset"] = request.place("model")
        return [model]
    if isinstance(model, str) and _OPENAI_MODEL.fullmatch(model):
        offer = f"an operator can offer a preset of the name {model[:40]!r}"
        request.problem("model", f"{shown(model)} is OpenAI's; GET /v1/models lists those that are here ({offer})")
    elif model is not None and word(model) != "default":
        request.put("checkpoint", model, "model")
    return []


def _quality(request: OpenAIRequest, presets: Collection[str]) -> list[str]:
    """Read `quality`: the name of a preset, which is returned."""
    quality = request.take_word("quality")
    if quality is None:
        return []
    preset = QUALITY_PRESET + quality
    if preset in presets:
        return [preset]
    if quality in _QUALITIES:
        request.warnings.append(f"quality: {quality} changes nothing: there is no preset {preset!r} here")
    elif quality not in _DEFAULT_QUALITIES:
        offered = [name.removeprefix(QUALITY_PRESET) for name in presets if name.startswith(QUALITY_PRESET)]
        known = sorted({*_QUALITIES, *_DEFAULT_QUALITIES, *offered})
        request.problem("quality", f"must be one of {', '.join(known)}, not {shown(quality)}", nearest(quality, known))
    return []


def _size(request: OpenAIRequest, *, of_start_picture: bool) -> None:
    given = request.given.get("size")
    size = request.take_word("size") if isinstance(given, str) or is_nothing(given) else shown(request.take("size"))
    if size in {None, "auto"}:
        is_open = not any(request.says(name) for name in ("width", "height", "recommended"))
        if is_open and not of_start_picture:
            request.fields["recommended"] = True
        return
    found = _SIZE.fullmatch(size or "")
    if found is None:
        said = shown(size) if isinstance(given, str) else size
        request.problem("size", f'must be "auto" or WIDTHxHEIGHT such as "1024x1024", not {said}')
        return
    width, height = int(found[1]), int(found[2])
    near = _nearest_size(width, height)
    if near == (width, height):
        request.put("width", width, "size")
        request.put("height", height, "size")
    else:
        rule = f"must have sides that are multiples of {_SIDE_STEP}, from {_SHORTEST_SIDE} to {_LONGEST_SIDE}"
        request.problem("size", f"{rule}, not {width}x{height}", f"{near[0]}x{near[1]}")


def _nearest_size(width: int, height: int) -> tuple[int, int]:
    """Return the nearest size in that shape that a picture can have."""
    scale = min(1.0, _LONGEST_SIDE / max(width, height, 1))

    def near(side: int) -> int:
        return min(max(round(side * scale / _SIDE_STEP) * _SIDE_STEP, _SHORTEST_SIDE), _LONGEST_SIDE)

    return near(width), near(height)


def _format(request: OpenAIRequest) -> None:
    given = request.take_word("output_format")
    wanted = "jpeg" if given == "jpg" else given
    if wanted in FORMATS:
        request.put_output("format", wanted, "output_format")
    elif wanted is not None:
        near = nearest(wanted, FORMATS)
        request.problem("output_format", f"must be one of {', '.join(FORMATS)}, not {shown(wanted)}", near)
    compression = request.take_as(Whole(0, 100), "output_compression")
    if compression is None:
        return
    if wanted not in {None, "png"}:
        request.put_output("quality", max(1, compression), "output_compression")
    elif compression != _DEFAULT_COMPRESSION:
        request.problem("output_compression", "is for jpeg and webp; a png has no quality to choose")


def _response_format(request: OpenAIRequest, *, stream: bool) -> None:
    wanted = request.take_word("response_format")
    if wanted is None:
        request.output["delivery"] = "base64"
    elif wanted not in {"url", "b64_json"}:
        request.problem("response_format", f"must be url or b64_json, not {shown(wanted)}")
    elif wanted == "url" and stream:
        request.problem("response_format", "must be b64_json with stream: its events carry no URLs")
    else:
        request.put_output("delivery", "s3" if wanted == "url" else "base64", "response_format")


def _background(request: OpenAIRequest) -> None:
    background = request.take_word("background")
    if background == "transparent":
        request.problem("background", "transparent is not possible: Stable Diffusion paints every pixel", "opaque")
    elif background not in {None, "auto", "opaque"}:
        request.problem("background", f"must be auto or opaque, not {shown(background)}")


def _stream(request: OpenAIRequest, *, stream: bool) -> None:
    previews = request.take_as(Whole(0, MOST_PREVIEWS), "partial_images")
    if stream:
        request.fields["stream"] = True
        if previews:
            request.fields["live_previews"] = True
            request.written["live_previews"] = request.place("partial_images")
    elif previews:
        request.warnings.append("partial_images: changes nothing without stream")


def _without_effect(request: OpenAIRequest) -> None:
    for name in _WITHOUT_EFFECT:
        request.take(name)
    if request.take("style") is not None:
        request.warnings.append("style: changes nothing here; say it in the prompt")
    for name in _OF_OTHER_FORMATS:
        if request.take(name) is not None:
            request.problem(name, f"belongs to formats that are not made here; there are {', '.join(FORMATS)}")


def _own_presets(request: OpenAIRequest) -> list[str]:
    """Return the presets that the client names as a job of ours does."""
    given = request.take("preset")
    return given if isinstance(given, list) else [] if given is None else [given]


def _own_fields(request: OpenAIRequest) -> None:
    """Pass on the fields that are a job's own."""
    output = request.take("output")
    if isinstance(output, dict):
        _merge_output(request, output)
    elif output is not None:
        request.problem("output", f"must be an object, not {shown(output)}")
    for other, name in _OTHER_NAMES.items():
        value = request.take(other)
        if value is not None:
            request.put(name, value, other)
    for name, value in request.given.items():
        if name in _OF_OTHER_FORMS:
            request.problem(name, "is not a field of this API; its paths say what is done")
        else:
            request.fields[name] = value
            request.written.setdefault(name, request.place(name))


def _merge_output(request: OpenAIRequest, output: Mapping[str, Any]) -> None:
    """Add the job's own `output`, which may not say something else than OpenAI's fields."""
    for name, value in output.items():
        origin = request.written.get(f"output.{name}")
        if origin is not None and request.output[name] != value:
            request.problem("output", f"{name} says something else than {origin}; send one of them")
        request.output[name] = value
