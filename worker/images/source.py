"""Pictures that come in with a job: base64, data URL, http(s) URL, or a key of the operator's own store.

Nothing that a client names is opened as a file, and the WebUI never fetches anything. A URL leads to public addresses
only; its content is judged by its bytes. Size in bytes and pixels is limited before anything is decoded; what is cut,
damaged, moving or of another format is refused, with the field that named it.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.errors import InvalidInput, Problem
from worker.images.inspect import decode_base64, examine
from worker.images.picture import BrokenPicture, Picture
from worker.images.upright import upright
from worker.net.errors import FetchError
from worker.net.fetch import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.net.fetch import Fetcher

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_MEGA = 1_000_000
_STEP = 8


@dataclass(frozen=True, slots=True)
class InputLimits:
    """Of one picture that comes in: bytes of its file, pixels, seconds to fetch it."""

    max_bytes: int = 20 * _MEGA
    max_pixels: int = 4096 * 4096
    fetch_s: float = 30


class Sources:
    """Gets the pictures that jobs name; one for the worker's life.

    Args:
        fetcher: Guarded HTTP.
        limits: Of each picture.
        stored: Reads a key `s3://bucket/key` of the operator's store, up to so many bytes; None: there is no store.
            Raises LookupError with the reason when it can't be had.
        threads: Pictures fetched and decoded at once.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        limits: InputLimits | None = None,
        *,
        stored: Callable[[str, int], bytes] | None = None,
        threads: int = 4,
    ) -> None:
        self._fetcher = fetcher
        self._limits = limits or InputLimits()
        self._stored = stored
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pictures-in")

    def load(self, wanted: Sequence[tuple[str, str]], *, flatten: bool = False) -> list[Picture]:
        """Return the pictures of `wanted`, `(path in the job, text)` each, in order. Blocks.

        Each is upright and plain: PNG, JPEG or WebP as it came where nothing had to change, else PNG.

        Args:
            wanted: Path, for errors, and what the client wrote.
            flatten: Lay transparency on white instead of keeping it.

        Raises:
            InvalidInput: every picture that can't be used, each with its path and reason.
        """
        pictures: list[Picture] = []
        problems: list[Problem] = []
        outcomes = self._pool.map(lambda one: self._outcome(*one, flatten=flatten), wanted)
        for outcome in outcomes:
            if isinstance(outcome, Problem):
                problems.append(outcome)
            else:
                pictures.append(outcome)
        if problems:
            raise InvalidInput(problems)
        return pictures

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _outcome(self, path: str, text: str, *, flatten: bool) -> Picture | Problem:
        try:
            return self._plain(text.strip(), flatten=flatten)
        except (BrokenPicture, FetchError, LookupError) as error:
            return Problem(path, str(error.args[0]))

    def _plain(self, text: str, *, flatten: bool) -> Picture:
        data, encoded = self._bytes(text)
        if len(data) > self._limits.max_bytes:
            raise BrokenPicture(f"a file of {len(data)} bytes; the limit is {self._limits.max_bytes}")
        kind, found = examine(data)
        if found.width * found.height > self._limits.max_pixels:
            limit = self._limits.max_pixels
            raise BrokenPicture(f"{found.width}x{found.height} is more than the limit of {limit} pixels")
        if found.frames:
            raise BrokenPicture(f"a moving {kind.upper()}; send one frame of it")
        if kind == "png":
            examine(data, thorough=True)  # a decoder takes missing rows for black ones
        return upright(Picture(data, kind, found.width, found.height, found.infotext, encoded), found, flatten=flatten)

    def _bytes(self, text: str) -> tuple[bytes, str | None]:
        """Return the file, and the base64 that it came as, if it did and nothing else did."""
        scheme = _SCHEME.match(text)
        if scheme is None:
            if len(text) > self._limits.max_bytes // 3 * 4 + 1024:
                raise BrokenPicture(f"about {len(text) * 3 // 4} bytes; the limit is {self._limits.max_bytes}")
            data = _decoded(text)
            return data, text if len(text) == (len(data) + 2) // 3 * 4 else None
        name = scheme[1].lower()
        if name in ("http", "https"):
            return self._fetched(text), None
        if name == "s3" and self._stored is not None:
            return self._stored(text, self._limits.max_bytes), None
        if name == "s3":
            raise BrokenPicture("s3:// needs the operator's store, and there is none")
        raise BrokenPicture(f"{name}:// is not read; send base64, a data URL or an https URL")

    def _fetched(self, url: str) -> bytes:
        bounds = Limits(
            connect_s=min(10, self._limits.fetch_s),
            read_s=min(15, self._limits.fetch_s),
            total_s=self._limits.fetch_s,
            max_bytes=self._limits.max_bytes,
        )
        with self._fetcher.open(url, headers={"Accept": "image/*"}, limits=bounds) as body:
            body.raise_for_status()
            return body.read()


def _decoded(text: str) -> bytes:
    try:
        return decode_base64(text)
    except BrokenPicture as error:
        if text[:5].lower() == "data:" or not text:
            raise
        raise BrokenPicture(f"{error}, not a data URL and not an https URL either") from None


def fitting_size(width: int, height: int, *, max_side: int = 2048, max_pixels: int = 2048 * 2048) -> tuple[int, int]:
    """Return the size to work in for a picture of `width` x `height`: its own, in the nearest multiples of 8.

    Scaled down, keeping its shape, where it passes a limit; never under 64. Pure.
    """
    factor = min(1.0, max_side / width, max_side / height, (max_pixels / (width * height)) ** 0.5)
    sides = [max(64, round(side * factor / _STEP) * _STEP) for side in (width, height)]
    while sides[0] * sides[1] > max_pixels and max(sides) > _STEP * 8:
        longest = sides.index(max(sides))
        sides[longest] -= _STEP
    return sides[0], sides[1]
