"""The stand-in's own endpoints, which the real program does not have: faults, reset, the record of requests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from standin.faults import switches as faults

if TYPE_CHECKING:
    from starlette.requests import Request

    from standin.webui import WebUI


def routes(webui: WebUI) -> list[Route]:
    """`/standin`, `/standin/faults`, `/standin/reset`, `/standin/requests`, `/standin/spans`, `/standin/served`."""

    async def about(_: Request) -> Response:
        return JSONResponse(
            {"name": "stand-in", "pid": os.getpid(), "catalog": faults.CATALOG, "on": webui.faults.listed()}
        )

    async def add(request: Request) -> Response:
        data = await request.json()
        try:
            for item in data if isinstance(data, list) else [data]:
                webui.faults.add(faults.from_json(item))
        except (ValueError, TypeError) as error:
            return JSONResponse({"detail": str(error)}, status_code=422)
        return JSONResponse({"on": webui.faults.listed()})

    async def reset(_: Request) -> Response:
        webui.faults.reset()
        webui.record.clear()
        webui.state.spans.clear()
        webui.memory.ballast.clear()
        return JSONResponse({"on": []})

    async def requests(_: Request) -> Response:
        return JSONResponse(webui.record.listed())

    async def spans(_: Request) -> Response:
        return JSONResponse(list(webui.state.spans))

    async def served(_: Request) -> Response:
        return JSONResponse(list(webui.record.served))

    return [
        Route("/standin", about, methods=["GET"]),
        Route("/standin/faults", add, methods=["POST"]),
        Route("/standin/reset", reset, methods=["POST"]),
        Route("/standin/requests", requests, methods=["GET"]),
        Route("/standin/spans", spans, methods=["GET"]),
        Route("/standin/served", served, methods=["GET"]),
    ]
