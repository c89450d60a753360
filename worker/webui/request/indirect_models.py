"""Models that a job uses beside those of its own fields: those of detectors. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    return list({(one.kind, one.filename): one for one in _of_detectors(job, catalog)}.values())


def _of_detectors(job: Generation, catalog: Catalog) -> Iterator[Named]:
    for index, unit in enumerate(job.adetailer or ()):
        unit_path = f"adetailer[{index}]"
        checkpoint = catalog.checkpoint_meant(unit.checkpoint.ref) if unit.checkpoint is not None else None
        if checkpoint is not None:
            yield Named(job.path(f"{unit_path}.checkpoint"), "checkpoint", checkpoint.filename)
        vae = catalog.vae_meant(unit.vae.ref) if unit.vae is not None else None
        if vae is not None:
            yield Named(job.path(f"{unit_path}.vae"), "vae", vae.filename)
