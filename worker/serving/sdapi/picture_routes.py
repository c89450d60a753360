"""Routes of A1111's API that make pictures or read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response  # noqa: TC002 - FastAPI reads the annotation at run time

from worker.contract.base.json_guard import shown
from worker.contract.compat.webui_types import read_switch, read_types
from worker.errors import Cancelled
from worker.serving.gateway import JobError, result_or_cancel
from worker.serving.sdapi import client_options, shapes
from worker.serving.sdapi.clients import ClientJob
from worker.serving.sdapi.listing_routes import json_response
from worker.serving.sdapi.sdapi_errors import WebUIJobError, unprocessable
from worker.serving.sdapi.sdapi_progress import idle_progress, job_progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.serving.sdapi.sessions import WebUIApi

ROOT = "/sdapi/v1"
MOST_IMAGES = 50
"""Of one ``/extra-batch-images``."""
_JSON_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
}


def generation_router(api: WebUIApi) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["A1111: pictures"])

    @router.post(f"{ROOT}/txt2img", openapi_extra=_JSON_BODY, summary="Draw pictures from a prompt.")
    async def txt2img(request: Request) -> Response:
        return await _draw(api, "txt2img", request)

    @router.post(f"{ROOT}/img2img", openapi_extra=_JSON_BODY, summary="Draw pictures from pictures and a prompt.")
    async def img2img(request: Request) -> Response:
        return await _draw(api, "img2img", request)

    @router.post(f"{ROOT}/extra-single-image", openapi_extra=_JSON_BODY, summary="Upscale a picture.")
    async def extra_single_image(request: Request) -> Response:
        answer = await api.run(request, _upscale(await api.read_body(request)))
        told = {"html_info": answer.get("html_info", ""), "image": answer.get("image", "")}
        return json_response(told, shapes.warnings_header(list(answer.get("warnings", ()))))

    @router.post(f"{ROOT}/extra-batch-images", openapi_extra=_JSON_BODY, summary="Upscale several pictures.")
    async def extra_batch_images(request: Request) -> Response:
        return await _upscale_all(api, request)

    @router.post(f"{ROOT}/png-info", openapi_extra=_JSON_BODY, summary="Read how a picture was made.")
    async def png_info(request: Request) -> Response:
        answer = await api.run(request, shapes.job_input("png-info", await api.read_body(request)))
        told = {"info": answer.get("info") or "", "items": answer.get("items") or {}}
        told["parameters"] = answer.get("parameters") or {}
        return json_response(told, shapes.warnings_header(list(answer.get("warnings", ()))))

    @router.post(f"{ROOT}/interrogate", openapi_extra=_JSON_BODY, summary="Describe a picture.")
    async def interrogate(request: Request) -> Response:
        answer = await api.run(request, shapes.job_input("interrogate", await api.read_body(request)))
        return json_response({"caption": answer.get("caption", "")})

    @router.post("/controlnet/detect", openapi_extra=_JSON_BODY, summary="Run a preprocessor of ControlNet.")
    async def detect(request: Request) -> Response:
        answer = await api.run(request, shapes.job_input("controlnet/detect", await api.read_body(request)))
        warnings = answer.pop("warnings", ())
        return json_response(answer, shapes.warnings_header(list(warnings)))

    return router


def own_job_router(api: WebUIApi) -> APIRouter:
    """Return the routes about the job that a client has running."""
    router = APIRouter(tags=["A1111: the client's own job"])

    @router.get(f"{ROOT}/progress", summary="Progress of the client's own job.")
    async def progress(request: Request, *, skip_current_image: str = "false") -> Response:
        is_skipped = read_switch(skip_current_image)
        if not isinstance(is_skipped, bool):
            raise unprocessable(f"skip_current_image: must be true or false, not {shown(skip_current_image)}")
        client = api.clients.of(request)
        client.wants_previews = client.wants_previews or not is_skipped
        job = client.current_job
        return json_response(idle_progress() if job is None else job_progress(job, with_image=not is_skipped))

    @router.post(f"{ROOT}/interrupt", summary="Stop the client's own job.")
    async def interrupt(request: Request) -> Response:
        if (job := api.clients.of(request).current_job) is not None:
            await job.interrupt()
        return json_response({})

    @router.post(f"{ROOT}/skip", summary="Go on to the next batch of the client's own job.")
    async def skip(request: Request) -> Response:
        if (job := api.clients.of(request).current_job) is not None:
            await job.skip()
        return json_response(None)

    return router


async def _draw(api: WebUIApi, endpoint: str, request: Request) -> Response:
    body = read_types(await api.read_body(request))
    payload = body.fields
    client = api.clients.of(request)
    sent = shapes.with_inline_pictures(client_options.with_remembered(payload, client.options))
    if client.wants_previews:
        sent.setdefault("live_previews", True)
    try:
        job = await api.gateway.submit(shapes.job_input(endpoint, sent))
        watched = ClientJob(job, batches=_count(payload, "n_iter"), batch_size=_count(payload, "batch_size"))
        with client.working_on(watched):
            answer = await _result(watched, request)
    except JobError as failure:
        raise WebUIJobError(failure) from None
    client.options.update(client_options.kept_afterwards(payload))
    headers = shapes.warnings_header([*body.warnings, *answer.get("warnings", ())])
    return json_response(shapes.picture_answer(answer, payload), headers)


async def _result(watched: ClientJob, request: Request) -> Mapping[str, Any]:
    """Return the answer of a job; one that its client has ended before any picture was made has none."""
    try:
        answer: Mapping[str, Any] = await result_or_cancel(watched.job, request)
    except JobError as failure:
        if failure.code != Cancelled.code or not watched.is_interrupted:
            raise
        return {"warnings": ["ended early by the client: no picture was made by then"]}
    return answer


def _upscale(body: Mapping[str, Any]) -> dict[str, Any]:
    return shapes.job_input("extra-single-image", shapes.with_inline_pictures(body))


async def _upscale_all(api: WebUIApi, request: Request) -> Response:
    body = await api.read_body(request)
    warnings: list[str] = []
    pictures = body.pop("imageList", None)
    if not isinstance(pictures, list) or not all(isinstance(entry, dict) for entry in pictures):
        raise unprocessable("imageList: must be a list of objects with data and name")
    if not 1 <= len(pictures) <= MOST_IMAGES:
        raise unprocessable(f"imageList: must have 1 to {MOST_IMAGES} pictures, not {len(pictures)}")
    images: list[str] = []
    told: list[str] = []
    for number, entry in enumerate(pictures):
        job_input = _upscale({**body, "image": entry.get("data") or ""})
        answer = await api.run(request, job_input, field=f"imageList[{number}]")
        images.append(answer.get("image", ""))
        told.append(str(answer.get("html_info", "")))
        warnings += answer.get("warnings", ())
    return json_response({"html_info": "".join(told), "images": images}, shapes.warnings_header(warnings))


def _count(payload: Mapping[str, Any], name: str) -> int:
    value = payload.get(name)
    text = str(value).strip()
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 5 else 1  # noqa: PLR2004 - digits
