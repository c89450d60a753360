"""``worker models …``: the models of a volume, for people and for Dockerfiles."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from worker.cli.printing import console, write_json
from worker.contract.types.model_ref import ModelRef
from worker.errors import InvalidInput, WorkerError
from worker.models import admin
from worker.models.store import ModelStore
from worker.models.volume.integrity import misfit
from worker.models.volume.layout import KINDS
from worker.settings import ModelKind, Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from worker.models.download.download_progress import FetchProgress
    from worker.models.volume.model import LocalModel

FAILED = 1
_FOLDERS = tuple(f"{kind}_dir" for kind in KINDS)
_LINE_S = 10.0


app = typer.Typer(name="models", add_completion=False, no_args_is_help=True)
Refs = Annotated[list[str], typer.Argument(metavar="REF")]
Folder = Annotated[
    Path | None,
    typer.Option("--dir", metavar="MODELS", help="Root of the model folders (default: as the worker's settings)."),
]
Kind = Annotated[ModelKind | None, typer.Option(help="What it is; needed where nothing else tells.")]


@app.callback()
def models() -> None:
    """List, fetch, verify and remove the models of a volume.

    REF: a name of the catalog, a file name, a URL, civitai:<version id>, hf:org/repo/file or s3://bucket/key.
    """


@contextmanager
def _store(folder: Path | None, allowed_hosts: Sequence[str] = ()) -> Iterator[ModelStore]:
    """Open the models below `folder`, else those of the environment; tell errors and exit with code 1."""
    errors = console(stderr=True)
    store: ModelStore | None = None
    try:
        store = ModelStore(_settings(folder, allowed_hosts))
        yield store
    except WorkerError as error:
        _complain(errors, error)
        raise typer.Exit(FAILED) from None
    except OSError as error:
        errors.print(f"the volume can't be used: {error}")
        raise typer.Exit(FAILED) from None
    finally:
        if store is not None:
            store.close()


def _settings(folder: Path | None, allowed_hosts: Sequence[str]) -> Settings:
    variables = dict(os.environ)
    if allowed_hosts:
        variables["ALLOW_HOSTS"] = ",".join([variables.get("ALLOW_HOSTS", ""), *allowed_hosts])
    settings = read_settings(variables)
    if folder is None:
        return settings
    folders: dict[str, Any] = {"models_dir": folder.expanduser(), **dict.fromkeys(_FOLDERS)}
    return settings.model_copy(update=folders)


def _ref(text: str, **more: Any) -> ModelRef:
    try:
        return ModelRef.model_validate({"name": text, **more})
    except ValidationError as error:
        said = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise InvalidInput.at(text[:100], said) from None


@app.command("list")
def list_models(
    *, kind: Kind = None, json: Annotated[bool, typer.Option("--json")] = False, folder: Folder = None
) -> None:
    """List the models, with their use and the room that is left."""
    with _store(folder) as store:
        items = list(admin.listed(store, (kind,) if kind else KINDS))
        if json:
            write_json([item.to_json() for item in items])
            return
        table = Table(box=None, pad_edge=False)
        for title in ("kind", "name", "base", "size", "used", "uses", "source"):
            table.add_column(title, justify="right" if title in {"size", "uses"} else "left", no_wrap=title != "source")
        for item in items:
            entry = item.entry
            name = f"{item.model.name}{' (pinned)' if entry.pinned else ''}"
            used = time.strftime("%Y-%m-%d", time.gmtime(entry.last_used)) if entry.uses else "-"
            base, source = item.model.base_model or "?", entry.source or "-"
            table.add_row(entry.kind, name, base, size(item.size), used, str(entry.uses), source)
        out = console()
        out.print(table)
        totals = admin.summary(store)
        out.print(f"{totals['models']} models, {size(totals['bytes'])}; {size(totals['free_bytes'])} free")


@app.command()
def pull(
    refs: Refs,
    *,
    kind: Kind = None,
    folder: Folder = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="Reach this host though it is not public.")
    ] = None,
    sha256: Annotated[str | None, typer.Option(metavar="HEX", help="The file's hash (with one REF).")] = None,
) -> None:
    """Fetch models that are not there; exit code 0 when all are there, else 1."""
    if sha256 and len(refs) != 1:
        raise typer.BadParameter("--sha256 is about one model: give one REF")
    failed = 0
    errors = console(stderr=True)
    with _store(folder, allow_host or ()) as store:
        for text in refs:
            try:
                ref = _ref(text, **({"sha256": sha256} if sha256 else {}))
                settled: ModelKind | None = kind or admin.kind_of(store, ref)
                if settled is None:
                    raise admin.without_kind(store, ref)
                model = _fetch(store, ref, settled, errors)
            except WorkerError as error:
                failed += 1
                _complain(errors, error)
            else:
                what = "fetched" if model.fetched else "there already"
                console().print(f"{model.kind}/{model.name}: {what}, {size(model.size)}, {model.path}")
    raise typer.Exit(FAILED if failed else 0)


def _fetch(store: ModelStore, ref: ModelRef, kind: ModelKind, errors: Console) -> LocalModel:
    wanted = [("", ref, kind)]
    if not errors.is_terminal:
        return asyncio.run(store.prepare(wanted, on_progress=_lines(errors)))[0]
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=errors, transient=True) as bar:
        task = bar.add_task(ref.shown[:60], total=None)

        def show(state: FetchProgress) -> None:
            waiting = " (another worker fetches it)" if state.waiting else ""
            bar.update(task, completed=state.done, total=state.total, description=f"{state.name[:60]}{waiting}")

        return asyncio.run(store.prepare(wanted, on_progress=show))[0]


def _lines(errors: Console) -> Callable[[FetchProgress], None]:
    """Return a sink that writes a line now and then, for logs and Dockerfiles."""
    last = time.monotonic()

    def show(state: FetchProgress) -> None:
        nonlocal last
        if time.monotonic() - last < _LINE_S:
            return
        last = time.monotonic()
        of = f" of {size(state.total)}" if state.total else ""
        errors.print(f"{state.name}: {size(state.done)}{of}, {size(int(state.speed))}/s")

    return show


@app.command()
def verify(
    refs: Annotated[list[str] | None, typer.Argument(metavar="REF")] = None,
    *,
    kind: Kind = None,
    folder: Folder = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Hash files without a known hash and write it down.")
    ] = False,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="Set bad files aside, so that they are fetched again.")
    ] = False,
) -> None:
    """Check headers, known hashes and that each file is what its folder is for; exit code 1 when one is bad."""
    bad = 0
    with _store(folder) as store:
        items = list(admin.listed(store, (kind,) if kind else KINDS))
        if refs:
            keys = {model.key for model, _ in _required(store, refs, kind)}
            items = [item for item in items if item.model.key in keys]
        for item in items:
            damage = admin.verify(store, item, measure=measure)
            wrong = damage or misfit(item.model.path, item.model.kind)
            known = item.entry.sha256 is not None or measure
            good = "header and hash are right" if known else "header is right, no hash known"
            console().print(f"{item.model.key}: {wrong or good}")
            if wrong is not None:
                bad += 1
                if quarantine and damage is not None:  # a file in the wrong folder is still somebody's
                    store.quarantine.put(item.model, damage)
    raise typer.Exit(FAILED if bad else 0)


@app.command()
def pin(
    refs: Refs,
    *,
    kind: Kind = None,
    folder: Folder = None,
    off: Annotated[bool, typer.Option("--off", help="Take the pin away.")] = False,
) -> None:
    """Never remove these models to make room."""
    with _store(folder) as store:
        for model, _ in _required(store, refs, kind):
            file = store.volume.look(model.kind, model.key.partition("/")[2])
            if file is not None:
                store.inventory.pin(file, pinned=not off)
                console().print(f"{model.key}: {'no longer pinned' if off else 'pinned'}")


@app.command()
def remove(refs: Refs, *, kind: Kind = None, folder: Folder = None) -> None:
    """Remove models."""
    with _store(folder) as store:
        for model, _ in _required(store, refs, kind):
            freed = admin.remove_model(store, model)
            console().print(f"{model.key}: removed, {size(freed)} freed")


@app.command()
def gc(*, folder: Folder = None) -> None:
    """Remove the leavings of dead workers, and the quarantine."""
    with _store(folder) as store:
        for path in admin.tidy(store):
            console().print(f"removed {path}")


@app.command()
def rebuild(*, folder: Folder = None) -> None:
    """Write the registry anew from the folder."""
    with _store(folder) as store:
        entries = store.inventory.rebuild()
        console().print(f"{len(entries)} models in the registry")
        failed = store.inventory.read_only
    raise typer.Exit(FAILED if failed else 0)


@app.command()
def info(refs: Refs, *, kind: Kind = None, folder: Folder = None) -> None:
    """Print everything that is known of models, as JSON: those on the volume, and those that `pull` would fetch."""
    with _store(folder) as store:
        rows = {row.model.key: row for row in admin.listed(store)}
        for text in refs:
            ref = _ref(text)
            known = _known(store, ref, kind)
            if known is not None:
                write_json(known)
                continue
            row = rows[admin.required(store, ref, kind)[0].key]
            write_json({**row.to_json(), "on_volume": True, "path": str(row.model.path)})


def _known(store: ModelStore, ref: ModelRef, kind: ModelKind | None) -> dict[str, Any] | None:
    """Return what is known of a model that is not on the volume; None: it is there, or unknown."""
    if any(store.find(ref, each) is not None for each in ([kind] if kind else KINDS)):
        return None
    return admin.fetchable(store, ref, kind)


def _required(store: ModelStore, refs: Sequence[str], kind: ModelKind | None) -> Sequence[tuple[LocalModel, Any]]:
    return [admin.required(store, _ref(text), kind) for text in refs]


def _complain(errors: Console, error: WorkerError) -> None:
    errors.print(f"{error.code}: {error.message}")
    if error.hint:
        errors.print(f"  {error.hint}")


def size(count: int) -> str:
    """Return bytes as people write them."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:  # noqa: PLR2004  decimal units
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
