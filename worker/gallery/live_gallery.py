"""A gallery: pictures, decisions and jobs, and the work that goes on behind the page."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from worker.gallery.picture_catalog import PictureCatalog
from worker.gallery.production import Production
from worker.gallery.store.picture_store import PictureStore, StoreUnavailable
from worker.gallery.thumbnails import Thumbnails
from worker.telemetry import logs

if TYPE_CHECKING:
    from pathlib import Path

    from worker.gallery.job_endpoint import JobEndpoint

RESCAN_S = 3.0
"""A page that asks for news makes the store be looked at again, at most this often."""


class Gallery:
    """The pictures of a store and all that can be done with them. Thread-safe.

    Args:
        store: The pictures.
        cache: The folder for thumbnails.
        may_delete: Whether rejected pictures may be moved into the trash.
        endpoint: Runs jobs; None: none are run.
    """

    def __init__(
        self, store: PictureStore, cache: Path, *, may_delete: bool = False, endpoint: JobEndpoint | None = None
    ) -> None:
        self.store = store
        self.may_delete = may_delete
        self.thumbnails = Thumbnails(store, cache)
        self.catalog = PictureCatalog(store, self.thumbnails)
        self.production = None if endpoint is None else Production(endpoint, self.catalog, store)
        self._stopping = threading.Event()
        self._is_due = threading.Event()
        self._scanned_at = time.monotonic()
        self._duplicates: dict[str, Any] = {"state": "none", "groups": []}
        self._problem = ""
        self._reader = threading.Thread(target=self._keep_up, name="gallery-reader", daemon=True)

    def start(self) -> None:
        """Begin to list the pictures and to read their facts, in the background."""
        self._is_due.set()
        self._reader.start()

    def news(self, since: int) -> dict[str, Any]:
        """Return what changed after a version of the catalog, how the jobs go, and what troubles the store."""
        if time.monotonic() - self._scanned_at > RESCAN_S:
            self._is_due.set()
        tasks = [] if self.production is None else self.production.tasks()
        told = self.catalog.changes(since)
        return {**told, "tasks": tasks, "duplicates": self._duplicates, "problem": self._problem}

    def find_duplicates(self) -> None:
        """Begin to look for pictures that look alike; `news` tells when they are found."""
        if self._duplicates["state"] != "running":
            self._duplicates = {"state": "running", "groups": []}
            threading.Thread(target=self._compare_all, name="gallery-duplicates", daemon=True).start()

    def close(self) -> None:
        """Stop the background work; jobs that run are cancelled."""
        self._stopping.set()
        self._is_due.set()
        if self.production is not None:
            self.production.close()
        if self._reader.is_alive():
            self._reader.join()

    def _keep_up(self) -> None:
        """Look at the store and read facts, now and whenever a page asks for news."""
        self.thumbnails.prune()
        while not self._stopping.is_set():
            self._is_due.wait()
            self._is_due.clear()
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
            self._duplicates = {"state": "done", "groups": groups}
        except Exception:  # noqa: BLE001 - the page has to hear of it, whatever it was
            logs.get_logger("gallery").exception("near-duplicates could not be found")
            self._duplicates = {"state": "failed", "groups": []}
