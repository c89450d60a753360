"""Routes of A1111's API that change what is there: options, refreshes and the model in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response  # noqa: TC002 - FastAPI reads the annotation at run time

from worker.contract.accept import accept
from worker.errors import InvalidInput
from worker.serving.gateway import JobError
from worker.serving.sdapi import client_options, shapes
from worker.serving.sdapi.listing_routes import json_response
from worker.serving.sdapi.sdapi_errors import WebUIJobError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.serving.sdapi.client_options import OptionChanges
    from worker.serving.sdapi.sessions import WebUIApi

_REFRESHES = ("refresh-checkpoints", "refresh-embeddings", "refresh-loras", "refresh-vae")
_MEMORY_COMMANDS = ("reload-checkpoint", "unload-checkpoint")


def options_router(api: WebUIApi) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/sdapi/v1", tags=["A1111: options"])

    @router.get("/options", summary="All options, with those that the client has set.")
    async def get_options(request: Request) -> Response:
        own, models = await _own_options(api), await _models(api)
        return json_response(client_options.visible_options(own, api.clients.of(request).options, models))

    @router.post("/options", summary="Remember options for the client's jobs.")
    async def set_options(request: Request) -> Response:
        posted = await api.read_body(request)
        client = api.clients.of(request)
        models = await _models(api)
        changes = client_options.option_changes(posted, await _own_options(api), client.options, models)
        if changes.remembered:
            _check(changes)
            if client_options.unlisted(changes, models, await api.gateway.listing("/sdapi/v1/sd-vae")):
                await _check_models(api, changes, request)
        client.options = changes.applied_to(client.options)
        return json_response(None, shapes.warnings_header(changes.warnings))

    for name in _REFRESHES:
        router.add_api_route(f"/{name}", _refreshing(api, name), methods=["POST"], summary="Look for new files.")
    for name in _MEMORY_COMMANDS:
        router.add_api_route(f"/{name}", _ignoring(name), methods=["POST"], summary="Accepted and ignored.")
    return router


async def _own_options(api: WebUIApi) -> Mapping[str, Any]:
    own: Mapping[str, Any] = await api.gateway.listing("/sdapi/v1/options")
    return own


async def _models(api: WebUIApi) -> list[Mapping[str, Any]]:
    models: list[Mapping[str, Any]] = await api.gateway.listing("/sdapi/v1/sd-models")
    return models


def _check(changes: OptionChanges) -> None:
    """Have the contract read the options as a job's; raise WebUIJobError for what it refuses."""
    try:
        accept(shapes.job_input("txt2img", {"override_settings": changes.remembered}))
    except InvalidInput as error:
        raise WebUIJobError(JobError(error.to_answer())) from None


async def _check_models(api: WebUIApi, changes: OptionChanges, request: Request) -> None:
    """Have the worker look for models that the WebUI does not list: a job may fetch them, or they are a mistake."""
    models = {
        name: value
        for name, value in changes.remembered.items()
        if name in (client_options.CHECKPOINT, client_options.VAE)
    }
    await api.run(request, {"type": "validate", "job": {"prompt": "", "override_settings": models}})


def _refreshing(api: WebUIApi, name: str) -> Any:
    async def refresh(request: Request) -> Response:
        await api.bodies.read(request)
        await api.run(request, shapes.job_input(name, {}))
        return json_response(None)

    return refresh


def _ignoring(name: str) -> Any:
    async def ignore() -> Response:
        why = f"{name} is ignored: the worker keeps its model in memory, as jobs need it"
        return json_response({}, shapes.warnings_header([why]))

    return ignore
