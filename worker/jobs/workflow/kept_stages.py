"""Stages of a workflow that are kept on the volume, so that the job, handed out again, goes on where it ended."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from worker.jobs.cache.packed_results import BrokenResult, pack, unpack
from worker.recovery.kept_results import result_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from worker.jobs.results import Generated
    from worker.recovery.kept_results import KeptResults, ResultKey

_SEED = "seed"
_OUTCOME = "judged"


class KeptStages:
    """Kept results of one job by stage and number, for the very same input only. Blocking.

    Args:
        kept: The folder of kept answers.
        raw: The job as the platform handed it over.
    """

    def __init__(self, kept: KeptResults, raw: Mapping[str, Any]) -> None:
        self._kept = kept
        self._key: ResultKey | None = None
        if kept.on and raw.get("id"):
            try:
                self._key = result_key(raw)
            except (TypeError, ValueError, RecursionError):
                self._key = None  # no JSON, or too large to be told apart

    def find(self, stage: str, number: int) -> Generated | None:
        """Return the result of a stage for the picture of that number, None where it has to be made."""
        data = self._kept.find_part(self._key, _part(stage, str(number))) if self._key is not None else None
        if data is None:
            return None
        try:
            result, more = unpack(data)
        except BrokenResult:
            return None
        checks = more.get("checks")
        return replace(result, judging=more.get("judging") or {}, checks=None if checks is None else tuple(checks))

    def keep(self, stage: str, number: int, result: Generated) -> None:
        """Keep a result."""
        if self._key is not None:
            checks = None if result.checks is None else list(result.checks)
            data = pack(result, judging=dict(result.judging), checks=checks)
            self._kept.keep_part(self._key, _part(stage, str(number)), data)

    def find_outcome(self, stage: str) -> dict[str, Any] | None:
        """Return the outcome of a judge stage, None where its pictures have to be judged."""
        data = self._kept.find_part(self._key, _part(stage, _OUTCOME)) if self._key is not None else None
        try:
            told = orjson.loads(data) if data is not None else None
        except orjson.JSONDecodeError:
            return None
        return told if isinstance(told, dict) and {"judged", "checks", "warnings", "average"} <= told.keys() else None

    def keep_outcome(self, stage: str, told: Mapping[str, Any]) -> None:
        """Keep the outcome of a judge stage: later stages are kept by the places of the pictures that it chose."""
        if self._key is not None:
            self._kept.keep_part(self._key, _part(stage, _OUTCOME), orjson.dumps(told))

    def seed(self, drawn: int) -> int:
        """Return the random seed with which the job was begun, `drawn` where it begins now."""
        if self._key is None:
            return drawn
        data = self._kept.find_part(self._key, _SEED)
        if data is not None:
            try:
                return int(orjson.loads(data))
            except (orjson.JSONDecodeError, TypeError, ValueError):
                return drawn
        self._kept.keep_part(self._key, _SEED, orjson.dumps(drawn))
        return drawn


def _part(stage: str, what: str) -> str:
    """Return the name of a part: of any two names of stages that a file system would take for one, each has its own."""
    return f"{hashlib.sha256(stage.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}-{what}"
