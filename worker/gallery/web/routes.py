"""The gallery as an ASGI application, to be mounted below a path: its page, pictures and API."""

from __future__ import annotations

import asyncio
from importlib import resources
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.routing import Route

from worker.gallery.decisions import Change
from worker.gallery.job_requests import NoSuchJob
from worker.gallery.picture_reading import UnreadablePicture
from worker.gallery.store.picture_store import PictureGone, StoreUnavailable
from worker.gallery.web.access import SECURITY_HEADERS, Access, RequestDenied
from worker.gallery.web.exports import EXPORTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from worker.gallery.live_gallery import Gallery
    from worker.gallery.production import Production

    Handler = Callable[[Request], Awaitable[Response]]

THUMBNAILS_AT_ONCE = 2
MOST_BODY_BYTES = 4 * 1024 * 1024
MOST_AGAIN = 100

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
_FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}
_NEVER = {"Cache-Control": "no-store"}
_INERT = {"Content-Security-Policy": "default-src 'none'; sandbox"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _DecisionRequest(_Strict):
    id: str = Field(max_length=64)
    set: Change


class _DecisionsRequest(_Strict):
    decisions: list[_DecisionRequest] = Field(max_length=20_000)


class _FinishRequest(_Strict):
    pictures: list[str] = Field(max_length=20_000)


class _AgainRequest(_Strict):
    picture: str = Field(max_length=64)
    count: int = Field(1, ge=1, le=MOST_AGAIN)


def gallery_app(gallery: Gallery, access: Access) -> Starlette:
    """Return the ASGI application of a gallery; mount it below a path."""
    return _Routes(gallery, access).app()


class _Routes:
    """The handler of each path."""

    def __init__(self, gallery: Gallery, access: Access) -> None:
        self._gallery = gallery
        self._access = access
        self._files = static_files()
        self._decoding = asyncio.Semaphore(THUMBNAILS_AT_ONCE)

    def app(self) -> Starlette:
        routes: list[tuple[str, str, Handler]] = [
            ("GET", "/api/pictures", self._read(self._pictures)),
            ("GET", "/api/pictures/{id}", self._read(self._details)),
            ("GET", "/thumbnails/{id}", self._read(self._thumbnail)),
            ("GET", "/pictures/{id}", self._read(self._picture)),
            ("GET", "/api/export/{what}", self._read(self._export)),
            ("POST", "/api/decisions", self._write(self._decide)),
            ("POST", "/api/duplicates", self._write(self._find_duplicates)),
            ("POST", "/api/finish", self._write(self._finish)),
            ("POST", "/api/again", self._write(self._again)),
            ("POST", "/api/cancel", self._write(self._cancel)),
            ("POST", "/api/trash", self._write(self._trash)),
            ("POST", "/api/restore", self._write(self._restore)),
            ("GET", "/api/session", self._guarded(self._session)),
            ("POST", "/api/session", self._guarded(self._session)),
            ("GET", "/", self._guarded(self._page)),
            ("GET", "/static/{name}", self._guarded(self._static)),
        ]
        app = Starlette(
            routes=[Route(path, handler, methods=[method]) for method, path, handler in routes],
            exception_handlers={HTTPException: _no_such_path},
        )
        app.add_middleware(GZipMiddleware, minimum_size=2000, compresslevel=1)
        return app

    # -- guards -------------------------------------------------------------------------------------------------------

    def _guarded(self, handler: Handler) -> Handler:
        async def answer(request: Request) -> Response:
            try:
                self._access.check_host(request)
                response = await handler(request)
            except RequestDenied as refused:
                response = _json({"error": refused.message}, refused.status)
            except PictureGone:
                response = _json({"error": "there is no such picture (any more)"}, 404)
            except UnreadablePicture as error:
                response = _json({"error": str(error)}, 422)
            except NoSuchJob as error:
                response = _json({"error": str(error)}, 422)
            except StoreUnavailable as error:
                response = _json({"error": str(error)}, 503)
            for name, value in SECURITY_HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return answer

    def _read(self, handler: Handler) -> Handler:
        async def checked(request: Request) -> Response:
            self._access.check_read(request)
            return await handler(request)

        return self._guarded(checked)

    def _write(self, handler: Handler) -> Handler:
        async def checked(request: Request) -> Response:
            self._access.check_write(request)
            return await handler(request)

        return self._guarded(checked)

    # -- page ---------------------------------------------------------------------------------------------------------

    async def _page(self, _request: Request) -> Response:
        return Response(self._files["index.html"], media_type=_TYPES[".html"], headers={"Cache-Control": "no-cache"})

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files:
            raise RequestDenied(404, "there is no such file")
        return Response(
            self._files[name], media_type=_TYPES[name[name.rindex(".") :]], headers={"Cache-Control": "no-cache"}
        )

    async def _session(self, request: Request) -> Response:
        self._access.check_read(request)
        told = {
            "token": self._access.token,
            "title": self._gallery.store.title,
            "may_delete": self._gallery.may_delete,
            "may_run": self._gallery.production is not None,
        }
        response = _json(told)
        if self._access.has_key(request):
            self._access.give_cookie(request, response)
        return response

    # -- pictures -----------------------------------------------------------------------------------------------------

    async def _pictures(self, request: Request) -> Response:
        since = request.query_params.get("since", "0")
        if not (since.isascii() and since.isdigit() and len(since) < 16):  # noqa: PLR2004 - digits of a version
            raise RequestDenied(400, "since: must be a version, a whole number")
        return _json(await run_in_threadpool(self._gallery.news, int(since)))

    async def _details(self, request: Request) -> Response:
        facts = await run_in_threadpool(self._gallery.catalog.facts, request.path_params["id"])
        return _json({"prompt": facts.prompt, "negative_prompt": facts.negative_prompt, "parameters": facts.parameters})

    async def _thumbnail(self, request: Request) -> Response:
        file = self._gallery.catalog.entry(request.path_params["id"]).file
        data = await run_in_threadpool(self._gallery.thumbnails.cached, file)
        if data is None:
            async with self._decoding:
                if await request.is_disconnected():
                    return Response(status_code=499)
                data = await run_in_threadpool(self._gallery.thumbnails.get, file)
        return Response(data, media_type="image/webp", headers={**_FOREVER, **_INERT})

    async def _picture(self, request: Request) -> Response:
        file = self._gallery.catalog.entry(request.path_params["id"]).file
        data = await run_in_threadpool(self._gallery.store.read, file.name)
        return Response(data, media_type=file.media_type, headers={**_FOREVER, **_INERT})

    async def _export(self, request: Request) -> Response:
        what = request.path_params["what"]
        if what not in EXPORTS:
            raise RequestDenied(404, f"there is no such export; there are {', '.join(EXPORTS)}")
        name, media_type, write = EXPORTS[what]
        flag = request.query_params.get("flag", "")
        entries = [entry for entry in self._gallery.catalog.entries() if flag in ("", entry.decision.flag)]
        data = await run_in_threadpool(write, entries)
        return Response(
            data, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"', **_NEVER}
        )

    # -- changes ------------------------------------------------------------------------------------------------------

    async def _decide(self, request: Request) -> Response:
        order = await _body(request, _DecisionsRequest)
        changes = [(one.id, one.set) for one in order.decisions]
        return _json({"missing": await run_in_threadpool(self._gallery.catalog.decide, changes)})

    async def _find_duplicates(self, _request: Request) -> Response:
        self._gallery.find_duplicates()
        return _json({})

    async def _finish(self, request: Request) -> Response:
        order, production = await _body(request, _FinishRequest), self._needed_production()
        tasks = await run_in_threadpool(production.finish, order.pictures)
        return _json({"tasks": [task.to_json() for task in tasks]})

    async def _again(self, request: Request) -> Response:
        order, production = await _body(request, _AgainRequest), self._needed_production()
        tasks = await run_in_threadpool(production.again, order.picture, order.count)
        return _json({"tasks": [task.to_json() for task in tasks]})

    async def _cancel(self, _request: Request) -> Response:
        await run_in_threadpool(self._needed_production().cancel)
        return _json({})

    async def _trash(self, _request: Request) -> Response:
        if not self._gallery.may_delete:
            raise RequestDenied(403, "nothing is deleted; start the gallery with --delete")
        names = [entry.file.name for entry in self._gallery.catalog.entries() if entry.decision.flag == "reject"]
        moved = await run_in_threadpool(self._gallery.store.move_to_trash, names)
        await run_in_threadpool(self._gallery.catalog.scan)
        return _json({"moved": len(moved)})

    async def _restore(self, _request: Request) -> Response:
        if not self._gallery.may_delete:
            raise RequestDenied(403, "nothing was deleted; start the gallery with --delete")
        moved = await run_in_threadpool(self._gallery.store.restore_trash)
        await run_in_threadpool(self._gallery.catalog.scan)
        return _json({"moved": len(moved)})

    def _needed_production(self) -> Production:
        if self._gallery.production is None:
            raise RequestDenied(409, "no endpoint runs jobs; start the gallery with --endpoint")
        return self._gallery.production


async def _body(request: Request, model: type[Any]) -> Any:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BODY_BYTES:
            raise RequestDenied(413, f"a request may have {MOST_BODY_BYTES} bytes")
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors()[0]
        raise RequestDenied(
            400, f"{'.'.join(str(part) for part in first['loc']) or 'the body'}: {first['msg']}"
        ) from None


def static_files() -> dict[str, bytes]:
    """Return the page and what belongs to it, by file name."""
    folder = resources.files("worker.gallery.web") / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.endswith(tuple(_TYPES))}


def _json(told: Mapping[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(told), status, dict(_NEVER), "application/json")


async def _no_such_path(_request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return Response(
        orjson.dumps({"error": "there is no such path"}), status, dict(SECURITY_HEADERS), "application/json"
    )
