"""Models that ADetailer's passes bring into a job, by field and by tag, and the LoRAs that meet in one pass."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from pydantic import ValidationError

from worker.contract.types.model_ref import ModelRef
from worker.errors import Problem
from worker.jobs.prepare.resolved_models import ResolvedModel
from worker.webui.names import lora_tags
from worker.webui.request import extension_units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.rules.pass_prompts import PassPrompt
    from worker.contract.types.job import Generation
    from worker.models.store import ModelStore
    from worker.webui.names.catalog import Catalog, Checkpoint
    from worker.webui.names.lora_tags import ChosenLora
    from worker.webui.names.name_resolver import Chosen, JobNames
    from worker.webui.names.weights import Weights


@dataclass(frozen=True, slots=True)
class LorasOfPass:
    """The LoRAs that come together where a pass has one prompt.

    Attributes:
        prompt: The part of the pass's prompt.
        own: Those that it names itself.
        brought: Those of the job's prompt, where that is part of it.
    """

    prompt: PassPrompt
    own: tuple[ChosenLora, ...]
    brought: tuple[ChosenLora, ...] = ()


def wrong_in_units(
    job: Generation, own: Sequence[ResolvedModel], catalog: Catalog, weights: Weights | None
) -> list[Problem]:
    """Return what is wrong with the names in the job's extensions, but for models that the job itself may fetch."""
    coming = {model.ref.ref for model in own}
    awaited = {
        job.path(f"adetailer[{index}].{name}")
        for index, unit in enumerate(job.adetailer or ())
        for name, ref in (("checkpoint", unit.checkpoint), ("vae", unit.vae))
        if ref is not None and ref.ref in coming
    }
    return [each for each in extension_units.problems_of(job, catalog, weights) if each.path not in awaited]


def indirect(job: Generation, store: ModelStore, catalog: Catalog) -> list[ResolvedModel]:
    """Return the models of this volume that a detector goes through: checked and held like the job's."""
    found: list[ResolvedModel] = []
    for named in extension_units.detector_models(job, catalog) if job.adetailer else ():
        place, folder = PurePath(named.filename), store.volume.folders[named.kind].absolute()
        if place.is_relative_to(folder):
            with contextlib.suppress(ValidationError):  # a file that no job could name: the WebUI alone knows it
                ref = ModelRef(name=place.relative_to(folder).as_posix())
                found.append(ResolvedModel(named.path, ref, named.kind))
    return found


def loras_of_passes(
    names: JobNames, catalog: Catalog, tags_known: Mapping[str, str]
) -> tuple[list[LorasOfPass], list[Problem]]:
    """Return the LoRAs that the prompts of passes name themselves, and what is wrong with their tags."""
    found: list[LorasOfPass] = []
    problems: list[Problem] = []
    for prompt in names.pass_prompts:
        own, wrong = lora_tags.tagged_loras([(prompt.path, prompt.text)], catalog, tags_known)
        found.append(LorasOfPass(prompt, own))
        problems += wrong
    return found, list(dict.fromkeys(problems))


def with_brought(passes: Sequence[LorasOfPass], job: Generation, chosen: Chosen) -> list[LorasOfPass]:
    """Return `passes` with the LoRAs that they take over from the job's prompt as it will be sent."""
    main = (*(lora for lora in chosen.tagged if lora.path == job.path("prompt")), *chosen.loras, *chosen.styled)
    return [replace(each, brought=main) if each.prompt.takes_main else each for each in passes]


def twice(passes: Sequence[LorasOfPass]) -> list[Problem]:
    """Return a problem for each LoRA that a pass's prompt names once more than once."""
    problems: list[Problem] = []
    for each in passes:
        problems += lora_tags.twice(each.own, ())
        for lora in each.own:
            other = next((one for one in each.brought if one.name == lora.name), None)
            if other is not None:
                message = f"LoRA {lora.name!r} is named twice (also at {other.path}, which is part of it)"
                problems.append(Problem(lora.path, f"{message}; name it once with one scale"))
    return list(dict.fromkeys(problems))


def by_checkpoint(
    passes: Sequence[LorasOfPass], job: Generation, checkpoint: Checkpoint, catalog: Catalog
) -> list[tuple[Checkpoint, list[ChosenLora]]]:
    """Return the checkpoints of the passes, each with the LoRAs that it gets there beside those of the job's prompt.

    Args:
        passes: With what they bring.
        job: The job.
        checkpoint: The one that makes its picture.
        catalog: What the WebUI lists.
    """
    units = job.adetailer or ()
    found: dict[str, tuple[Checkpoint, list[ChosenLora]]] = {}
    for each in passes:
        ref = units[each.prompt.unit].checkpoint
        row = (catalog.checkpoint_meant(ref.ref) if ref is not None else None) or checkpoint
        taken = () if row == checkpoint else (replace(lora, path=each.prompt.path) for lora in each.brought)
        loras = found.setdefault(row.title, (row, []))[1]
        loras += (lora for lora in (*each.own, *taken) if lora not in loras)
    return list(found.values())
