"""A server for the gallery alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from worker.gallery.app import Gallery

PATH = "/gallery"


def application(gallery: Gallery) -> Starlette:
    """Return an application that has the gallery at `PATH`, where `serve` has it too."""

    async def to_gallery(_request: Request) -> Response:
        return RedirectResponse(f"{PATH}/")

    return Starlette(routes=[Route("/", to_gallery), Route(PATH, to_gallery), Mount(PATH, gallery.app())])


def server(gallery: Gallery, host: str, port: int) -> uvicorn.Server:
    """Return a server that is not started yet."""
    return uvicorn.Server(
        uvicorn.Config(
            application(gallery),
            host=host,
            port=port,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=2,
        )
    )
