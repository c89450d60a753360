"""The gallery as an ASGI application, to be mounted below a path: its page, pictures and API."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from worker.gallery.access import SECURITY_HEADERS, Access, Refused
from worker.gallery.catalog import Catalog
from worker.gallery.decisions import Change
from worker.gallery.exports import EXPORTS
from worker.gallery.pictures import PictureGone, PictureStore, StoreUnavailable
from worker.gallery.pixels import UnreadablePicture
from worker.gallery.production import Production
from worker.gallery.jobs import NoSuchJob
from worker.gallery.thumbnails import Thumbnails
from worker.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from starlette.requests import Request

    from worker.gallery.endpoint import JobEndpoint

    Handler = Callable[[Request], Awaitable[Response]]

THUMBNAILS_AT_ONCE = 2
RESCAN_S = 3.0
"""A page that asks for news makes the folder be looked at again, at most this often."""

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


@dataclass(frozen=True, slots=True)
class GalleryOptions:
    """How a gallery is served.

    Attributes:
        access: Who may see it.
        cache: The folder for thumbnails.
        may_delete: Whether rejected pictures may be moved into the trash.
        endpoint: Runs jobs; None: none are run.
    """

    access: Access
    cache: Path
    may_delete: bool = False
    endpoint: JobEndpoint | None = None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Decision(_Strict):
    id: str = Field(max_length=64)
    set: Change


class _Decisions(_Strict):
    decisions: list[_Decision] = Field(max_length=20_000)


class _Finish(_Strict):
    pictures: list[str] = Field(max_length=20_000)


class _Again(_Strict):
    picture: str = Field(max_length=64)
    count: int = Field(1, ge=1, le=MOST_AGAIN)


class Gallery:
    """A gallery: its catalog, its background work and its routes.

    Args:
        store: The pictures.
        options: See there.

    Raises:
        StoreUnavailable: the pictures can't be listed.
    """

    def __init__(self, store: PictureStore, options: GalleryOptions) -> None:
        self._store = store
        self._options = options
        self._thumbnails = Thumbnails(store, options.cache)
        self.catalog = Catalog(store, self._thumbnails)
        self.catalog.scan()
        self.production = None if options.endpoint is None else Production(options.endpoint, self.catalog, store)
        self._files = _static_files()
        self._stopping = threading.Event()
        self._is_due = threading.Event()
        self._scanned_at = time.monotonic()
        self._groups: dict[str, Any] = {"state": "none", "groups": []}
        self._problem = ""
        self._decoding = asyncio.Semaphore(THUMBNAILS_AT_ONCE)
        self._reader = threading.Thread(target=self._keep_up, name="gallery-reader", daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Stop the background work; jobs that run are cancelled."""
        self._stopping.set()
        self._is_due.set()
        if self.production is not None:
            self.production.close()
        self._reader.join()

    def app(self) -> Starlette:
        """Return the ASGI application."""
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
                self._options.access.check_host(request)
                response = await handler(request)
            except Refused as refused:
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
            self._options.access.check_read(request)
            return await handler(request)

        return self._guarded(checked)

    def _write(self, handler: Handler) -> Handler:
        async def checked(request: Request) -> Response:
            self._options.access.check_write(request)
            return await handler(request)

        return self._guarded(checked)

    # -- page ---------------------------------------------------------------------------------------------------------

    async def _page(self, request: Request) -> Response:
        if not request.url.path.endswith("/"):
            return RedirectResponse(f"{request.scope.get('root_path', '')}/")
        return Response(self._files["index.html"], media_type=_TYPES[".html"], headers={"Cache-Control": "no-cache"})

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files:
            raise Refused(404, "there is no such file")
        return Response(
            self._files[name], media_type=_TYPES[name[name.rindex(".") :]], headers={"Cache-Control": "no-cache"}
        )

    async def _session(self, request: Request) -> Response:
        access = self._options.access
        access.check_read(request)
        told = {
            "token": access.token,
            "title": self._store.title,
            "may_delete": self._options.may_delete,
            "may_run": self.production is not None,
        }
        response = _json(told)
        if access.has_key(request):
            access.give_cookie(request, response)
        return response

    # -- pictures -----------------------------------------------------------------------------------------------------

    async def _pictures(self, request: Request) -> Response:
        since = request.query_params.get("since", "0")
        if not (since.isascii() and since.isdigit() and len(since) < 16):  # noqa: PLR2004 - digits of a version
            raise Refused(400, "since: must be a version, a whole number")
        if time.monotonic() - self._scanned_at > RESCAN_S:
            self._is_due.set()
        told = await run_in_threadpool(self.catalog.changes, int(since))
        tasks = [] if self.production is None else self.production.tasks()
        return _json({**told, "tasks": tasks, "duplicates": self._groups, "problem": self._problem})

    async def _details(self, request: Request) -> Response:
        facts = await run_in_threadpool(self.catalog.facts, request.path_params["id"])
        return _json({"prompt": facts.prompt, "negative_prompt": facts.negative_prompt, "parameters": facts.parameters})

    async def _thumbnail(self, request: Request) -> Response:
        file = self.catalog.entry(request.path_params["id"]).file
        data = await run_in_threadpool(self._thumbnails.cached, file)
        if data is None:
            async with self._decoding:
                if await request.is_disconnected():
                    return Response(status_code=499)
                data = await run_in_threadpool(self._thumbnails.get, file)
        return Response(data, media_type="image/webp", headers={**_FOREVER, **_INERT})

    async def _picture(self, request: Request) -> Response:
        file = self.catalog.entry(request.path_params["id"]).file
        data = await run_in_threadpool(self._store.read, file.name)
        return Response(data, media_type=file.media_type, headers={**_FOREVER, **_INERT})

    async def _export(self, request: Request) -> Response:
        what = request.path_params["what"]
        if what not in EXPORTS:
            raise Refused(404, f"there is no such export; there are {', '.join(EXPORTS)}")
        name, media_type, write = EXPORTS[what]
        flag = request.query_params.get("flag", "")
        entries = [entry for entry in self.catalog.entries() if flag in ("", entry.decision.flag)]
        data = await run_in_threadpool(write, entries)
        return Response(
            data, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"', **_NEVER}
        )

    # -- changes ------------------------------------------------------------------------------------------------------

    async def _decide(self, request: Request) -> Response:
        order = await _body(request, _Decisions)
        changes = [(one.id, one.set) for one in order.decisions]
        return _json({"missing": await run_in_threadpool(self.catalog.decide, changes)})

    async def _find_duplicates(self, _request: Request) -> Response:
        if self._groups["state"] != "running":
            self._groups = {"state": "running", "groups": []}
            threading.Thread(target=self._compare_all, name="gallery-duplicates", daemon=True).start()
        return _json(self._groups)

    async def _finish(self, request: Request) -> Response:
        order, production = await _body(request, _Finish), self._needed_production()
        tasks = await run_in_threadpool(production.finish, order.pictures)
        return _json({"tasks": [task.to_json() for task in tasks]})

    async def _again(self, request: Request) -> Response:
        order, production = await _body(request, _Again), self._needed_production()
        tasks = await run_in_threadpool(production.again, order.picture, order.count)
        return _json({"tasks": [task.to_json() for task in tasks]})

    async def _cancel(self, _request: Request) -> Response:
        await run_in_threadpool(self._needed_production().cancel)
        return _json({})

    async def _trash(self, _request: Request) -> Response:
        if not self._options.may_delete:
            raise Refused(403, "nothing is deleted; start the gallery with --delete")
        names = [entry.file.name for entry in self.catalog.entries() if entry.decision.flag == "reject"]
        moved = await run_in_threadpool(self._store.move_to_trash, names)
        await run_in_threadpool(self.catalog.scan)
        return _json({"moved": len(moved)})

    async def _restore(self, _request: Request) -> Response:
        if not self._options.may_delete:
            raise Refused(403, "nothing was deleted; start the gallery with --delete")
        moved = await run_in_threadpool(self._store.restore_trash)
        await run_in_threadpool(self.catalog.scan)
        self._is_due.set()
        return _json({"moved": len(moved)})

    def _needed_production(self) -> Production:
        if self.production is None:
            raise Refused(409, "no endpoint runs jobs; start the gallery with --endpoint")
        return self.production

    # -- background ---------------------------------------------------------------------------------------------------

    def _keep_up(self) -> None:
        """Read facts, and look at the store again when a page asks for news."""
        self.catalog.read_missing_facts(self._stopping.is_set)
        self._thumbnails.prune()
        while not self._stopping.is_set():
            self._is_due.wait()
            self._is_due.clear()
            if self._stopping.is_set():
                return
            try:
                self.catalog.scan()
                self.catalog.read_missing_facts(self._stopping.is_set)
                self._problem = ""
            except StoreUnavailable as error:
                self._problem = str(error)
            self._scanned_at = time.monotonic()

    def _compare_all(self) -> None:
        try:
            groups = self.catalog.duplicates(self._stopping.is_set)
            self._groups = {"state": "done", "groups": groups}
        except Exception:  # noqa: BLE001 - the page has to hear of it, whatever it was
            logs.get_logger("gallery").exception("near-duplicates could not be found")
            self._groups = {"state": "failed", "groups": []}


async def _body(request: Request, model: type[Any]) -> Any:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BODY_BYTES:
            raise Refused(413, f"a request may have {MOST_BODY_BYTES} bytes")
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors()[0]
        raise Refused(400, f"{'.'.join(str(part) for part in first['loc']) or 'the body'}: {first['msg']}") from None


def _static_files() -> dict[str, bytes]:
    folder = resources.files("worker.gallery") / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.endswith(tuple(_TYPES))}


def _json(told: Mapping[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(told), status, dict(_NEVER), "application/json")


async def _no_such_path(_request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return Response(
        orjson.dumps({"error": "there is no such path"}), status, dict(SECURITY_HEADERS), "application/json"
    )
