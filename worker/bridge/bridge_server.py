"""The bridge put together: an HTTP server on loopback in front of an endpoint elsewhere."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

from starlette.middleware.trustedhost import TrustedHostMiddleware

from worker.bridge.endpoint_gateway import EndpointGateway
from worker.contract.compat import webui_api
from worker.serving.gateway import MODELS
from worker.serving.http_api.api_errors import RequestRefused
from worker.serving.http_api.application import create_app
from worker.serving.http_api.auth import ApiKey
from worker.serving.http_api.request_body import BodyReader
from worker.serving.http_api.server import HttpServer
from worker.serving.http_api.start_page import DOCS, OPENAI, WEBUI, start_page
from worker.serving.openai.router import openai_apis
from worker.serving.sdapi.browser_access import OriginGuard, PathNormalizer, with_browser_access
from worker.serving.sdapi.sessions import WebUIApi
from worker.serving.sdapi.webui_apis import webui_apis
from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from pathlib import Path

    from worker.bridge.endpoint_gateway import QueuePatience
    from worker.client import AsyncEndpoint

WAYS_IN = (WEBUI, OPENAI, DOCS)
LARGEST_REQUEST = 100_000_000
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]", "::1")
"""Names by which clients on this computer reach the bridge. A page whose name leads here by DNS has another one."""
PRIMED = (
    MODELS,
    *(f"/sdapi/v1/{name}" for name in sorted(webui_api.LISTINGS)),
    *(f"/{name}" for name in sorted(webui_api.EXTENSION_LISTINGS)),
)
"""Listings that clients ask for when they open."""
PRIMED_AT_ONCE = 4
"""As few as keep an endpoint from waking a second worker over them."""


class Bridge:
    """Serves both APIs until a signal.

    Args:
        endpoint: Where the jobs go.
        listings: File in which listings are kept; None: nowhere.
        patience: With jobs that no worker takes.
        origins: Of pages elsewhere that may use the bridge, beside those of this computer.

    Raises:
        ListingsUnreadable: the file holds something else.
    """

    def __init__(
        self, endpoint: AsyncEndpoint, listings: Path | None, patience: QueuePatience, origins: Sequence[str] = ()
    ) -> None:
        self._gateway = EndpointGateway(endpoint, listings, patience)
        self._origins = tuple(origins)
        self._stopping = asyncio.Event()

    async def run(self, listener: socket.socket, *, prime: bool = False) -> None:
        """Serve on `listener`.

        Args:
            listener: A socket that listens.
            prime: Ask for all listings first, which wakes the endpoint once.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        server = HttpServer(self._application(), listener)
        serving = asyncio.ensure_future(server.run())
        priming = asyncio.ensure_future(self._prime(PRIMED if prime else ()))
        try:
            await self._stopping.wait()
        finally:
            priming.cancel()
            await self._gateway.close()
            server.stop()
            await serving

    async def _prime(self, paths: Sequence[str]) -> None:
        log, turns = get_logger("bridge"), asyncio.Semaphore(PRIMED_AT_ONCE)

        async def ask(path: str) -> None:
            async with turns:
                try:
                    await self._gateway.listing(path)
                except RequestRefused as refusal:
                    log.warning("a listing is not to be had", path=path, why=refusal.message)

        if paths:
            await asyncio.gather(*(ask(path) for path in paths))
            log.info("the listings are there", listings=len(paths))

    def _application(self) -> Any:
        bodies = BodyReader(LARGEST_REQUEST, self._stopping)
        key = ApiKey(None, in_url=False)
        webui = webui_apis(WebUIApi(self._gateway, bodies), key, queue_size=lambda: self._gateway.waiting)
        apis = [*webui, *openai_apis(self._gateway, bodies, key)]
        app = PathNormalizer(create_app(apis, probes=[start_page(WAYS_IN, has_key=False)]), None)
        guarded = OriginGuard(app, self._origins)
        pages = with_browser_access(guarded, self._origins or None, has_key=False)
        return TrustedHostMiddleware(pages, allowed_hosts=list(LOOPBACK_NAMES))
