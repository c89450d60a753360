"""Pictures that an endpoint delivers as links, put into its answers as base64: few clients follow links."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import TYPE_CHECKING, Any

import requests

from worker.errors import DeliveryFailed
from worker.serving.gateway import JobError

if TYPE_CHECKING:
    from collections.abc import Mapping

FETCH_S = 60.0
LARGEST_PICTURE = 200_000_000
_PIECE_BYTES = 1 << 16


def is_link(value: object) -> bool:
    """Return whether a picture in an answer is a link."""
    return isinstance(value, str) and value.startswith(("https://", "http://"))


async def embed_pictures(answer: Any, *, keep_openai_links: bool) -> Any:
    """Return a job's answer with its links replaced by the pictures behind them.

    Args:
        answer: In our own, A1111's or OpenAI's form.
        keep_openai_links: The client of OpenAI's API has asked for links.

    Raises:
        JobError: a link can't be read; names all links, so that no picture is lost.
    """
    if not isinstance(answer, dict):
        return answer
    embedded = dict(answer)
    if isinstance(answer.get("images"), list):
        embedded["images"] = await asyncio.gather(*(_embedded(image) for image in answer["images"]))
    if is_link(answer.get("image")):
        embedded["image"] = await _embedded(answer["image"])
    if isinstance(answer.get("data"), list) and not keep_openai_links:
        embedded["data"] = await asyncio.gather(*(_embedded_entry(entry) for entry in answer["data"]))
    return embedded


async def _embedded_entry(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    if not is_link(entry.get("url")):
        return entry
    picture = await _embedded(entry["url"])
    return {"b64_json": picture, **{name: value for name, value in entry.items() if name != "url"}}


async def _embedded(image: Any) -> Any:
    if not is_link(image):
        return image
    try:
        return base64.b64encode(await asyncio.to_thread(_fetch, image)).decode()
    except requests.RequestException as error:
        host = re.split(r"[/?#]", image.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]
        failed = DeliveryFailed(
            f"the picture is made and stored, but can't be fetched from {host}: {type(error).__name__}",
            hint="Open the link in details.link before it expires.",
            details={"link": image},
        )
        raise JobError(failed.to_answer()) from None


def _fetch(link: str) -> bytes:
    with requests.get(link, timeout=FETCH_S, stream=True) as response:
        response.raise_for_status()
        data = bytearray()
        for piece in response.iter_content(_PIECE_BYTES):
            data += piece
            if len(data) > LARGEST_PICTURE:
                raise requests.exceptions.ContentDecodingError(f"more than {LARGEST_PICTURE} bytes")
        return bytes(data)
