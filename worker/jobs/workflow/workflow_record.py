"""Record of a workflow in the store, beside its pictures: what `continue` needs to run the stages that are left."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from worker.common.clock import running
from worker.contract.rules.stage_fields import pictures_left_out
from worker.contract.types.model_ref import LoraRef
from worker.storage.keys import folder
from worker.storage.store_errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.types.composed.workflow import Continue, Workflow
    from worker.jobs.workflow.stage_jobs import StagePicture
    from worker.storage.object_store import Store

_NAME = "workflow.json"
_LARGEST = 16 * 1024 * 1024
_STORE_S = 20.0
_SECRET = "token"  # noqa: S105 - the name of the field


@dataclass(frozen=True, slots=True)
class RecordedPicture:
    """A picture that a workflow has stored, and what later stages need to know about it.

    Attributes:
        key: In the store.
        seed, number, copied: See `StagePicture`.
    """

    key: str
    seed: int
    number: int
    copied: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkflowRecord:
    """Record of the pictures that a workflow has stored.

    Attributes:
        stage: The last stage that was run.
        definition: All stages as they were written, and the defaults of their fields.
        pictures: Of that stage, in order.
    """

    stage: str
    definition: Mapping[str, Any]
    pictures: tuple[RecordedPicture, ...]

    def to_json(self) -> bytes:
        """Return the record as it is stored: without tokens, and without pictures of the client's."""
        pictures = [
            {"key": one.key, "seed": one.seed, "number": one.number, "drawn": _copied_to_json(one.copied)}
            for one in self.pictures
        ]
        told = {"stage": self.stage, "workflow": _open(pictures_left_out(self.definition)), "pictures": pictures}
        return orjson.dumps(told, option=orjson.OPT_INDENT_2)


def record_of(
    job: Workflow | Continue, stage: str, pictures: Sequence[StagePicture], keys: Sequence[str]
) -> WorkflowRecord:
    """Return the record of a workflow whose last pictures are stored under `keys`."""
    stored = tuple(
        RecordedPicture(key, one.seed, one.number, one.copied) for one, key in zip(pictures, keys, strict=True)
    )
    return WorkflowRecord(stage, job.definition, stored)


def write_record(store: Store, job_id: str, record: WorkflowRecord) -> None:
    """Store the record of a job. Blocking; raises StoreError."""
    store.put(
        _key(store.target.prefix, job_id),
        record.to_json(),
        content_type="application/json",
        metadata={},
        deadline=running() + _STORE_S,
        linked=False,
    )


def read_record(store: Store, job_id: str) -> WorkflowRecord | None:
    """Return the record of a job, None where there is none that can be read. Blocking; raises StoreError."""
    try:
        data = store.get(_key(store.target.prefix, job_id), deadline=running() + _STORE_S, most=_LARGEST)
    except StoreError as error:
        if error.failure.status == 404:  # noqa: PLR2004 - HTTP's own
            return None
        raise
    try:
        told = orjson.loads(data)
        pictures = tuple(
            RecordedPicture(str(one["key"]), int(one["seed"]), int(one["number"]), copied_from_json(one["drawn"]))
            for one in told["pictures"]
        )
        return WorkflowRecord(str(told["stage"]), dict(told["workflow"]), pictures)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None


def copied_from_json(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the copied fields of a picture, typed. Raises ValueError for a LoRA that is none."""
    copied = {name: str(told[name]) for name in ("prompt", "negative_prompt") if told.get(name) is not None}
    loras = told.get("loras")
    return {**copied, **({"loras": [LoraRef.model_validate(one) for one in loras]} if loras else {})}


def _copied_to_json(copied: Mapping[str, Any]) -> dict[str, Any]:
    told = dict(copied)
    if copied.get("loras"):
        told["loras"] = [lora.model_dump(mode="json", exclude={_SECRET}, exclude_none=True) for lora in copied["loras"]]
    return told


def _open(value: Any) -> Any:
    """Return `value` without tokens."""
    if isinstance(value, dict):
        return {name: _open(part) for name, part in value.items() if name != _SECRET}
    if isinstance(value, list):
        return [_open(part) for part in value]
    return value


def _key(prefix: str, job_id: str) -> str:
    return f"{folder(prefix, job_id)}/{_NAME}"
