"""The endpoints that only tell: every GET that lists something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from standin import flags
from standin.api import fields
from standin.generation import samplers
from standin.models import upscalers

if TYPE_CHECKING:
    from collections.abc import Callable

    from standin.webui import WebUI


_BODIES = {"txt2img": "StableDiffusionProcessingTxt2Img", "img2img": "StableDiffusionProcessingImg2Img"}


def scripts_info(webui: WebUI) -> list[dict[str, Any]]:
    """`GET /sdapi/v1/script-info`, with the names of samplers, models … as choices."""
    lists = {
        "@samplers": [sampler.name for sampler in samplers.SAMPLERS],
        "@schedulers": [scheduler.label for scheduler in samplers.SCHEDULERS],
        "@upscalers": [upscaler.name for upscaler in webui.upscalers],
        "@checkpoints": webui.checkpoints.titles(),
    }
    return webui.extensions.catalog.info(lists)


def openapi(webui: WebUI, _query: dict[str, str], *, paths: dict[str, list[str]]) -> dict[str, Any]:
    """A small `GET /openapi.json`: which paths and methods there are, and what the bodies of pictures have."""
    described: dict[str, Any] = {
        path: {method: {"responses": {"200": {"description": "Successful Response"}}} for method in methods}
        for path, methods in paths.items()
        if not path.startswith("/standin")
    }
    del webui
    for path, name in _BODIES.items():
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        described[f"/sdapi/v1/{path}"]["post"]["requestBody"] = {"required": True, "content": content}
    schemas = {_BODIES["txt2img"]: fields.schema(fields.TXT2IMG), _BODIES["img2img"]: fields.schema(fields.IMG2IMG)}
    return {
        "openapi": "3.0.2",
        "info": {"title": "FastAPI", "version": "0.1.0"},
        "paths": described,
        "components": {"schemas": schemas},
    }


def _restorers(_webui: WebUI) -> list[dict[str, Any]]:
    return [{"name": name, "cmd_dir": None} for name in ("CodeFormer", "GFPGAN")]


def _styles(webui: WebUI) -> list[dict[str, Any]]:
    return [
        {"name": style.name, "prompt": style.prompt, "negative_prompt": style.negative_prompt}
        for style in webui.styles.by_name.values()
    ]


def _query(listing: Callable[[WebUI], Any]) -> Callable[[WebUI, dict[str, str]], Any]:
    return lambda webui, _: listing(webui)


GETS: dict[str, Callable[[WebUI, dict[str, str]], Any]] = {
    name: _query(listing)
    for name, listing in {
        "options": lambda webui: webui.options.listed(),
        "cmd-flags": lambda webui: flags.shown(webui.flags),
        "samplers": lambda _: [sampler.listed() for sampler in samplers.SAMPLERS],
        "schedulers": lambda _: [scheduler.listed() for scheduler in samplers.SCHEDULERS],
        "upscalers": lambda webui: [upscaler.listed() for upscaler in webui.upscalers],
        "latent-upscale-modes": lambda _: [{"name": name} for name in upscalers.LATENT_MODES],
        "sd-models": lambda webui: webui.checkpoints.listed(),
        "sd-vae": lambda webui: webui.vaes.listed(),
        "hypernetworks": lambda _: [],
        "face-restorers": _restorers,
        "realesrgan-models": lambda _: [{"name": n, "path": p, "scale": s} for n, p, s in upscalers.REALESRGAN],
        "prompt-styles": _styles,
        "embeddings": lambda webui: webui.embeddings.listed(),
        "memory": lambda webui: webui.memory.to_json(),
        "scripts": lambda webui: webui.extensions.catalog.names(),
        "script-info": scripts_info,
        "extensions": lambda webui: webui.extensions.listed(),
        "loras": lambda webui: webui.networks.listed(),
    }.items()
}
