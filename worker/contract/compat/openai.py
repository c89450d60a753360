"""``{"openai_route": "/v1/images/generations", "openai_input": {…}}``: a request to OpenAI's image API.

RunPod's vLLM worker takes its requests in this form, and our own ``/v1`` routes put theirs into it. Fields that OpenAI
does not have (`seed`, `steps`, `loras`, …) are those of our jobs, at the top level or in `extra_body`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from worker.common.suggestions import nearest
from worker.contract.base.json_guard import shown
from worker.contract.compat.client_form import Form, Translation
from worker.contract.compat.openai_fields import FORMATS, MOST_PREVIEWS, translate
from worker.contract.compat.openai_request import OpenAIRequest, parsed
from worker.contract.types.fields import Flag, Whole
from worker.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from worker.contract.compat.client_form import Cache
    from worker.contract.compat.openai_fields import Kind

Route = Literal["images/generations", "images/edits", "images/variations", "models"]

ROUTE, INPUT = "openai_route", "openai_input"
MODELS_LISTING = "/sdapi/v1/sd-models"

_KINDS: dict[Route, Kind] = {
    "images/generations": "generation",
    "images/edits": "edit",
    "images/variations": "variation",
}
_ROUTES: tuple[Route, ...] = (*_KINDS, "models")
_SIGNATURES = (("iVBORw0KGgo", "png"), ("/9j/", "jpeg"), ("UklGR", "webp"))
"""First characters of a picture's base64."""


class OpenAIForm(Form):
    """A request to OpenAI's image API: route and fields."""

    name = "openai"
    marks = frozenset({ROUTE, INPUT})

    def translate(self, raw: dict[str, Any], presets: Collection[str]) -> Translation:
        """Return `raw` in our terms."""
        return to_job(raw, presets)

    def answer(self, call: Translation, answer: Mapping[str, Any], cache: Cache) -> dict[str, Any]:
        """Return `answer` as OpenAI's."""
        return to_answer(call, answer)


OPENAI = OpenAIForm()


def wants_stream(fields: Mapping[str, Any]) -> bool:
    """Return whether a request asks for its answer as a stream of events."""
    return bool(OpenAIRequest(fields).take_as(Flag(), "stream"))


def previews_wanted(fields: Mapping[str, Any]) -> int:
    """Return how many unfinished pictures of each picture a stream may carry."""
    return OpenAIRequest(fields).take_as(Whole(0, MOST_PREVIEWS), "partial_images") or 0


def to_job(raw: Mapping[str, Any], presets: Collection[str] = ()) -> Translation:
    """Return `raw` in our terms; mistakes in the request's own fields are in `Translation.problems`.

    Args:
        raw: A job's input of this form.
        presets: Names of the operator's presets, which are models to OpenAI's clients.

    Raises:
        InvalidInput: a route that is not offered, or no request.
    """
    more = next((name for name in raw if name not in {ROUTE, INPUT}), None)
    if more is not None:
        raise InvalidInput.at(more, f"is not a field of this form; its fields are {ROUTE} and {INPUT}")
    route = _route(raw.get(ROUTE))
    if route == "models":
        return Translation(listing=MODELS_LISTING, request=sorted(presets))
    request = translate(_fields(raw.get(INPUT)), _KINDS[route], presets)
    return Translation(
        request.fields, root=INPUT, written=request.written, problems=request.problems, warnings=request.warnings
    )


def to_answer(call: Translation, answer: Mapping[str, Any], *, now: Callable[[], float] = time.time) -> dict[str, Any]:
    """Return `answer` (ours) as OpenAI's answer to `call`; `seed`, `applied` and `warnings` are additions."""
    if call.listing is not None:
        rows = answer.get("raw")
        names = [str(row.get("model_name") or row.get("title")) for row in (rows if isinstance(rows, list) else ())]
        return {
            "object": "list",
            "data": [
                *({"id": name, "object": "model", "created": 0, "owned_by": "preset"} for name in call.request),
                *({"id": name, "object": "model", "created": 0, "owned_by": "worker"} for name in names),
            ],
        }
    images, applied = list(answer.get("images") or ()), dict(answer.get("applied") or {})
    seeds = list(answer.get("seeds") or ())
    size = applied.get("size") or {}
    return {
        "created": int(now()),
        "data": [
            {_kind_of(image): image, **({"seed": seeds[index]} if index < len(seeds) else {})}
            for index, image in enumerate(images)
        ],
        "background": "opaque",
        **({"output_format": format_of(images[0])} if images else {}),
        **({"size": f"{size['width']}x{size['height']}"} if size else {}),
        "usage": dict(NO_USAGE),
        "applied": applied,
        "warnings": list(answer.get("warnings") or ()),
    }


NO_USAGE: Mapping[str, Any] = {
    "input_tokens": 0,
    "output_tokens": 0,
    "total_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
}
"""No tokens are counted here, but clients' types require the field."""


def format_of(image: str) -> str:
    """Return the format of a picture, by the beginning of its base64 or the ending of its URL."""
    if _kind_of(image) == "url":
        ending = image.partition("?")[0].rpartition(".")[2].lower()
        return {"jpg": "jpeg"}.get(ending, ending if ending in FORMATS else "png")
    return next((name for start, name in _SIGNATURES if image.startswith(start)), "avif")


def _kind_of(image: str) -> Literal["url", "b64_json"]:
    return "url" if "://" in image[:16] else "b64_json"


def _route(given: object) -> Route:
    if not isinstance(given, str):
        raise InvalidInput.at(ROUTE, f"must be one of {_offered()}, not {shown(given)}")
    bare = given[:200].partition("?")[0].strip("/ ").removeprefix("openai/").removeprefix("v1/")
    for route in _ROUTES:
        if bare == route:
            return route
    near = nearest(bare, _ROUTES)
    raise InvalidInput.at(ROUTE, f"must be one of {_offered()}, not {shown(given)}", near and f"/v1/{near}")


def _offered() -> str:
    return ", ".join(f"/v1/{route}" for route in _ROUTES)


def _fields(given: object) -> dict[str, Any]:
    """Return the request's fields."""
    fields = parsed(given)
    if not isinstance(fields, dict):
        raise InvalidInput.at(INPUT, f"must be an object with a prompt, not {shown(given)}")
    return fields
