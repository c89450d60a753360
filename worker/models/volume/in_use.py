"""Markers of the models that each worker is using, so that no other one removes them.

One small file per worker names what it holds. It is written when a model is held that it does not name yet, and touched
now and then while anything is held; models linger in it for a while, so switching between two models writes nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson

from worker.common.atomic_files import write_atomically
from worker.models.volume.availability import SPACE_ERRORS
from worker.models.volume.leases import ProcessIdentity, is_process_dead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

LINGER_S = 30.0
OWN_LINGER_S = 5.0
"""A model counts as held lately for so long: it goes only when there is nothing else, so a job can hold it anew."""
TOUCH_S = 30.0
STALE_S = 4 * TOUCH_S
_ENDING = ".uses"


class UsageMarkers:
    """The models held by this worker and by the others.

    Args:
        folder: Where the files are.
        owner: This process.
        now: A monotonic clock in seconds.
    """

    def __init__(self, folder: Path, owner: ProcessIdentity, *, now: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._owner = owner
        self._path = folder / f"{owner.token}{_ENDING}"
        self._now = now
        self._mutex = threading.Lock()
        self._held: Counter[str] = Counter()
        self._until: dict[str, float] = {}
        self._written: frozenset[str] = frozenset()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def hold(self, keys: Iterable[str]) -> None:
        """Hold models; each call needs one `release` with the same keys."""
        with self._mutex:
            for key in keys:
                self._held[key] += 1
            self._tidy(linger=LINGER_S)

    def release(self, keys: Iterable[str]) -> None:
        """Let models go."""
        with self._mutex:
            for key in keys:
                self._held[key] -= 1
                if self._held[key] <= 0:
                    del self._held[key]
                    self._until[key] = self._now() + LINGER_S

    def held(self) -> frozenset[str]:
        """Return what this worker holds."""
        with self._mutex:
            return frozenset(self._held)

    def lately(self) -> frozenset[str]:
        """Return what this worker has held a moment ago."""
        with self._mutex:
            just_now = self._now() + LINGER_S - OWN_LINGER_S
            return frozenset(key for key, until in self._until.items() if until > just_now)

    def others(self) -> frozenset[str]:
        """Return what the other live workers hold; files of dead ones are removed.

        Raises:
            OSError: that can't be read: whoever wants to remove a model must not.
        """
        found: set[str] = set()
        with contextlib.suppress(FileNotFoundError):  # nobody has held anything yet
            clock = self._clock_of_volume()
            for path in self._folder.glob(f"*{_ENDING}"):
                if path == self._path:
                    continue
                data = _read(path)
                with contextlib.suppress(FileNotFoundError):
                    if is_process_dead(data, self._owner) or clock - path.stat().st_mtime > STALE_S:
                        with contextlib.suppress(OSError):  # left by another user: it says nothing either way
                            path.unlink()
                    else:
                        found.update(key for key in data.get("models", ()) if isinstance(key, str))
        return frozenset(found)

    def close(self) -> None:
        """Hold nothing any more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _tidy(self, *, linger: float) -> None:
        """Write the file when it lacks a held model; the mutex is ours."""
        clock = self._now()
        self._until = {key: until for key, until in self._until.items() if until > clock}
        written = self._held.keys() <= self._written
        if written and linger:
            return
        wanted = frozenset(self._held) | frozenset(self._until)
        if written and wanted == self._written:
            return
        raw = orjson.dumps({**self._owner.to_json(), "models": sorted(wanted)})
        with contextlib.suppress(OSError):  # read-only: nobody can remove anything either
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                write_atomically(self._path, raw)
            except OSError as error:
                if error.errno not in SPACE_ERRORS:
                    raise
                _overwrite(self._path, raw)
            self._written = wanted
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="marks", daemon=True)
            self._thread.start()

    def _keep(self) -> None:
        while not self._over.wait(TOUCH_S):
            self._refresh()

    def _refresh(self) -> None:
        """Show that this worker lives; write the file anew when others took it for dead meanwhile."""
        with self._mutex:
            self._tidy(linger=0)
            try:
                if self._written:
                    os.utime(self._path)
            except FileNotFoundError:
                if self._folder.is_dir():  # else it is the volume that is gone
                    self._written = frozenset()
                    self._tidy(linger=0)
            except OSError:
                return  # others see the last time

    def _clock_of_volume(self) -> float:
        """Return the time by the volume's clock, which is the one that stamps the files of all workers."""
        probe = self._folder / f".{self._owner.token}.now"
        probe.touch()
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)


def _overwrite(path: Path, raw: bytes) -> None:
    """Write into the room that a file has: on a full disk others look for what they may remove. Raises OSError."""
    with path.open("r+b", buffering=0) as file:
        if len(raw) > os.fstat(file.fileno()).st_blocks * 512:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file.write(raw)
        file.truncate()


def _read(path: Path) -> dict[str, Any]:
    try:
        data = orjson.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
