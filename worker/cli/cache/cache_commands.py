"""``worker cache …``: the results that are kept so that no picture is made twice."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from worker.cli.printing import console, write_json
from worker.errors import WorkerError
from worker.jobs.cache.cache_storage import cache_storage, expired
from worker.net.addresses import AllowList
from worker.net.guard import Guard
from worker.settings import read_settings
from worker.storage.store_errors import StoreError
from worker.storage.stores import StoreClients

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.jobs.cache.cache_storage import CacheStorage
    from worker.settings import Settings

FAILED = 1

app = typer.Typer(name="cache", add_completion=False, no_args_is_help=True)


@app.callback()
def cache() -> None:
    """List and clear the results that RESULT_CACHE keeps, on the volume or in the operator's store."""


@contextmanager
def _opened() -> Iterator[tuple[CacheStorage, Settings]]:
    """Open the cache that the environment names; tell errors and exit with code 1."""
    errors = console(stderr=True)
    try:
        settings = read_settings(os.environ)
        storage = cache_storage(settings, StoreClients(Guard(AllowList.of(settings.allowed_hosts))))
        if storage is None:
            errors.print("RESULT_CACHE is off; set it to volume or s3", markup=False)
            raise typer.Exit(FAILED)
        yield storage, settings
    except (WorkerError, StoreError, OSError) as error:
        errors.print(str(error), markup=False)
        raise typer.Exit(FAILED) from None


@app.command("list")
def list_entries(*, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the results that are kept, those used last first."""
    with _opened() as (storage, _):
        entries = sorted(storage.entries(), key=lambda entry: entry.used, reverse=True)
    rows = [(entry.key, entry.size, _iso(entry.used)) for entry in entries]
    if json:
        write_json([{"key": key, "bytes": size, "used": used} for key, size, used in rows])
        return
    table = Table("key", "MB", "used", title=f"{len(rows)} results, {sum(size for _, size, _ in rows) / 1e6:.1f} MB")
    for key, size, used in rows:
        table.add_row(key, f"{size / 1e6:.1f}", used)
    console().print(table)


@app.command()
def clear(
    *, expired_only: Annotated[bool, typer.Option("--expired", help="Only what is over the limits.")] = False
) -> None:
    """Remove the results that are kept."""
    with _opened() as (storage, settings):
        entries = storage.entries()
        if expired_only:
            now, most = datetime.now(timezone.utc).timestamp(), settings.result_cache_bytes
            entries = expired(entries, now=now, age_s=settings.result_cache_age_s, most_bytes=most)
        for entry in entries:
            storage.remove(entry.key)
    console().print(f"removed {len(entries)} results, {sum(entry.size for entry in entries) / 1e6:.1f} MB")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
