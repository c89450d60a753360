"""``python -m worker models …``: the models of a volume, for people and for Dockerfiles."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from worker.contract.models import ModelRef
from worker.errors import InvalidInput, WorkerError
from worker.models import admin
from worker.models.store import ModelStore
from worker.models.volume.layout import KINDS
from worker.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.models.download.progress import FetchProgress
    from worker.models.volume.model import LocalModel
    from worker.settings import ModelKind

FAILED = 1
_FOLDERS = ("checkpoint_dir", "lora_dir", "embedding_dir", "vae_dir", "controlnet_dir", "upscaler_dir")
_LINE_S = 10.0


def main(argv: list[str], *, environment: Mapping[str, str] | None = None) -> int:
    """Run one command; return 0, 1 when it failed, 2 for wrong usage."""
    options = _parser().parse_args(argv)
    if getattr(options, "sha256", None) and len(options.refs) != 1:
        _parser().error("--sha256 is about one model: give one REF")
    errors = _console(stderr=True)
    store: ModelStore | None = None
    try:
        store = ModelStore(_settings(options, environment if environment is not None else os.environ))
        code: int = options.run(store, options, _console())
    except WorkerError as error:
        _complain(errors, error)
        return FAILED
    except OSError as error:
        errors.print(f"the volume can't be used: {error}")
        return FAILED
    finally:
        if store is not None:
            store.close()
    return code


def _console(*, stderr: bool = False) -> Console:
    """Return where people read, as it is written: names hold what rich takes for marks, `style_[v2]`, `a:art:b`."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m worker models",
        description="The models of a volume. REF: a name of the catalog, a file name, a URL, civitai:<version id>, "
        "hf:org/repo/file or s3://bucket/key.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Callable[..., int], about: str, refs: str = "") -> argparse.ArgumentParser:
        own = commands.add_parser(name, help=about, description=about)
        own.set_defaults(run=run)
        if refs:
            own.add_argument("refs", nargs=refs, metavar="REF")
            own.add_argument("--kind", choices=KINDS, help="what it is; needed where nothing else tells")
        own.add_argument(
            "--dir", metavar="MODELS", help="root of the model folders (default: as the worker's settings)"
        )
        return own

    lister = command("list", _list, "what is there")
    lister.add_argument("--kind", choices=KINDS)
    lister.add_argument("--json", action="store_true", help="as JSON")
    pull = command("pull", _pull, "fetch models that are not there; 0 when all are there, else 1", "+")
    pull.add_argument(
        "--allow-host", action="append", default=[], metavar="HOST", help="reach it though it isn't public"
    )
    pull.add_argument("--sha256", metavar="HEX", help="what the file has to be (with one REF)")
    verify = command("verify", _verify, "check headers and known hashes; 1 when a file is bad", "*")
    verify.add_argument("--measure", action="store_true", help="measure files without a known hash and write it down")
    verify.add_argument("--quarantine", action="store_true", help="set bad files aside, so that they are fetched again")
    pin = command("pin", _pin, "never remove these models to make room", "+")
    pin.add_argument("--off", action="store_true", help="take the pin away")
    command("remove", _remove, "remove models", "+")
    command("gc", _gc, "remove what dead workers left and what is in quarantine")
    command("rebuild", _rebuild, "write the registry anew from the folder")
    command("info", _info, "all that is known of one model", "+")
    return parser


def _settings(options: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    variables = dict(environment)
    more = getattr(options, "allow_host", [])
    if more:
        variables["ALLOW_HOSTS"] = ",".join([variables.get("ALLOW_HOSTS", ""), *more])
    settings = read_settings(variables)
    if options.dir is None:
        return settings
    folders: dict[str, Any] = {"models_dir": _path(options.dir), **dict.fromkeys(_FOLDERS)}
    return settings.model_copy(update=folders)


def _path(text: str) -> Any:
    from pathlib import Path  # noqa: PLC0415  one use

    return Path(text).expanduser()


def _ref(text: str, **more: Any) -> ModelRef:
    try:
        return ModelRef.model_validate({"name": text, **more})
    except ValidationError as error:
        said = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise InvalidInput.at(text[:100], said) from None


def _list(store: ModelStore, options: argparse.Namespace, out: Console) -> int:
    items = list(admin.listed(store, (options.kind,) if options.kind else KINDS))
    if options.json:
        out.print(json.dumps([item.to_json() for item in items], indent=2))
        return 0
    table = Table(box=None, pad_edge=False)
    for title in ("kind", "name", "base", "size", "used", "uses", "source"):
        table.add_column(title, justify="right" if title in {"size", "uses"} else "left", no_wrap=title != "source")
    for item in items:
        entry = item.entry
        name = f"{item.model.name}{' (pinned)' if entry.pinned else ''}"
        used = time.strftime("%Y-%m-%d", time.gmtime(entry.last_used)) if entry.uses else "-"
        table.add_row(
            entry.kind, name, item.model.base_model or "?", size(item.size), used, str(entry.uses), entry.source or "-"
        )
    out.print(table)
    totals = admin.summary(store)
    free = size(totals["free_bytes"])
    out.print(f"{totals['models']} models, {size(totals['bytes'])}; {free} free")
    return 0


def _pull(store: ModelStore, options: argparse.Namespace, out: Console) -> int:
    failed = 0
    errors = _console(stderr=True)
    for text in options.refs:
        try:
            ref = _ref(text, **({"sha256": options.sha256} if options.sha256 else {}))
            kind: ModelKind | None = options.kind or admin.kind_of(store, ref)
            if kind is None:
                raise admin.without_kind(store, ref)
            model = _fetch(store, ref, kind, errors)
        except WorkerError as error:
            failed += 1
            _complain(errors, error)
        else:
            what = "fetched" if model.fetched else "there already"
            out.print(f"{model.kind}/{model.name}: {what}, {size(model.size)}, {model.path}")
    return FAILED if failed else 0


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


def _verify(store: ModelStore, options: argparse.Namespace, out: Console) -> int:
    items = list(admin.listed(store, (options.kind,) if options.kind else KINDS))
    if options.refs:
        keys = {model.key for model, _ in _required(store, options)}
        items = [item for item in items if item.model.key in keys]
    bad = 0
    for item in items:
        wrong = admin.verify(store, item, measure=options.measure)
        known = item.entry.sha256 is not None or options.measure
        good = "header and hash are right" if known else "header is right, no hash known"
        out.print(f"{item.model.key}: {wrong or good}")
        if wrong is not None:
            bad += 1
            if options.quarantine:
                store.quarantine.put(item.model, wrong)
    return FAILED if bad else 0


def _pin(store: ModelStore, options: argparse.Namespace, out: Console) -> int:
    for model, _ in _required(store, options):
        file = store.volume.look(model.kind, model.key.partition("/")[2])
        if file is not None:
            store.inventory.pin(file, pinned=not options.off)
            out.print(f"{model.key}: {'no longer pinned' if options.off else 'pinned'}")
    return 0


def _remove(store: ModelStore, options: argparse.Namespace, out: Console) -> int:
    for model, _ in _required(store, options):
        freed = admin.remove_model(store, model)
        out.print(f"{model.key}: removed, {size(freed)} freed")
    return 0


def _gc(store: ModelStore, _: argparse.Namespace, out: Console) -> int:
    for path in admin.tidy(store):
        out.print(f"removed {path}")
    return 0


def _rebuild(store: ModelStore, _: argparse.Namespace, out: Console) -> int:
    entries = store.inventory.rebuild()
    out.print(f"{len(entries)} models in the registry")
    return FAILED if store.inventory.read_only else 0


def _info(store: ModelStore, options: argparse.Namespace, out: Console) -> int:
    keys = {model.key for model, _ in _required(store, options)}
    for item in admin.listed(store):
        if item.model.key in keys:
            facts = {**item.to_json(), "path": str(item.model.path)}
            out.print(json.dumps(facts, indent=2, ensure_ascii=False))
    return 0


def _required(store: ModelStore, options: argparse.Namespace) -> Sequence[tuple[LocalModel, Any]]:
    return [admin.required(store, _ref(text), options.kind) for text in options.refs]


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
