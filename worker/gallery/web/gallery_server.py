"""A server for the gallery alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route

from worker.gallery.web.routes import gallery_app

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from worker.gallery.live_gallery import Gallery
    from worker.gallery.web.access import Access

PATH = "/gallery"


def application(gallery: Gallery, access: Access) -> Starlette:
    """Return an application that has the gallery at `PATH`, where `serve` has it too."""

    async def to_gallery(_request: Request) -> Response:
        return RedirectResponse(f"{PATH}/")

    return Starlette(
        routes=[Route("/", to_gallery), Route(PATH, to_gallery), Mount(PATH, gallery_app(gallery, access))]
    )


def server(gallery: Gallery, access: Access, host: str, port: int) -> uvicorn.Server:
    """Return a server that is not started yet."""
    return uvicorn.Server(
        uvicorn.Config(
            application(gallery, access),
            host=host,
            port=port,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=2,
        )
    )
