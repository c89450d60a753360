"""Jobs that ask ControlNet for its maps of pictures."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from worker.common.suggestions import nearest
from worker.errors import InvalidInput, WebUIRejected, WrongResult
from worker.images.formats.picture import BrokenPicture
from worker.images.inspect import decode_base64, inspect
from worker.jobs.kinds.webui_call import call_with_gpu

if TYPE_CHECKING:
    from worker.contract.types.kinds import ControlMaps
    from worker.jobs.inputs import JobInputs
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices

DETECT = "/controlnet/detect"
_NOT_FOUND = 404
_UNSET = -1


async def control_maps(job: ControlMaps, context: JobContext, services: JobServices) -> dict[str, Any]:
    """Return a map of each picture of the job.

    Raises:
        WorkerError: ControlNet is not there, has no such preprocessor, or fails.
    """
    inputs = await services.inputs.load(job, context)
    body = request_body(job, inputs)
    try:
        return await call_with_gpu(DETECT, body, partial(read_maps, count=len(inputs.images)), context, services)
    except WebUIRejected as error:
        if error.details.get("status") == _NOT_FOUND:
            raise InvalidInput.at(job.path("type"), "ControlNet is not installed in this worker's WebUI") from None
        near = nearest(job.module, services.backend.catalog.control_modules)
        raise InvalidInput.at(
            job.path("module"), f"{job.module!r} is refused by ControlNet: {error.message}", near
        ) from None


def request_body(job: ControlMaps, inputs: JobInputs) -> dict[str, Any]:
    """Return the WebUI's request for `job`."""
    return {
        "controlnet_module": job.module,
        "controlnet_input_images": list(inputs.images),
        "controlnet_masks": list(inputs.masks),
        "controlnet_processor_res": job.processor_res or _UNSET,
        "controlnet_threshold_a": _UNSET if job.threshold_a is None else job.threshold_a,
        "controlnet_threshold_b": _UNSET if job.threshold_b is None else job.threshold_b,
    }


def read_maps(content: Any, *, count: int) -> dict[str, Any]:
    """Return the maps in the WebUI's answer, `count` of them, and what it says beside them.

    Raises:
        WrongResult: there are others, or a damaged one.
    """
    told = content if isinstance(content, dict) else {}
    beside = {name: told[name] for name in ("poses", "tensor") if name in told}
    images = told.get("images")
    if images is None and "tensor" in beside:
        images = []
    elif not isinstance(images, list) or len(images) != count:
        found = len(images) if isinstance(images, list) else 0
        raise WrongResult(f"ControlNet made {found} maps of {count} pictures")
    try:
        for text in images:
            inspect(decode_base64(str(text)))
    except BrokenPicture as broken:
        raise WrongResult(f"a map of ControlNet is damaged: {broken}") from broken
    return {"images": images, "info": str(told.get("info", "")), **beside}
