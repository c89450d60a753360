"""The worker behind plain HTTP: jobs, A1111's API, OpenAI's image API and the gallery on one port."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from worker.app import Worker
from worker.client import Endpoint
from worker.common.cancellation import unless_set
from worker.errors import BootFailed
from worker.gallery.live_gallery import Gallery
from worker.gallery.store.opening import open_store
from worker.gallery.store.picture_store import StoreUnavailable
from worker.gallery.thumbnails import cache_folder
from worker.gallery.web.access import Access
from worker.gallery.web.gallery_server import PATH
from worker.gallery.web.routes import gallery_app
from worker.serving.background import run_in_background
from worker.serving.http_api.application import Api, create_app
from worker.serving.http_api.auth import ApiKey
from worker.serving.http_api.job_api import JobApi, job_router
from worker.serving.http_api.probes import probe_routes
from worker.serving.http_api.request_body import BodyReader, parse_json
from worker.serving.http_api.server import HttpServer
from worker.serving.http_api.start_page import (
    DOCS,
    GALLERY,
    HEALTH,
    JOBS,
    OPENAI,
    WEBUI,
    curl,
    ready_lines,
    server_address,
    start_page,
)
from worker.serving.job_handler import JobHandler
from worker.serving.job_table import JobTable
from worker.serving.local_gateway import LocalGateway
from worker.serving.openai.router import openai_apis
from worker.serving.sdapi.browser_access import OriginGuard, PathNormalizer, with_browser_access
from worker.serving.sdapi.sessions import WebUIApi
from worker.serving.sdapi.webui_apis import webui_apis
from worker.serving.webhook_sender import WebhookSender
from worker.telemetry import logs

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from concurrent.futures import Future

    from pydantic import SecretStr

    from worker.serving.job_table import JobRecord
    from worker.settings import Settings


class HttpWorker:
    """A worker and its HTTP server, which answers probes from before the worker has started.

    Args:
        settings: See `http_settings`.
        environment: Of this process.
    """

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._worker = Worker(settings, environment)
        self._handler = JobHandler(self._worker, settings)
        self._table = JobTable(
            self._handler.handle,
            parse_json,
            at_once=settings.concurrency,
            max_waiting=settings.http_line,
            keep_s=settings.http_keep_s,
            on_over=self._job_ended,
            worker_id=settings.runpod_pod_id,
        )
        self._webhooks: WebhookSender | None = None
        self._gallery = _gallery(settings, environment)
        self._entry_points = [JOBS, WEBUI, OPENAI, *([GALLERY] if self._gallery is not None else []), DOCS, HEALTH]
        self._stopping = asyncio.Event()
        self._started = False

    async def run(self, listener: socket.socket, application: Any) -> int:
        """Serve until a signal or the WebUI's end; jobs that run by then are finished first.

        Raises:
            BootFailed: the worker does not start.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        server = HttpServer(application, listener)
        serving = asyncio.ensure_future(server.run())
        try:
            if self._gallery is not None:
                self._gallery.start()
            await asyncio.sleep(0)  # the first probes need not wait for the start
            if await self._has_started(run_in_background(self._start)):
                self._connect()
                self._tell_ready()
                await self._stopping.wait()
        finally:
            self._stopping.set()
            if self._started:
                self._worker.drain()
                await self._table.close(self._settings.stop_grace_s)
            server.stop()
            await serving
            if self._gallery is not None:
                await asyncio.to_thread(self._gallery.close)
            if self._webhooks is not None:
                await self._webhooks.close(self._settings.stop_grace_s)
            await asyncio.to_thread(self._worker.close)
        return 0 if self._handler.failure is None else 1

    def _start(self) -> None:
        self._worker.spawn()
        self._worker.wait_ready()

    async def _has_started(self, starting: Future[None]) -> bool:
        """Wait for the start; return False if the worker was stopped before."""

        async def started() -> bool:
            await asyncio.wrap_future(starting)
            return True

        return await unless_set(self._stopping, started()) or False

    def _connect(self) -> None:
        """Let jobs in."""

        async def report(job: Mapping[str, Any], body: dict[str, Any]) -> None:
            self._table.progress(str(job["id"]), body)

        async def stream(job: Mapping[str, Any], piece: dict[str, Any]) -> None:
            self._table.piece(str(job["id"]), piece)

        self._handler.post, self._handler.post_piece = report, stream
        secret = self._settings.webhook_secret
        self._webhooks = WebhookSender(
            self._settings.allowed_hosts, secret.get_secret_value() if secret is not None else None, now=time.time
        )
        self._worker.on_death(self._handler.fail)
        self._started = True

    def _tell_ready(self) -> None:
        """Say where this server is and what it offers, in the log's last line before its first job."""
        address = server_address(self._settings.http_host, self._settings.http_port)
        has_key = self._settings.http_api_key is not None
        if self._settings.logs_as_json(sys.stderr):
            example = curl(address, self._entry_points, has_key=has_key)
            paths = [point.path for point in self._entry_points]
            logs.get_logger("serve").info("ready", url=address, paths=paths, try_it=example)
        else:
            sys.stderr.write("\n".join([*ready_lines(address, self._entry_points, has_key=has_key), ""]))

    def _job_ended(self, job: JobRecord) -> None:
        self._handler.streamed.discard(job.id)
        if job.webhook is not None and self._webhooks is not None:
            self._webhooks.post(job.webhook, job.id, job.to_json())

    def build_application(self) -> Any:
        """Return the ASGI application of all paths, for `run`; nothing is started."""
        settings = self._settings
        key_text = _plain(settings.http_api_key)
        key = ApiKey(key_text, in_url=settings.http_key_in_url)
        bodies = BodyReader(settings.max_input_bytes, self._stopping)
        api = JobApi(self._table, takes_jobs=self._takes_jobs, stopping=self._stopping, bodies=bodies)
        gateway = LocalGateway(
            self._table, self._handler.handle, takes_jobs=self._takes_jobs, interrupt=self._worker.interrupt
        )
        apis = [
            Api(job_router(api, key)),
            *openai_apis(gateway, bodies, key),
            *webui_apis(WebUIApi(gateway, bodies), key, queue_size=lambda: self._table.counts()["inQueue"]),
        ]
        probes = probe_routes(self._health, check_path=settings.health_check_path)
        app = create_app(apis, probes=[start_page(self._entry_points, has_key=key_text is not None), *probes])
        if self._gallery is not None:
            app.mount(PATH, gallery_app(self._gallery, Access(key_text)))
        paths = PathNormalizer(app, key_text if settings.http_key_in_url else None)
        guarded = paths if key_text is not None else OriginGuard(paths, settings.cors_origins or ())
        return with_browser_access(guarded, settings.cors_origins, has_key=key_text is not None)

    def _takes_jobs(self) -> bool:
        return self._started and not self._stopping.is_set()

    def _health(self) -> dict[str, Any]:
        counts = self._table.counts()
        busy = int(counts["inProgress"] > 0)
        jobs = {"jobs": counts, "workers": {"idle": 1 - busy, "running": busy}}
        if not self._started:
            return {"state": "draining" if self._stopping.is_set() else "starting", **jobs}
        return {**self._worker.health(), **jobs}


def _gallery(settings: Settings, environment: Mapping[str, str]) -> Gallery | None:
    """Return the gallery that GALLERY names, whose jobs run on this very worker; None where there is none.

    Raises:
        BootFailed: its pictures can't be read.
    """
    if settings.gallery is None:
        return None

    url = server_address(settings.http_host, settings.http_port)
    try:
        store = open_store(settings.gallery, settings)
    except StoreUnavailable as error:
        raise BootFailed(f"GALLERY: {error}") from error
    return Gallery(store, cache_folder(environment), endpoint=Endpoint(url, api_key=_plain(settings.http_api_key)))


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
