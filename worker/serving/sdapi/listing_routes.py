"""The listings of A1111's API, read from the WebUI as they are, and what Gradio answers beside them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import Response

from worker.common.strict_json import encode
from worker.contract.compat.webui_api import EXTENSION_LISTINGS, LISTINGS
from worker.serving.gateway import JobError
from worker.serving.http_api.api_errors import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.serving.gateway import JobGateway

MODELS = "sd-models"
_OWN_ROUTE = frozenset({"options"})
_PARAMETERS = {"controlnet/model_list": ("update",), "controlnet/module_list": ("alias_names",)}
"""Listing → the parameters that it has."""


def listing_router(gateway: JobGateway) -> APIRouter:
    """Return the routes of the WebUI's listings."""
    router = APIRouter(tags=["A1111: listings"])
    for name in sorted(LISTINGS - _OWN_ROUTE):
        path = f"/sdapi/v1/{name}"
        router.add_api_route(path, _reading(gateway, path), methods=["GET"], summary=f"The WebUI's {name}.")
    for name in sorted(EXTENSION_LISTINGS):
        path, parameters = f"/{name}", _PARAMETERS.get(name, ())
        reading = _reading(gateway, path, parameters)
        router.add_api_route(path, reading, methods=["GET"], summary=f"The WebUI's {name}.")
    return router


def _reading(
    gateway: JobGateway, path: str, parameters: tuple[str, ...] = ()
) -> Callable[[Request], Awaitable[Response]]:
    async def read(request: Request) -> Response:
        given = {name: request.query_params[name] for name in parameters if name in request.query_params}
        try:
            listing = await gateway.listing(f"{path}?{urlencode(given)}" if given else path)
        except JobError as failure:
            if path.startswith("/sdapi/") or failure.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            raise RequestRefused(HTTPStatus.NOT_FOUND, "this extension is not installed") from None
        if path.endswith(MODELS):
            listing = with_hashes(listing)
        return json_response(listing)

    return read


def with_hashes(models: Any) -> Any:
    """Return the rows of ``/sd-models`` with texts for hashes that are not known: one client wants texts there."""
    if not isinstance(models, list):
        return models
    return [{**row, "hash": row.get("hash") or "", "sha256": row.get("sha256") or ""} for row in models]


def gradio_router(queue_size: Callable[[], int]) -> APIRouter:
    """Return the paths of Gradio that clients ask before the API, to see whether a WebUI is there; no key is needed."""
    router = APIRouter(include_in_schema=False)
    fixed: dict[tuple[str, str], Any] = {
        ("/config", "GET"): {"version": "3.41.2", "mode": "blocks", "components": [], "dependencies": []},
        ("/internal/ping", "GET"): {},
        ("/login", "POST"): {"success": True},
        ("/login_check", "GET"): None,
        ("/startup-events", "GET"): True,
        ("/user", "GET"): None,
    }
    for (path, method), told in fixed.items():
        router.add_api_route(path, _telling(told), methods=[method])

    @router.get("/queue/status")
    async def queue_status() -> Response:
        return json_response(
            {
                "msg": "estimation",
                "rank": None,
                "queue_size": queue_size(),
                "avg_event_process_time": None,
                "avg_event_concurrent_process_time": None,
                "rank_eta": None,
                "queue_eta": 0,
            }
        )

    @router.api_route("/", methods=["GET", "HEAD"])
    async def root() -> Response:
        return json_response({"docs": "/docs", "api": "/sdapi/v1"})

    return router


def _telling(told: Any) -> Callable[[], Awaitable[Response]]:
    async def tell() -> Response:
        return json_response(told)

    return tell


def json_response(told: Any, headers: dict[str, str] | None = None) -> Response:
    """Return `told` as JSON."""
    return Response(encode(told), media_type="application/json", headers=headers)
