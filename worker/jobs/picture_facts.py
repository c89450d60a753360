"""Facts about each picture of a result: its row in the answer, its name in a store, and its JSON file. Pure.

The file's `job` is the plain job that makes this one picture again: everything that was drawn, composed or looked up
stands in it as it came out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from worker.contract.types.composed.tiles import TILE_FIELDS
from worker.contract.types.model_ref import ModelRef
from worker.contract.types.picture_ref import source_of
from worker.storage.keys import KeyFields
from worker.webui.request.body import with_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from worker.contract.types.job import Generation, Job
    from worker.contract.types.kinds import Img2Img, Upscale
    from worker.images.formats.picture import Picture
    from worker.jobs.prepare.model_preparation import PreparedModels
    from worker.jobs.prepare.resolved_models import ResolvedModel
    from worker.jobs.results import Generated
    from worker.webui.names.name_resolver import Chosen

SCHEMA = "a1111-worker/picture/1"
_LEFT_OUT = frozenset(
    {"output", "batch_size", "n_iter", "seeds", "prompts", "wildcards", "pool", "plot", "recommended"}
)
"""Fields that say how many pictures are made and how they are delivered, or that are settled in the others."""
_DELIVERED = ("format", "quality", "lossless")
_PICTURE_FIELDS = frozenset({"init_images", "mask", "image", "effective_region_mask"})
_FILE_WORDS = ("?", "@")
"""Signs of an address that may hold a secret."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts about one picture.

    Attributes:
        stage: The kind of job, or the stage of a workflow, that made it.
        seed: Its own; None: nothing was drawn.
        prompt, negative_prompt: As drawn; None: there was none.
        loras: ``{name, scale, base_model, sha256}`` each.
        checkpoint: None: none was used.
        width, height: Pixels, as made.
        more: The other facts of its file.
        job: The job that makes it again; empty: none can.
        brought: The pictures in `job` that the client sent as they are, by their field.
        cell: Of a plot: the value on each axis.
    """

    stage: str
    width: int
    height: int
    seed: int | None = None
    prompt: str | None = None
    negative_prompt: str | None = None
    loras: Sequence[Mapping[str, Any]] = ()
    checkpoint: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    job: Mapping[str, Any] = field(default_factory=dict)
    brought: Sequence[str] = ()
    cell: Mapping[str, Any] | None = None

    def row(self, index: int) -> dict[str, Any]:
        """Return its row in the answer's `pictures`."""
        return {
            "index": index,
            "seed": self.seed,
            "prompt": self.prompt,
            "loras": [{name: value for name, value in lora.items() if name != "sha256"} for lora in self.loras],
            "checkpoint": self.checkpoint,
            "size": {"width": self.width, "height": self.height},
            **({"cell": dict(self.cell)} if self.cell is not None else {}),
        }

    def name(self, job_id: str, number: int, started: datetime) -> KeyFields:
        """Return the values that name it in a store."""
        return KeyFields(job_id, number, self.seed or 0, self.stage, self.checkpoint or "", started)

    def document(self, job_id: str, index: int, versions: Mapping[str, Any], *, whole: bool) -> dict[str, Any]:
        """Return its JSON file.

        Args:
            job_id: The platform's.
            index: Its place in the job.
            versions: Of the worker and the WebUI.
            whole: With the pictures that the client sent; without them, `job_lacks` names their fields.
        """
        lacking = {} if whole or not self.brought else {"job_lacks": list(self.brought)}
        return {
            "schema": SCHEMA,
            "job_id": job_id,
            **self.row(index),
            "negative_prompt": self.negative_prompt,
            "loras": [dict(lora) for lora in self.loras],
            "stage": self.stage,
            **self.more,
            "versions": dict(versions),
            "job": dict(self.job) if whole else _without_pictures(self.job),
            **lacking,
        }


def facts_of_generation(
    job: Generation, models: PreparedModels, result: Generated, *, repeatable: bool
) -> tuple[ImageFacts, ...]:
    """Return the facts about the pictures that a plain job made.

    Args:
        job: As it was generated: one prompt, one seed, recommendations filled in.
        models: Its models.
        result: Its pictures, proven to be what was asked for.
        repeatable: With the job that makes each of them again.
    """
    chosen, applied = models.chosen, result.applied
    files = {each.file.name: each.file for each in models.models if each.file is not None and each.kind == "lora"}
    loras = [
        {**lora, "sha256": files[lora["name"]].sha256 if lora["name"] in files else None} for lora in applied["loras"]
    ]
    more = {"models": _models(applied, models), "stages": _stages(job, applied)}
    facts = []
    for index, (picture, seed) in enumerate(zip(result.pictures, result.seeds, strict=False)):
        again, brought = _again(job, models, index, seed, result.info) if repeatable else ({}, [])
        facts.append(
            ImageFacts(
                stage=job.kind,
                width=picture.width,
                height=picture.height,
                seed=seed,
                prompt=with_words(job.prompt, chosen),
                negative_prompt=job.negative_prompt,
                loras=loras,
                checkpoint=applied["checkpoint"],
                more={**more, "parameters": picture.infotext},
                job=again,
                brought=brought,
            )
        )
    return tuple(facts)


def facts_of_upscale(job: Job, picture: Picture, applied: Mapping[str, Any]) -> ImageFacts:
    """Return the facts about a picture that was made larger."""
    fields = _client_fields(job)
    stage = {"type": job.kind, "upscalers": list(applied["upscalers"])}
    return ImageFacts(
        stage=job.kind,
        width=picture.width,
        height=picture.height,
        more={"models": {}, "stages": [stage], "parameters": picture.infotext},
        job={"type": job.kind, **fields, **_delivered(job)},
        brought=_brought(fields),
    )


def facts_of_redraw(job: Img2Img | Upscale, drawn: Generated) -> ImageFacts:
    """Return the facts about a picture that was redrawn tile by tile.

    Args:
        job: As the client sent it, with `tiles`.
        drawn: The picture, with the facts about its first tile, if one was redrawn.
    """
    (picture,) = drawn.pictures
    fields = _client_fields(job)
    tile = drawn.facts[0] if drawn.facts else ImageFacts(stage=job.kind, width=picture.width, height=picture.height)
    settled = {name: tile.job[name] for name in TILE_FIELDS if name in tile.job}
    stages = [*tile.more.get("stages", ()), {"type": "tiles", **drawn.applied["tiles"]}]
    return replace(
        tile,
        stage=job.kind,
        width=picture.width,
        height=picture.height,
        more={**tile.more, "stages": stages, "parameters": picture.infotext},
        job={"type": job.kind, **fields, **settled, **_delivered(job)},
        brought=_brought(fields),
    )


def _models(applied: Mapping[str, Any], models: PreparedModels) -> dict[str, Any]:
    """Return the models beside LoRAs, each with its name and, where known, its SHA-256 or the beginning of it."""
    hashes = {each.file.name: each.file.sha256 for each in models.models if each.file is not None}
    named = {
        "vae": applied.get("vae"),
        "refiner": (applied.get("refiner") or {}).get("checkpoint"),
        "hires_checkpoint": (applied.get("hires") or {}).get("checkpoint"),
    }
    checkpoint = {
        "name": applied["checkpoint"],
        "sha256": models.chosen.checkpoint_sha256 or applied["checkpoint_hash"],
    }
    others = {
        role: {"name": name, "sha256": hashes.get(str(name).rpartition(".")[0] or name)}
        for role, name in named.items()
        if name and name != "None"
    }
    embeddings = [{"name": name, "sha256": hashes.get(name)} for name in applied.get("embeddings") or ()]
    return {"checkpoint": checkpoint, **others, **({"embeddings": embeddings} if embeddings else {})}


def _stages(job: Generation, applied: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the passes that made a picture, in order."""
    first = {"type": job.kind, **{name: applied.get(name) for name in ("sampler", "scheduler", "clip_skip")}}
    units = [{"type": "adetailer", **unit} for unit in applied.get("adetailer") or ()]
    hires = [{"type": "hires", **applied["hires"]}] if applied.get("hires") else []
    return [first, *hires, *units]


def _again(
    job: Generation, models: PreparedModels, index: int, seed: int, info: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return the job that makes one picture again, and the fields with pictures that the client sent."""
    chosen = models.chosen
    by_path = {each.path: each for each in models.models}
    fields = _client_fields(job)
    fields["prompt"] = with_words(job.prompt, chosen)
    if fields.get("hr_prompt"):
        fields["hr_prompt"] = with_words(fields["hr_prompt"], chosen)
    fields |= _model_fields(job, by_path)
    fields.setdefault("checkpoint", chosen.checkpoint.place)
    if job.loras:
        fields["loras"] = _lora_fields(job, chosen, by_path)
    fields["seed"] = seed
    subseeds = info.get("all_subseeds")
    if job.subseed_strength and isinstance(subseeds, list) and index < len(subseeds):
        fields["subseed"] = subseeds[index]
    return {"type": job.kind, **fields, **_delivered(job)}, _brought(fields)


def _client_fields(job: Job) -> dict[str, Any]:
    """Return the fields that a client set and that shape the picture, as JSON."""
    shaping = {
        name
        for name, about in type(job).model_fields.items()
        if name in job.model_fields_set
        and name not in _LEFT_OUT
        and isinstance(about.json_schema_extra, dict)
        and about.json_schema_extra.get("group") != "job"
    }
    return job.model_dump(mode="json", include=shaping, exclude_unset=True, exclude_none=True)


def _model_fields(job: Generation, by_path: Mapping[str, ResolvedModel]) -> dict[str, Any]:
    """Return the fields that name models other than LoRAs."""
    found: dict[str, Any] = {}
    for name in job.model_fields_set:
        value = getattr(job, name)
        if isinstance(value, ModelRef):
            found[name] = _reference(value, by_path.get(job.path(name)))
    if job.embeddings:
        path = job.path("embeddings")
        found["embeddings"] = [
            _reference(ref, by_path.get(f"{path}[{index}]")) for index, ref in enumerate(job.embeddings)
        ]
    return found


def _lora_fields(job: Generation, chosen: Chosen, by_path: Mapping[str, ResolvedModel]) -> list[dict[str, Any]]:
    path, settled = job.path("loras"), {lora.path: lora.scale for lora in chosen.loras}
    found = []
    for index, ref in enumerate(job.loras or ()):
        place = f"{path}[{index}]"
        scale = settled.get(place, ref.fixed_scale)
        # The words stand in the prompt already.
        found.append({**_reference(ref, by_path.get(place)), "scale": scale, "trigger_words": False})
    return found


def _reference(ref: ModelRef, model: ResolvedModel | None) -> dict[str, Any]:
    """Return a model as a job names it: no tokens, no addresses that may hold one, its hash where it is known."""
    file = model.file if model is not None else None
    told = {name: getattr(ref, name) for name in ("name", "url", "revision")}
    clean = {name: value for name, value in told.items() if value and not any(sign in value for sign in _FILE_WORDS)}
    if file is not None and "name" not in clean and "url" not in clean:
        clean["name"] = file.file
    if not clean.keys() & {"name", "url"}:
        clean["name"] = ref.shown
    digest = file.sha256 if file is not None else ref.sha256
    return {**clean, **({"sha256": digest} if digest else {})}


def _delivered(job: Job) -> dict[str, Any]:
    """Return the part of `output` that shapes the picture's bytes."""
    set_there = {name: getattr(job.output, name) for name in _DELIVERED}
    kept = {name: value for name, value in set_there.items() if value is not None}
    return {"output": kept} if kept else {}


def _brought(fields: Mapping[str, Any]) -> list[str]:
    """Return the places of pictures that were sent themselves, not by an address."""
    return [path for path, _ in _pictures_in(fields, "")]


def _pictures_in(value: Any, path: str, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(path, value)] if name in _PICTURE_FIELDS and source_of(value) in ("base64", "data") else []
    if isinstance(value, dict):
        inner = [_pictures_in(part, f"{path}.{key}".lstrip("."), key) for key, part in value.items()]
    elif isinstance(value, list):
        inner = [_pictures_in(part, f"{path}[{index}]", name) for index, part in enumerate(value)]
    else:
        inner = []
    return [found for part in inner for found in part]


def _without_pictures(value: Any, name: str = "") -> Any:
    """Return `value` without the pictures that were sent themselves."""
    if isinstance(value, dict):
        kept = {key: _without_pictures(part, key) for key, part in value.items()}
        return {key: part for key, part in kept.items() if part is not None}
    if isinstance(value, list):
        kept_items = [_without_pictures(part, name) for part in value]
        return [part for part in kept_items if part is not None]
    is_picture = isinstance(value, str) and name in _PICTURE_FIELDS and source_of(value) in ("base64", "data")
    return None if is_picture else value
