"""Upscaling and interrogation by A1111: bodies, and whether the answers are what was asked for. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.contract.rules.sizes import LATENT, Size
from worker.errors import ModelNotFound, Problem, WrongResult
from worker.webui.names.name_resolver import missing_upscaler, upscaler_meant

if TYPE_CHECKING:
    from worker.contract.types.kinds import Interrogate, Upscale
    from worker.webui.names.catalog import Catalog
    from worker.webui.names.weights import Weights

PREFERRED = ("R-ESRGAN 4x+", "SwinIR 4x", "ESRGAN_4x", "DAT x4", "Lanczos")
"""Upscalers from best to the one that needs no weights: what a job gets that names none."""
DEFAULT_FACTOR = 2.0
LONGEST_SIDE = 8192
"""Of an upscaled picture, pixels: what a job may ask for by number is what it may ask for by factor."""
_NAMED = re.compile(r"Postprocess upscaler: ([^,<]+)")


@dataclass(frozen=True, slots=True)
class Upscaling:
    """One upscale request and what its picture has to be."""

    body: dict[str, Any]
    upscalers: tuple[str, ...]
    size: Size
    warnings: tuple[str, ...] = ()

    def told(self) -> dict[str, Any]:
        """Return the body as it is told to the client: without the picture."""
        return {name: value for name, value in self.body.items() if name != "image"}


def upscaling(
    job: Upscale, image: str, size: Size, catalog: Catalog, weights: Weights | None
) -> tuple[Upscaling, list[Problem]]:
    """Return the request for `job`, and a problem for each name that the WebUI does not have.

    Args:
        job: The job.
        image: base64 of its picture.
        size: Of its picture.
        catalog: What the WebUI lists.
        weights: What is on this machine; None: unknown.
    """
    problems: list[Problem] = []
    warnings: list[str] = []
    names = [upscaler.name for upscaler in catalog.upscalers]
    chosen: dict[str, str] = {}
    for field in ("upscaler_1", "upscaler_2"):
        given = getattr(job, field)
        if given is None:
            continue
        found, more = upscaler_meant(given, names, catalog, weights, job.path(field))
        if found is not None and more and field == "upscaler_1" and job.fallback is not None:
            warnings.append(f"{job.path(field)}: the weights of {found!r} are missing; {job.fallback!r} was used")
            found, more = upscaler_meant(job.fallback, names, catalog, weights, job.path("fallback"))
        problems += more
        if found is not None:
            chosen[field] = found
    if job.upscaler_1 is None:
        chosen["upscaler_1"] = _best(names, catalog, weights)
    body = {**job.plain_fields(), **chosen, "image": image}
    expected = _expected(job, chosen.get("upscaler_1"), size)
    if max(expected.width, expected.height) > LONGEST_SIDE:
        told = (
            f"makes a picture of {expected.width}x{expected.height}; at most {LONGEST_SIDE} pixels a side are allowed"
        )
        problems.append(Problem(job.path("image" if job.upscaling_resize is None else "upscaling_resize"), told))
    return Upscaling(body, tuple(chosen.values()), expected, tuple(warnings)), problems


def check_upscaled(asked: Upscaling, got: Size, html_info: str) -> None:
    """Raise `WrongResult` when the picture is not of the size asked for, or another upscaler was at work.

    A1111 rounds a scaled size down to whole latents, so less than one of them either way is right.
    """
    off = max(abs(asked.size.width - got.width), abs(asked.size.height - got.height))
    if off >= LATENT:
        wanted = f"{asked.size.width}x{asked.size.height}"
        raise WrongResult(f"the upscaled picture is {got.width}x{got.height}, asked for {wanted}")
    named = _NAMED.search(html_info)
    if named and named[1].strip() != asked.upscalers[0]:
        raise WrongResult(f"the WebUI used upscaler {named[1].strip()!r}, asked for {asked.upscalers[0]!r}")


def interrogation(job: Interrogate, image: str) -> dict[str, Any]:
    """Return the request for `job`."""
    return {"image": image, "model": job.model or "clip"}


def caption(content: Any, model: str) -> str:
    """Return the caption in an answer.

    Raises:
        ModelNotFound: there is none; A1111 answers 200 with the word ``<error>`` where its weights are missing.
    """
    text = content.get("caption") if isinstance(content, dict) else None
    if not isinstance(text, str) or "<error>" in text:
        raise ModelNotFound(
            f"the weights of interrogation model {model!r} are not installed",
            hint="Put them into the WebUI's models folder; nothing is fetched while a job runs.",
        )
    return text.strip()


def _best(names: list[str], catalog: Catalog, weights: Weights | None) -> str:
    if weights is None:
        return "Lanczos"
    ready = [name for name in PREFERRED if name in names and not missing_upscaler(name, catalog, weights, "")]
    return ready[0] if ready else "Lanczos"


def _expected(job: Upscale, upscaler: str | None, size: Size) -> Size:
    """Return the size that the answer has to have."""
    width, height = job.upscaling_resize_w, job.upscaling_resize_h
    if job.resize_mode == 1 and width is not None and height is not None:
        if job.upscaling_crop is not False:
            return Size(width, height)
        factor = max(width / size.width, height / size.height)
        return Size(round(size.width * factor), round(size.height * factor))
    if upscaler == "None":
        return size
    factor = job.upscaling_resize or DEFAULT_FACTOR
    return Size(int(size.width * factor), int(size.height * factor))
