"""Paths as clients of A1111 write them, and the key in front of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from worker.serving.sdapi.browser_access import OriginGuard, PathNormalizer

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

KEY = "s3cret"


def seen(path: str, key: str | None = KEY) -> tuple[str, str]:
    """Return the path and the key that the application sees."""
    scopes: list[Scope] = []

    async def application(scope: Scope, _receive: Receive, _send: Send) -> None:
        scopes.append(scope)

    async def nothing(*_: Any) -> Any:
        raise AssertionError("nothing is read or sent")

    given = {"type": "http", "path": path, "raw_path": path.encode(), "headers": [(b"host", b"h")]}
    asyncio.run(PathNormalizer(application, key)(given, nothing, nothing))
    headers = dict(scopes[0]["headers"])
    assert scopes[0]["raw_path"] == scopes[0]["path"].encode()
    return scopes[0]["path"], headers.get(b"x-api-key", b"").decode()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/sdapi/v1/txt2img", ("/sdapi/v1/txt2img", "")),
        ("/sdapi/v1/txt2img/", ("/sdapi/v1/txt2img", "")),
        ("//sdapi//v1/txt2img//", ("/sdapi/v1/txt2img", "")),
        ("/", ("/", "")),
        ("/gallery/", ("/gallery/", "")),
        ("/gallery//picture/", ("/gallery//picture/", "")),
        (f"/{KEY}", ("/", KEY)),
        (f"/{KEY}/", ("/", KEY)),
        (f"/{KEY}/config", ("/config", KEY)),
        (f"/{KEY}/sdapi/v1/options/", ("/sdapi/v1/options", KEY)),
        ("/wrong/sdapi/v1/options", ("/sdapi/v1/options", "wrong")),
        ("/wrong/controlnet/version", ("/controlnet/version", "wrong")),
        ("/wrong/config", ("/wrong/config", "")),
        ("/status/some-job", ("/status/some-job", "")),
        ("/sdapi/v1", ("/sdapi/v1", "")),
    ],
)
def test_the_path_is_read_as_it_was_meant(path: str, expected: tuple[str, str]) -> None:
    assert seen(path) == expected


def test_without_a_key_that_may_stand_there_nothing_is_taken_for_one() -> None:
    assert seen(f"/{KEY}/sdapi/v1/options", None) == (f"/{KEY}/sdapi/v1/options", "")


@pytest.mark.parametrize(
    ("origin", "host", "passes"),
    [
        (None, "127.0.0.1:8000", True),
        ("http://localhost:5001", "127.0.0.1:8000", True),
        ("http://192.168.1.5:8000", "192.168.1.5:8000", True),
        ("http://192.168.1.6:8000", "192.168.1.5:8000", False),
        ("http://evil.example:8000", "evil.example:8000", False),
        ("https://art.example", "127.0.0.1:8000", True),
        ("https://other.example", "127.0.0.1:8000", False),
        ("null", "127.0.0.1:8000", False),
        ("", "", False),
    ],
)
def test_without_a_key_pages_of_other_origins_are_refused(origin: str | None, host: str, passes: bool) -> None:  # noqa: FBT001 - a case's value
    passed: list[Scope] = []
    statuses: list[int] = []

    async def application(scope: Scope, _receive: Receive, _send: Send) -> None:
        passed.append(scope)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    async def send(message: Any) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    headers = [(b"host", host.encode()), *([(b"origin", origin.encode())] if origin is not None else [])]
    scope = {"type": "http", "method": "POST", "path": "/sdapi/v1/txt2img", "headers": headers}
    asyncio.run(OriginGuard(application, ["https://art.example/"])(scope, receive, send))
    assert (bool(passed), statuses) == (passes, [] if passes else [403])
