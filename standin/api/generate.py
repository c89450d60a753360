"""The two endpoints that make pictures: from the request's fields to the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from standin.api import fields
from standin.api.encoding import decode, encode
from standin.errors import http_error
from standin.faults.spoiled_answers import damage, spoil
from standin.generation import infotext, processing, samplers
from standin.generation.img2img import ImageToImage
from standin.generation.job import Processing
from standin.generation.txt2img import TextToImage

if TYPE_CHECKING:
    from standin.webui import WebUI

FROM_INFOTEXT = {
    "prompt": "Prompt",
    "negative_prompt": "Negative prompt",
    "steps": "Steps",
    "sampler_name": "Sampler",
    "scheduler": "Schedule type",
    "cfg_scale": "CFG scale",
    "seed": "Seed",
    "width": "Size-1",
    "height": "Size-2",
    "denoising_strength": "Denoising strength",
    "subseed": "Variation seed",
    "subseed_strength": "Variation seed strength",
    "hr_checkpoint_name": "Hires checkpoint",
    "hr_sampler_name": "Hires sampler",
    "hr_scheduler": "Hires schedule type",
}
OPTIONS_FROM_INFOTEXT = {
    "Clip skip": ("CLIP_stop_at_last_layers", int),
    "ENSD": ("eta_noise_seed_delta", int),
    "VAE": ("sd_vae", str),
}


def txt2img(webui: WebUI, body: Any) -> Any:
    """`POST /sdapi/v1/txt2img`."""
    request = fields.validate(body, fields.TXT2IMG)
    _apply_infotext(request, body, fields.TXT2IMG)
    return _run(webui, request, "txt2img")


def img2img(webui: WebUI, body: Any) -> Any:
    """`POST /sdapi/v1/img2img`."""
    request = fields.validate(body, fields.IMG2IMG)
    if request["init_images"] is None:
        raise http_error(404, "Init image not found")
    mask = decode(request["mask"], webui.options) if request["mask"] else None
    _apply_infotext(request, body, {"scheduler": fields.IMG2IMG["scheduler"]})
    return _run(webui, request, "img2img", mask)


def _run(webui: WebUI, request: dict[str, Any], tab: str, mask: Any = None) -> Any:
    catalog = webui.extensions.catalog
    name = request["script_name"]
    script = catalog.selectable(tab, name) if name else None
    sampler, scheduler = samplers.requested(request["sampler_name"] or request["sampler_index"], request["scheduler"])
    alwayson = catalog.alwayson(tab, request["alwayson_scripts"] or {})
    with webui.queue.hold():
        webui.model.ensure()
        p = Processing(
            request=dict(request),
            tab=tab,
            width=request["width"],
            height=request["height"],
            batch_size=request["batch_size"],
            n_iter=request["n_iter"],
            steps=request["steps"],
            sampler_name=sampler,
            scheduler=scheduler,
            prompt=request["prompt"],
            negative_prompt=request["negative_prompt"],
            styles=request["styles"] or [],
            override_settings=dict(request["override_settings"] or {}),
            seed=request["seed"],
            subseed=request["subseed"],
            do_not_save_grid=not request["save_images"],
            do_not_save_samples=not request["save_images"],
            mask=mask,
            alwayson=alwayson,
            script_args=request["script_args"] or [],
        )
        if request.get("firstphase_width") or request.get("firstphase_height"):
            p.width, p.height = request["firstphase_width"], request["firstphase_height"]
        if tab == "img2img":
            p.init_images = [decode(text, webui.options) for text in request["init_images"]]
        p.start = lambda one: _start(webui, one)
        webui.state.begin(f"scripts_{tab}")
        webui.faults.work_on(str(request.get("prompt") or ""))
        try:
            processed = webui.extensions.run_script(webui, p, script) if script else processing.run(webui, p)
        finally:
            webui.state.end()
            webui.memory.grow()
    spoil(webui.faults, processed)
    images = [encode(image, webui.options) for image in processed.images] if request["send_images"] else []
    if tab == "img2img" and not request["include_init_images"]:
        request["init_images"] = request["mask"] = None
    return webui.faults.answer(
        {"images": damage(webui.faults, images), "parameters": request, "info": processed.info()}
    )


def _start(webui: WebUI, p: Processing) -> None:
    tab = ImageToImage(webui) if p.tab == "img2img" else TextToImage(webui)
    p.prepare, p.paint = tab.prepare, tab.batch


def _apply_infotext(request: dict[str, Any], body: dict[str, Any], known: dict[str, tuple[str, Any]]) -> None:
    """Fills the fields that the request leaves out from its `infotext`, as far as they are `known`, and options."""
    if not request["infotext"]:
        return
    found = infotext.parse(request["infotext"])
    for name, label in FROM_INFOTEXT.items():
        if name not in body and name in known and found.get(label) is not None:
            request[name] = fields.validate({name: found[label]}, {name: known[name]})[name]
    overrides = dict(request["override_settings"] or {})
    for label, (option, kind) in OPTIONS_FROM_INFOTEXT.items():
        if label in found and option not in overrides and not (label == "Clip skip" and found[label] == "1"):
            overrides[option] = kind(found[label])
    request["override_settings"] = overrides
