"""The application: APIs put together. A further API is a router of its own, listed here by the caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import FastAPI

from worker.serving.http_api.api_document import describe
from worker.serving.http_api.api_errors import ErrorForm, install_error_handlers
from worker.serving.http_api.trace_header import TraceHeader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import APIRouter
    from starlette.routing import BaseRoute

    from worker.serving.http_api.api_errors import ErrorBody


@dataclass(frozen=True, slots=True)
class Api:
    """One API of the server.

    Attributes:
        router: Its routes, with the dependency that checks the key.
        prefix: The beginning of its paths.
        error_body: Words a refused request as the API's clients expect; None: ``{"error": "…"}``.
        error_prefixes: Beginnings of the paths whose errors it words, unknown paths included; default: `prefix`.
    """

    router: APIRouter
    prefix: str = ""
    error_body: ErrorBody | None = None
    error_prefixes: tuple[str, ...] = ()


def create_app(apis: Sequence[Api], *, probes: Sequence[BaseRoute] = ()) -> FastAPI:
    """Return the ASGI application of these APIs and probes; ``/docs`` shows it to people."""
    app = FastAPI(
        title="A1111 worker",
        description="AUTOMATIC1111's Stable Diffusion WebUI behind HTTP.",
        redoc_url=None,
    )
    app.add_middleware(TraceHeader)
    app.router.routes.extend(probes)
    for api in apis:
        app.include_router(api.router, prefix=api.prefix)
    forms = [
        ErrorForm(prefix, api.error_body)
        for api in apis
        if api.error_body is not None
        for prefix in api.error_prefixes or (api.prefix,)
    ]
    install_error_handlers(app, forms)
    describe(app)
    return app
