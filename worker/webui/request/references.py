"""What a job reaches beside its own fields: models and sizes of a plot, models of lines and detectors. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.contract.rules.field_rules import largest_size
from worker.contract.rules.sizes import Size
from worker.contract.types.job import Txt2Img
from worker.contract.types.kinds import Img2Img
from worker.webui.names import lora_tags
from worker.webui.request import scripts, xyz_plot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.contract.types.job import Generation
    from worker.settings import ModelKind
    from worker.webui.names.catalog import Catalog

_CHECKPOINTS = frozenset({"Checkpoint name", "Refiner checkpoint"})


@dataclass(frozen=True, slots=True)
class Named:
    """One model: where the job names it, what it is, and its file as the WebUI lists it."""

    path: str
    kind: ModelKind
    filename: str


def models(job: Generation, catalog: Catalog) -> list[Named]:
    """Return the models; names that the WebUI does not list are left out, and told where their place is checked."""
    found = [*_of_script(job, catalog), *_of_detectors(job, catalog)]
    return list({(one.kind, one.filename): one for one in found}.values())


def sizes(job: Generation, catalog: Catalog) -> list[tuple[str, Size]]:
    """Return the largest size that each value of a plot's axis of sizes makes, hires fix included."""
    if job.script is None or job.script.name.strip().lower() != scripts.XYZ:
        return []
    entry = scripts.find(catalog.script_info, scripts.XYZ, img2img=isinstance(job, Img2Img))
    values, problems = scripts.arguments(entry, job.script.args, "", xyz_plot.names(catalog)) if entry else ([], [])
    if entry is None or problems:
        return []
    found: list[tuple[str, Size]] = []
    for label, through in scripts.plotted(entry, values):
        for value in through if label == xyz_plot.SIZE else ():
            width, height = (int(side) for side in value.split("x"))
            size = Size(width, height)
            if isinstance(job, Txt2Img):
                size = largest_size(job.changed({"width": width, "height": height}))
            found.append((value, size))
    return found


def _of_script(job: Generation, catalog: Catalog) -> Iterator[Named]:
    if job.script is None:
        return
    name, path = job.script.name.strip().lower(), job.path("script.args")
    entry = scripts.find(catalog.script_info, name, img2img=isinstance(job, Img2Img))
    if entry is None or name not in {scripts.XYZ, scripts.FROM_FILE}:
        return
    values, problems = scripts.arguments(entry, job.script.args, path, xyz_plot.names(catalog))
    if problems:
        return
    if name == scripts.FROM_FILE:
        yield from _of_tags([text for text in values if isinstance(text, str)], catalog, path)
        return
    for label, through in scripts.plotted(entry, values):
        if label in _CHECKPOINTS:
            rows = [(each, catalog.checkpoint(each)) for each in through]
            yield from (Named(f"{path} {each!r}", "checkpoint", row.filename) for each, row in rows if row is not None)
        elif label == "VAE":
            vaes = [(each, catalog.vae(each)) for each in through]
            yield from (Named(f"{path} {each!r}", "vae", vae.filename) for each, vae in vaes if vae is not None)
        else:
            yield from _of_tags(through, catalog, path)


def _of_tags(texts: Sequence[str], catalog: Catalog, path: str) -> Iterator[Named]:
    for text in texts:
        for tag in lora_tags.parse(text):
            lora = catalog.lora(tag.name) if tag.kind in lora_tags.LORA_KINDS else None
            if lora is not None:
                yield Named(f"{path} {tag.text}", "lora", lora.path)


def _of_detectors(job: Generation, catalog: Catalog) -> Iterator[Named]:
    for index, unit in enumerate(job.adetailer or ()):
        path = job.path(f"adetailer[{index}]")
        checkpoint = catalog.checkpoint_meant(unit.checkpoint.ref) if unit.checkpoint is not None else None
        if checkpoint is not None:
            yield Named(f"{path}.checkpoint", "checkpoint", checkpoint.filename)
        vae = catalog.vae_meant(unit.vae.ref) if unit.vae is not None else None
        if vae is not None:
            yield Named(f"{path}.vae", "vae", vae.filename)
