"""The WebUI's request for a plain job whose names are resolved, and the job's progress while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.contract.rules.field_rules import first_size, largest_size
from worker.contract.rules.sizes import split
from worker.contract.types.job import Txt2Img
from worker.contract.types.kinds import Img2Img
from worker.errors import InvalidInput
from worker.jobs.inputs import LARGEST_SIDE
from worker.telemetry.progress import Progress
from worker.webui.request import body
from worker.webui.request.extension_units import attach

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from worker.contract.types.job import Generation
    from worker.jobs.inputs import JobInputs
    from worker.telemetry.progress import ProgressSink
    from worker.webui.backend import Backend
    from worker.webui.execute.generate import OnState
    from worker.webui.names.name_resolver import Chosen
    from worker.webui.request.body import Request


def build_request(job: Generation, names: Chosen, inputs: JobInputs, backend: Backend, *, max_pixels: int) -> Request:
    """Return the WebUI's request for `job`, whose seed is fixed, so that a retry makes the same picture. Blocking.

    Raises:
        InvalidInput: a start picture makes a result that is too large for this endpoint, or the WebUI lacks an
            extension or a model of one.
    """
    request = _plain_request(job, names, inputs, backend, max_pixels)
    catalog, weights = backend.catalog, backend.plan.weights
    request, problems = attach(request, job, catalog, weights, inputs.units, renamed=names.renamed)
    if problems:
        raise InvalidInput(problems)
    return request


def _plain_request(job: Generation, names: Chosen, inputs: JobInputs, backend: Backend, max_pixels: int) -> Request:
    table, baseline = backend.catalog.samplers, backend.baseline
    seed = job.seed or 0
    if isinstance(job, Img2Img):
        size = inputs.size or first_size(job)
        if size.pixels > max_pixels:
            message = f"makes a result of {size.width}x{size.height}; {_at_most(max_pixels)}"
            raise InvalidInput.at(job.path("init_images[0]"), message)
        _refuse_the_enormous(job, inputs)
        batches = split(size.width, size.height, job.batch_size or 1, job.n_iter or 1, max_pixels)
        start = body.Start(inputs.images, size, inputs.mask, inputs.extra, inputs.result)
        return body.img2img(job, names, table, seed=seed, batches=batches, baseline=baseline, start=start)
    if not isinstance(job, Txt2Img):
        raise TypeError(type(job))
    size = largest_size(job)
    if size.pixels > max_pixels:  # what a publisher recommends may be more than this endpoint allows
        message = f"makes a picture of {size.width}x{size.height}; {_at_most(max_pixels)}"
        raise InvalidInput.at(job.path("width"), message)
    batches = split(size.width, size.height, job.batch_size or 1, job.n_iter or 1, max_pixels)
    return body.txt2img(job, names, table, seed=seed, batches=batches, baseline=baseline)


def _at_most(max_pixels: int) -> str:
    return f"at most {max_pixels} pixels are allowed here"


def _refuse_the_enormous(job: Img2Img, inputs: JobInputs) -> None:
    """Raise InvalidInput where tiles would make a picture that no memory holds: they know no limit of the GPU's."""
    own, tiles, tiled = inputs.own, job.ultimate_upscale, job.tiled_diffusion
    asked: dict[str, float | None] = {}
    if tiles is not None and tiles.width is None:
        asked["ultimate_upscale"] = tiles.scale
    if tiled is not None and tiled.upscaler is not None:
        asked["tiled_diffusion"] = tiled.scale
    for name, scale in asked.items():
        factor = scale or 2.0
        if own is not None and factor * max(own.width, own.height) > LARGEST_SIDE:
            size = f"{own.width * factor:.0f}x{own.height * factor:.0f}"
            message = f"makes a picture of {size}; at most {LARGEST_SIDE} a side are allowed"
            raise InvalidInput.at(job.path("init_images[0]" if scale is None else f"{name}.scale"), message)


def webui_progress(request: Request, sink: ProgressSink) -> OnState:
    """Return a sink for the WebUI's progress on `request` that turns it into the job's."""
    images = request.expect.count

    def tell(state: Mapping[str, Any]) -> None:
        inner = state.get("state") or {}
        share = float(state.get("progress") or 0.0)
        done, batches = int(inner.get("job_no") or 0), int(inner.get("job_count") or 0)
        per_batch = max(1, images // batches) if batches > 0 else images
        sink(
            Progress(
                stage="generate",
                percent=5 + 85 * min(1.0, share),
                step=int(inner.get("sampling_step") or 0),
                steps=int(inner.get("sampling_steps") or request.steps),
                eta_s=max(0.0, float(state.get("eta_relative") or 0.0)),
                image=min(images, done * per_batch + 1),
                images=images,
                preview=state.get("current_image") or None,
            )
        )

    return tell
