"""Routes of OpenAI's image API: ``/v1/images/…`` and ``/v1/models``, and Azure's paths for the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from worker.common.strict_json import encode
from worker.contract.base.json_guard import shown
from worker.contract.compat import openai
from worker.errors import ModelNotFound, Problem
from worker.serving.gateway import MODELS, JobError, cancelled_with_client, result_or_cancel
from worker.serving.http_api.application import Api
from worker.serving.openai.events import EventResponse, JobEvents
from worker.serving.openai.form import read_fields
from worker.serving.openai.openai_errors import OpenAIError, error_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.serving.gateway import JobGateway
    from worker.serving.http_api.auth import ApiKey
    from worker.serving.http_api.request_body import BodyReader

FIRST_EVENT_S = 10.0
"""Time that a stream's HTTP status is kept open for an early failure; after that failures are events."""
_EDITS: openai.Route = "images/edits"


def openai_apis(gateway: JobGateway, bodies: BodyReader, key: ApiKey) -> list[Api]:
    """Return the API below ``/v1``, below ``/openai/v1`` (RunPod's and Azure's root) and at Azure's older paths."""
    routes = _ImageRoutes(gateway, bodies)
    return [
        Api(routes.router(key), prefix="/v1", error_body=error_body),
        Api(routes.router(key), prefix="/openai/v1", error_body=error_body),
        Api(routes.azure_router(key), prefix="/openai/deployments", error_body=error_body),
    ]


class _ImageRoutes:
    def __init__(self, gateway: JobGateway, bodies: BodyReader) -> None:
        self._gateway = gateway
        self._bodies = bodies

    def router(self, key: ApiKey) -> APIRouter:
        """Return OpenAI's own paths."""
        router = APIRouter(dependencies=[Depends(key)], tags=["OpenAI's image API"])

        @router.post("/images/generations", summary="Pictures from a prompt.")
        async def generations(request: Request) -> Response:
            return await self._images("images/generations", request)

        @router.post("/images/edits", summary="A picture, or its part under a mask, made anew.")
        async def edits(request: Request) -> Response:
            return await self._images(_EDITS, request)

        @router.post("/images/variations", summary="Pictures from a picture alone.")
        async def variations(request: Request) -> Response:
            return await self._images("images/variations", request)

        @router.get("/models", summary="Checkpoints and presets.")
        async def models() -> Response:
            return _json(await self._models())

        @router.get("/models/{model:path}", summary="One checkpoint or preset.")
        async def model(model: str) -> Response:
            found = next((entry for entry in (await self._models())["data"] if entry["id"] == model), None)
            if found is None:
                problem = Problem("model", f"there is no model {shown(model)}; GET /v1/models lists all")
                missing = ModelNotFound(problem.message, details={"problems": [problem.to_json()]})
                raise OpenAIError(JobError(missing.to_answer()))
            return _json(found)

        return router

    def azure_router(self, key: ApiKey) -> APIRouter:
        """Return Azure's paths, which name the model."""
        router = APIRouter(dependencies=[Depends(key)], include_in_schema=False)

        @router.post("/{deployment}/images/generations")
        async def generations(deployment: str, request: Request) -> Response:
            return await self._images("images/generations", request, model=deployment)

        @router.post("/{deployment}/images/edits")
        async def edits(deployment: str, request: Request) -> Response:
            return await self._images(_EDITS, request, model=deployment)

        return router

    async def _models(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = await self._gateway.listing(MODELS)
        except JobError as failed:
            raise OpenAIError(failed) from None
        return found

    async def _images(self, route: openai.Route, request: Request, *, model: str | None = None) -> Response:
        fields = await read_fields(request, self._bodies)
        if model is not None:
            fields["model"] = model
        job = await self._gateway.submit({openai.ROUTE: f"/v1/{route}", openai.INPUT: fields})
        try:
            if openai.wants_stream(fields):
                prefix = "image_edit" if route == _EDITS else "image_generation"
                response = EventResponse(job, JobEvents(prefix, openai.previews_wanted(fields)))
                await cancelled_with_client(response.first(FIRST_EVENT_S), job, request)
                return response
            return _json(await result_or_cancel(job, request))
        except JobError as failed:
            raise OpenAIError(failed) from None


def _json(answer: Mapping[str, Any]) -> Response:
    return Response(encode(dict(answer)), media_type="application/json")
