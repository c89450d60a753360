"""``worker serve``: the worker behind plain HTTP, also on RunPod's load-balancing endpoints."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.app import Worker
from worker.common.malloc import return_large_blocks
from worker.errors import BootFailed, WorkerError
from worker.ingress import LOOPBACK, http_settings, is_load_balanced
from worker.serving.http_api.listener import PING_PATH, FirstAnswers, listen
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
from worker.settings import Settings, read_settings
from worker.telemetry import logs, output

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from concurrent.futures import Future

    from pydantic import SecretStr

    from worker.gallery.live_gallery import Gallery
    from worker.serving.job_table import JobRecord
    from worker.serving.webhook_sender import WebhookSender

LATE_MODULES = ("worker.serving.webhook_sender",)
"""Imported while the WebUI boots."""


app = typer.Typer(add_completion=False)


@app.command()
def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on (HTTP_HOST, default 127.0.0.1).")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on (HTTP_PORT, default 8000).")
    ] = None,
) -> None:
    """Answer over HTTP: RunPod's paths for jobs, A1111's API, OpenAI's image API. The address itself lists them.

    Runs until SIGTERM or Ctrl-C. Exit code 1 when the worker can't start or its WebUI is gone for good.
    """
    raise typer.Exit(serve_http(host=host, port=port))


def serve_http(*, host: str | None = None, port: int | None = None) -> int:
    """Serve HTTP as the environment says; `host` and `port` count before it. Returns the exit code."""
    return_large_blocks()
    output.unblock_standard_streams()
    logs.configure(level="info", json=not sys.stderr.isatty())
    log = logs.get_logger("serve")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the server has a better answer
    try:
        settings = http_settings(read_settings(os.environ), os.environ, host=host, port=port)
        logs.configure_from(settings, os.environ)
        balanced = is_load_balanced(os.environ)
        if not balanced and settings.http_host not in LOOPBACK and settings.http_api_key is None:
            log.warning("anybody who reaches this port can run jobs; set HTTP_API_KEY", host=settings.http_host)
        listener = _listen(settings)
        with FirstAnswers(listener, frozenset({PING_PATH, settings.health_check_path})):
            log.info("listening; starting the WebUI", host=settings.http_host, port=settings.http_port)
            worker = HttpWorker(settings, os.environ)
            application = worker.application()
        return asyncio.run(worker.run(listener, application))
    except WorkerError as error:
        return logs.cannot_start(log, error)


def _listen(settings: Settings) -> socket.socket:
    try:
        return listen(settings.http_host, settings.http_port)
    except OSError as error:
        raise BootFailed(
            f"port {settings.http_port} of {settings.http_host} can't be listened on: {error.strerror}",
            hint="Set HTTP_PORT (on RunPod PORT), or --port, to a free one above 1023.",
        ) from None


class HttpWorker:
    """A worker and its HTTP server, which answers probes from before the worker has started.

    Args:
        settings: See `http_settings`.
        environment: Of this process.
    """

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        from worker.serving.http_api.request_body import parse_json  # noqa: PLC0415 - as above
        from worker.serving.job_handler import JobHandler  # noqa: PLC0415 - not before the port is open
        from worker.serving.job_table import JobTable  # noqa: PLC0415 - as above

        self._settings = settings
        self._worker = Worker(settings, environment)
        self._handler = JobHandler(self._worker, settings)
        self._table = JobTable(
            self._handler.handle,
            parse_json,
            at_once=settings.concurrency,
            max_waiting=settings.http_line,
            keep_s=settings.http_keep_s,
            on_over=self._over,
            worker_id=settings.runpod_pod_id,
        )
        self._webhooks: WebhookSender | None = None
        self._gallery = _gallery(settings, environment)
        self._ways = [JOBS, WEBUI, OPENAI, *([GALLERY] if self._gallery is not None else []), DOCS, HEALTH]
        self._stopping = asyncio.Event()
        self._started = False

    async def run(self, listener: socket.socket, application: Any) -> int:
        """Serve until a signal or the WebUI's end; jobs that run by then are finished first.

        Raises:
            BootFailed: the worker does not start.
        """
        from worker.serving.background import run_in_background  # noqa: PLC0415 - not before the port is open
        from worker.serving.http_api.server import HttpServer  # noqa: PLC0415 - as above

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        server = HttpServer(application, listener)
        serving = asyncio.ensure_future(server.run())
        try:
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
        self._worker.wait_ready(meanwhile=LATE_MODULES)

    async def _has_started(self, starting: Future[None]) -> bool:
        """Wait for the start; return False if the worker was stopped before."""
        from worker.common.cancellation import unless_set  # noqa: PLC0415 - not before the port is open

        async def started() -> bool:
            await asyncio.wrap_future(starting)
            return True

        return await unless_set(self._stopping, started()) or False

    def _connect(self) -> None:
        """Let jobs in."""
        from worker.serving.webhook_sender import WebhookSender  # noqa: PLC0415 - imported while the WebUI booted

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
            example = curl(address, self._ways, has_key=has_key)
            paths = [way.path for way in self._ways]
            logs.get_logger("serve").info("ready", url=address, paths=paths, try_it=example)
        else:
            sys.stderr.write("\n".join([*ready_lines(address, self._ways, has_key=has_key), ""]))

    def _over(self, job: JobRecord) -> None:
        self._handler.streamed.discard(job.id)
        if job.webhook is not None and self._webhooks is not None:
            self._webhooks.post(job.webhook, job.id, job.to_json())

    def application(self) -> Any:
        """Return the ASGI application of all paths."""
        from worker.serving.http_api.application import Api, create_app  # noqa: PLC0415 - not before the port is open
        from worker.serving.http_api.auth import ApiKey  # noqa: PLC0415 - as above
        from worker.serving.http_api.job_api import JobApi, job_router  # noqa: PLC0415 - as above
        from worker.serving.http_api.probes import probe_routes  # noqa: PLC0415 - as above
        from worker.serving.http_api.request_body import BodyReader  # noqa: PLC0415 - as above
        from worker.serving.local_gateway import LocalGateway  # noqa: PLC0415 - as above
        from worker.serving.openai.router import openai_apis  # noqa: PLC0415 - as above
        from worker.serving.sdapi.browser_access import OriginGuard, PathNormalizer, with_browser_access  # noqa: PLC0415 - as above
        from worker.serving.sdapi.sessions import WebUIApi  # noqa: PLC0415 - as above
        from worker.serving.sdapi.webui_apis import webui_apis  # noqa: PLC0415 - as above

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
        app = create_app(apis, probes=[start_page(self._ways, has_key=key_text is not None), *probes])
        if self._gallery is not None:
            from worker.gallery.web.access import Access  # noqa: PLC0415 - only where there is a gallery
            from worker.gallery.web.gallery_server import PATH  # noqa: PLC0415 - as above
            from worker.gallery.web.routes import gallery_app  # noqa: PLC0415 - as above

            app.mount(PATH, gallery_app(self._gallery, Access(key_text)))
            self._gallery.start()
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
    from worker.client import Endpoint  # noqa: PLC0415 - only where there is a gallery
    from worker.gallery.live_gallery import Gallery  # noqa: PLC0415 - as above
    from worker.gallery.store.opening import open_store  # noqa: PLC0415 - as above
    from worker.gallery.store.picture_store import StoreUnavailable  # noqa: PLC0415 - as above
    from worker.gallery.thumbnails import cache_folder  # noqa: PLC0415 - as above

    url = server_address(settings.http_host, settings.http_port)
    try:
        store = open_store(settings.gallery, settings)
    except StoreUnavailable as error:
        raise BootFailed(f"GALLERY: {error}") from error
    return Gallery(store, cache_folder(environment), endpoint=Endpoint(url, api_key=_plain(settings.http_api_key)))


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
