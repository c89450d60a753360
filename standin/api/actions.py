"""The endpoints that do something other than generate: progress, interrupt, options, refreshes, png-info and more."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from PIL import Image
from starlette.responses import PlainTextResponse

from standin.api import extras
from standin.api.encoding import decode, encode, read_infotext
from standin.api.fields import REQUIRED, problem, validate
from standin.errors import InvalidRequest, WebUIError, http_error
from standin.faults.spoiled_answers import crop, damage
from standin.generation import infotext

if TYPE_CHECKING:
    from collections.abc import Callable

    from standin.webui import WebUI

TRUE = ("1", "true", "True", "on", "yes")
EXIT_SOON = 0.05


def progress(webui: WebUI, query: dict[str, str]) -> dict[str, Any]:
    """`GET /sdapi/v1/progress`; never waits for the job."""
    state = webui.state
    share, left = state.progress()
    if share:
        state.show(webui.options)
    image = state.current_image if share and query.get("skip_current_image", "") not in TRUE else None
    return {
        "progress": share,
        "eta_relative": left,
        "state": state.fields(),
        "current_image": encode(image, webui.options) if image is not None else None,
        "textinfo": None,
    }


def set_options(webui: WebUI, body: Any) -> None:
    """`POST /sdapi/v1/options`: in order, so keys before a bad one are applied; a checkpoint is loaded at once."""
    if not isinstance(body, dict):
        raise InvalidRequest([problem(["body"], "value is not a valid dict", "type_error.dict")])
    name = body.get("sd_model_checkpoint")
    if name is not None and webui.checkpoints.named(name) is None:
        raise WebUIError("RuntimeError", f"model {name!r} not found")
    for key, value in body.items():
        old = webui.options.data.get(key)
        if not webui.options.set(key, value):
            continue
        try:
            if key == "sd_model_checkpoint":
                with webui.queue.hold():
                    webui.model.ensure()
                    webui.model.reload()
            elif key == "sd_vae":
                with webui.queue.hold():
                    webui.model.reload_vae()
        except WebUIError as error:
            print(f"changing setting {key} to {value}: {error.name}: {error.message}", flush=True)
            webui.options.data[key] = old
    webui.options.save()


def png_info(webui: WebUI, body: Any) -> dict[str, Any]:
    """`POST /sdapi/v1/png-info`."""
    request = validate(body, {"image": ("str", REQUIRED)}, nullable=False)
    picture = decode(request["image"].strip(), webui.options)
    text, items = read_infotext(picture)
    return {"info": text, "items": items, "parameters": infotext.parse(text)}


def extra_single(webui: WebUI, body: Any) -> dict[str, Any]:
    """`POST /sdapi/v1/extra-single-image`."""
    values = extras.read(body, extras.SINGLE)
    picture = decode(values["image"], webui.options)
    with webui.queue.hold():
        result, text = extras.run(picture, values, webui.upscalers, webui.upscaled)
    if webui.faults.take("black"):
        result = Image.new("RGB", result.size)
    result = crop(webui.faults, result)
    (image,) = damage(webui.faults, [encode(result, webui.options)])
    return {"html_info": text, "image": image}


def extra_batch(webui: WebUI, body: Any) -> dict[str, Any]:
    """`POST /sdapi/v1/extra-batch-images`."""
    values = extras.read(body, extras.BATCH)
    entries = values["imageList"]
    problems = [
        problem(["body", "imageList", index, name], "field required", "value_error.missing")
        for index, entry in enumerate(entries)
        for name in ("data", "name")
        if not isinstance(entry, dict) or name not in entry
    ]
    if problems:
        raise InvalidRequest(problems)
    pictures = [decode(str(entry["data"]), webui.options) for entry in entries]
    with webui.queue.hold():
        results = [extras.run(picture, values, webui.upscalers, webui.upscaled) for picture in pictures]
    text = results[-1][1] if results else ""
    return {"html_info": text, "images": [encode(picture, webui.options) for picture, _ in results]}


def interrogate(webui: WebUI, body: Any) -> dict[str, Any]:
    """`POST /sdapi/v1/interrogate`: without the caption model's weights it says `<error>`, as the real one does."""
    request = validate(body, {"image": ("str", ""), "model": ("str", "clip")}, nullable=False)
    picture = decode(request["image"], webui.options)
    picture.convert("RGB")
    with webui.queue.hold():
        if request["model"] == "clip":
            return {"caption": "<error>"}
        if request["model"] == "deepdanbooru":
            raise WebUIError("IndexError", "list index out of range")
    raise http_error(404, "Model not found")


def _interrupt(webui: WebUI) -> dict[str, Any]:
    webui.state.interrupt()
    return {}


def _skip(webui: WebUI) -> None:
    webui.state.skipped = True


def _refresh_checkpoints(webui: WebUI) -> None:
    with webui.queue.hold():
        webui.refresh_checkpoints()


def _refresh_vae(webui: WebUI) -> None:
    with webui.queue.hold():
        webui.vaes.refresh()


def _refresh_embeddings(webui: WebUI) -> None:
    with webui.queue.hold():
        webui.model.ensure()
        webui.model.refresh_embeddings()


def _unload(webui: WebUI) -> dict[str, Any]:
    webui.model.ensure()
    webui.model.require()
    return {}


def _reload(webui: WebUI) -> dict[str, Any]:
    webui.model.ensure()
    webui.model.require()
    return {}


def _kill(_webui: WebUI) -> None:
    threading.Timer(EXIT_SOON, lambda: os._exit(0)).start()


COMMANDS: dict[str, Callable[[WebUI], Any]] = {
    "interrupt": _interrupt,
    "skip": _skip,
    "refresh-checkpoints": _refresh_checkpoints,
    "refresh-vae": _refresh_vae,
    "refresh-embeddings": _refresh_embeddings,
    "refresh-loras": lambda webui: webui.networks.refresh(),
    "unload-checkpoint": _unload,
    "reload-checkpoint": _reload,
}
STOPS: dict[str, Callable[[WebUI], Any]] = {
    "server-kill": _kill,
    "server-stop": lambda _: PlainTextResponse("Stopping."),
    "server-restart": lambda _: PlainTextResponse("", status_code=501),
}
