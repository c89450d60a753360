"""Probes of load balancers, orchestrators and Prometheus.

``/ping`` (and the path that HEALTH_CHECK_PATH names): 200 when jobs can be taken, 204 while the WebUI starts (which
RunPod's load balancing expects), 503 when it is over. ``/ready``: 200 or 503, for those to whom any 2xx means ready
(Kubernetes). ``/health``: the state as JSON, 503 when it is over. ``/metrics``: the figures, where they are kept.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from worker.serving.http_api.listener import PING_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    Health = Callable[[], Mapping[str, Any]]
    FiguresText = Callable[[], bytes]

READY = ("ready", "busy")
COMING = ("starting", "recovering")


def ping_status(state: str) -> int:
    """Return the HTTP status that tells a load balancer of this state."""
    if state in READY:
        return HTTPStatus.OK
    return HTTPStatus.NO_CONTENT if state in COMING else HTTPStatus.SERVICE_UNAVAILABLE


def probe_routes(health: Health, *, figures: FiguresText | None = None, check_path: str = PING_PATH) -> list[Route]:
    """Return the routes of the probes; no key is asked for.

    Args:
        health: Returns the worker's state (``state``) and more.
        figures: Returns the figures as text; None: there is no ``/metrics``.
        check_path: A path that is answered as ``/ping`` is.
    """

    async def ping(_: Request) -> Response:
        told = health()
        return _json(told, ping_status(str(told.get("state"))))

    async def ready(_: Request) -> Response:
        told = health()
        return _json(told, HTTPStatus.OK if told.get("state") in READY else HTTPStatus.SERVICE_UNAVAILABLE)

    async def state(_: Request) -> Response:
        told = health()
        is_over = ping_status(str(told.get("state"))) == HTTPStatus.SERVICE_UNAVAILABLE
        return _json(told, HTTPStatus.SERVICE_UNAVAILABLE if is_over else HTTPStatus.OK)

    async def metrics(_: Request) -> Response:
        text = await asyncio.to_thread(figures) if figures is not None else b""  # it looks at the volume
        return Response(text, media_type="text/plain; version=0.0.4")

    paths = {"/ready": ready, "/health": state, PING_PATH: ping, check_path: ping}
    if figures is not None:
        paths.setdefault("/metrics", metrics)
    return [Route(path, endpoint, methods=["GET"]) for path, endpoint in paths.items()]


def probe_app(health: Health, *, figures: FiguresText | None = None, check_path: str = PING_PATH) -> Starlette:
    """Return an application of the probes alone; see `probe_routes`."""
    routes = probe_routes(health, figures=figures, check_path=check_path)

    async def unknown(_: Request, error: Exception) -> Response:
        there = ", ".join(route.path for route in routes)
        code = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
        return _json({"error": f"there is {there}"}, code)

    return Starlette(routes=routes, exception_handlers={HTTPException: unknown})


def _json(told: Mapping[str, Any], status: int) -> Response:
    if status == HTTPStatus.NO_CONTENT:
        return Response(status_code=status)
    return Response(json.dumps(dict(told)) + "\n", status, media_type="application/json")
