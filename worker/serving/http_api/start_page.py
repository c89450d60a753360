"""The page at ``/``, and the lines at a server's start: its ways in, and a command that works."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, never listened on
"""Addresses to listen on that nobody can connect to, and the one that reaches them from the same machine."""
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}"
    "td{padding:.2rem 1rem .2rem 0;vertical-align:top}pre{overflow-x:auto;padding:.8rem;border:1px solid #8886}"
)


@dataclass(frozen=True, slots=True)
class WayIn:
    """One thing that a server offers.

    Attributes:
        path: Where it begins: ``/docs``, ``/v1``.
        about: Its use, in a few words.
        is_page: A person can open it.
    """

    path: str
    about: str
    is_page: bool = False


JOBS = WayIn("/runsync", "jobs as on RunPod (also /run, /status, /stream, /cancel)")
WEBUI = WayIn("/sdapi/v1", "A1111's API: enter the address alone in a program that wants a WebUI")
OPENAI = WayIn("/v1", "OpenAI's image API: the address with /v1 is the base URL")
GALLERY = WayIn("/gallery/", "look through pictures", is_page=True)
DOCS = WayIn("/docs", "every path, to try out", is_page=True)
HEALTH = WayIn("/health", "the worker's state", is_page=True)


def server_address(host: str, port: int) -> str:
    """Return the URL under which a server is reached from its own machine."""
    reached = ANY_ADDRESS.get(host, host)
    return f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"


def curl(address: str, ways: Sequence[WayIn], *, has_key: bool) -> str:
    """Return a command that has a picture made, whichever ways in there are."""
    key = ' -H "Authorization: Bearer $HTTP_API_KEY"' if has_key else ""
    path, body = ("/runsync", '{"input": {"prompt": "a fox in the snow"}}')
    if JOBS not in ways:
        path, body = ("/sdapi/v1/txt2img", '{"prompt": "a fox in the snow"}')
    return f"curl -sS {address}{path}{key} -d '{body}' -o answer.json"


def ready_lines(address: str, ways: Sequence[WayIn], *, has_key: bool) -> list[str]:
    """Return the lines for a person who has started a server, the address last but for a command that works."""
    width = max(len(way.path) for way in ways)
    key = ["  Every path but /docs and /health wants the key in HTTP_API_KEY."] if has_key else []
    return [
        f"Ready at {address}",
        *(f"  {way.path:<{width}}  {way.about}" for way in ways),
        *key,
        f"Try it: {curl(address, ways, has_key=has_key)}",
    ]


def start_page(ways: Sequence[WayIn], *, has_key: bool) -> Route:
    """Return the route of ``/``: a page for browsers, JSON for programs. No key is asked for, and nothing is secret."""
    from starlette.responses import HTMLResponse, JSONResponse  # noqa: PLC0415 - not before the port is open
    from starlette.routing import Route  # noqa: PLC0415 - as above

    async def show(request: Request) -> Response:
        address = str(request.base_url).rstrip("/")
        command = curl(address, ways, has_key=has_key)
        if "text/html" not in request.headers.get("Accept", ""):
            told = {"worker": __version__, "paths": {way.path: way.about for way in ways}, "try": command}
            return JSONResponse(told)
        rows = "".join(f"<tr><td>{_place(way)}<td>{html.escape(way.about)}</tr>" for way in ways)
        return HTMLResponse(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>A1111 worker</title><style>{_STYLE}</style>'
            f"<h1>A1111 worker {__version__}</h1><table>{rows}</table>"
            f"<p>Have a picture made:<pre>{html.escape(command)}</pre></html>"
        )

    return Route("/", show, methods=["GET"])


def _place(way: WayIn) -> str:
    path = html.escape(way.path)
    return f'<a href="{path.lstrip("/")}">{path}</a>' if way.is_page else f"<code>{path}</code>"
