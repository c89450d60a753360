"""The HTTP side: routes, the shape of errors, authentication, the record of requests, and faults on the wire."""

from __future__ import annotations

import base64
import binascii
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from standin.api import actions as tools
from standin.api import control, generate, listings
from standin.api.fields import read_json
from standin.api.record import Served
from standin.errors import InvalidRequest, WebUIError
from standin.faults.wire import FaultyWire

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from standin.webui import WebUI

    Handler = Callable[[WebUI, Any], Any]
    Query = Callable[[WebUI, dict[str, str]], Any]

GZIP_FROM_BYTES = 1000

GETS: dict[str, Query] = {
    "progress": tools.progress,
    **listings.GETS,
}
POSTS: dict[str, Handler] = {
    "txt2img": generate.txt2img,
    "img2img": generate.img2img,
    "options": tools.set_options,
    "png-info": tools.png_info,
    "extra-single-image": tools.extra_single,
    "extra-batch-images": tools.extra_batch,
    "interrogate": tools.interrogate,
}
COMMANDS: dict[str, Callable[[WebUI], Any]] = tools.COMMANDS
"""POSTs without a body."""
STOPS: dict[str, Callable[[WebUI], Any]] = tools.STOPS


def build(webui: WebUI) -> Starlette:
    """The application for this state."""
    routes = [_get(webui, f"/sdapi/v1/{name}", handler) for name, handler in GETS.items()]
    routes += [_post(webui, f"/sdapi/v1/{name}", handler) for name, handler in POSTS.items()]
    routes += [_command(webui, f"/sdapi/v1/{name}", command) for name, command in COMMANDS.items()]
    if webui.flags.api_server_stop:
        routes += [_command(webui, f"/sdapi/v1/{name}", command) for name, command in STOPS.items()]
    for path, query in webui.extensions.gets().items():
        routes.append(_get(webui, path, query))
    for path, handler in webui.extensions.posts().items():
        routes.append(_post(webui, path, handler))
    routes += control.routes(webui)
    routes.append(_get(webui, "/openapi.json", lambda ui, query: listings.openapi(ui, query, paths=_paths(routes))))
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(Served, served=webui.record.served),
            Middleware(FaultyWire, webui=webui),
            Middleware(GZipMiddleware, minimum_size=GZIP_FROM_BYTES),
        ],
        exception_handlers={HTTPException: _not_found},
    )


def _get(webui: WebUI, path: str, handler: Query) -> Route:
    async def endpoint(request: Request) -> Response:
        webui.record.add("GET", request.url.path, dict(request.headers), None)
        return await _answer(webui, request, lambda: handler(webui, dict(request.query_params)))

    return Route(path, endpoint, methods=["GET"])


def _post(webui: WebUI, path: str, handler: Handler) -> Route:
    async def endpoint(request: Request) -> Response:
        raw = await request.body()

        def work() -> Any:
            body = read_json(raw)
            webui.record.add("POST", request.url.path, dict(request.headers), body)
            return handler(webui, body)

        return await _answer(webui, request, work)

    return Route(path, endpoint, methods=["POST"])


def _command(webui: WebUI, path: str, command: Callable[[WebUI], Any]) -> Route:
    async def endpoint(request: Request) -> Response:
        webui.record.add("POST", request.url.path, dict(request.headers), None)
        return await _answer(webui, request, lambda: command(webui))

    return Route(path, endpoint, methods=["POST"])


async def _answer(webui: WebUI, request: Request, work: Callable[[], Any]) -> Response:
    """The answer, with the seconds it took in `X-Process-Time` as the real one says them."""
    began = time.time()
    response = await _made(webui, request, work)
    response.headers["X-Process-Time"] = str(round(time.time() - began, 4))
    return response


async def _made(webui: WebUI, request: Request, work: Callable[[], Any]) -> Response:
    """Runs the handler on a thread and turns what it raises into the WebUI's error shapes."""
    refusal = _unauthorized(webui, request)
    if refusal is not None:
        return refusal
    try:
        result = await run_in_threadpool(work)
    except InvalidRequest as invalid:
        return JSONResponse({"detail": invalid.problems}, status_code=422)
    except WebUIError as error:
        if error.logged:
            _report(request, error)
        return JSONResponse(error.body(), status_code=error.status)
    except Exception as error:  # noqa: BLE001 # the real program answers every exception in this shape
        _report(request, error)
        body = {"error": type(error).__name__, "detail": "", "body": "", "errors": str(error)}
        return JSONResponse(body, status_code=500)
    return result if isinstance(result, Response) else JSONResponse(result)


def _report(request: Request, error: Exception) -> None:
    body = error.body() if isinstance(error, WebUIError) else {"error": type(error).__name__, "errors": str(error)}
    print(f"*** API error: {request.method}: {request.url} {body}", file=sys.stderr)
    for line in "".join(traceback.format_exception(error)).splitlines():
        print(f"    {line}", file=sys.stderr)
    print("\n---", file=sys.stderr, flush=True)


def _unauthorized(webui: WebUI, request: Request) -> Response | None:
    allowed = webui.flags.api_auth
    if not allowed:
        return None
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    try:
        given = base64.b64decode(value).decode() if scheme.lower() == "basic" else ""
    except (ValueError, binascii.Error):
        given = ""
    if given in allowed.split(","):
        return None
    detail = "Incorrect username or password" if given else "Not authenticated"
    return JSONResponse({"detail": detail}, status_code=401, headers={"WWW-Authenticate": "Basic"})


async def _not_found(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 # registered for this type only
    if error.status_code < 400:  # noqa: PLR2004 # not an error
        return PlainTextResponse("", status_code=error.status_code)
    return JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=error.headers)


def _paths(routes: list[Route]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for route in routes:
        found.setdefault(route.path, []).extend(
            sorted(method.lower() for method in route.methods or () if method != "HEAD")
        )
    return found
