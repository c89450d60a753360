"""Samplers and schedulers as people write them, to names as A1111 v1.10 knows them.

A1111 takes an unknown sampler for its first one ("DPM++ 2M" with Karras) and an unknown scheduler for Automatic, both
silently; even the aliases that it lists itself (``k_euler_a``) are unknown to it. So every name is settled here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.common.suggestions import nearest
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SEPARATORS = re.compile(r"[\s_.,/()-]+")
"""Any other sign is part of a name: with one too many, a name is a typo and no spelling of another."""
_WORDS = (("++", "pp"), ("ancestral", "a"))
_PREFIXES = ("k", "sample")
_SUFFIXES = ("gpu", "sampler", "scheduler")
AUTOMATIC = "Automatic"


@dataclass(frozen=True, slots=True)
class Sampler:
    """A line of ``GET /sdapi/v1/samplers``: its name, other names, and the scheduler that Automatic means for it."""

    name: str
    aliases: tuple[str, ...] = ()
    scheduler: str | None = None

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Sampler:
        """Return the sampler of a listing's row."""
        options = row.get("options") or {}
        return cls(str(row["name"]), tuple(str(a) for a in row.get("aliases") or ()), options.get("scheduler"))


@dataclass(frozen=True, slots=True)
class Scheduler:
    """A line of ``GET /sdapi/v1/schedulers``."""

    name: str
    label: str
    aliases: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Scheduler:
        """Return the scheduler of a listing's row."""
        return cls(str(row["name"]), str(row["label"]), tuple(str(a) for a in row.get("aliases") or ()))


@dataclass(frozen=True, slots=True)
class Sampling:
    """A settled choice: names as A1111 lists them; None where the client said nothing."""

    sampler: str | None
    scheduler: str | None


NO_SAMPLING = Sampling(None, None)


def key(name: str) -> str:
    """Return `name` without what people vary: case, spaces, dashes, ``k_`` and ``sample_``, "ancestral" for "a"."""
    text = name.casefold()
    for word, short in _WORDS:
        text = text.replace(word, short)
    parts = [part for part in _SEPARATORS.split(text) if part]
    while len(parts) > 1 and parts[0] in _PREFIXES:
        parts.pop(0)
    while len(parts) > 1 and parts[-1] in _SUFFIXES:
        parts.pop()
    return "".join(parts)


class SamplerTable:
    """The samplers and schedulers of one running WebUI."""

    def __init__(self, samplers: Sequence[Sampler], schedulers: Sequence[Scheduler]) -> None:
        self.samplers = tuple(samplers)
        self.schedulers = tuple(schedulers)
        self._sampler_by_key: dict[str, Sampler] = {}
        self._scheduler_by_key: dict[str, Scheduler] = {}
        for sampler in samplers:
            for form in (sampler.name, *sampler.aliases):
                self._sampler_by_key.setdefault(key(form), sampler)
        for scheduler in schedulers:
            for form in (scheduler.name, scheduler.label, *scheduler.aliases):
                self._scheduler_by_key.setdefault(key(form), scheduler)

    def resolve(
        self,
        sampler: str | None,
        scheduler: str | None,
        *,
        sampler_path: str = "sampler_name",
        scheduler_path: str = "scheduler",
    ) -> tuple[Sampling, list[Problem]]:
        """Return the names A1111 knows, and what could not be settled.

        A scheduler inside the sampler's name (``DPM++ 2M Karras``) counts unless one is given beside it.
        """
        problems: list[Problem] = []
        found_sampler: Sampler | None = None
        found_scheduler: Scheduler | None = None
        if sampler:
            found_sampler, found_scheduler = self._split(sampler)
            if found_sampler is None:
                problems.append(self._unknown_sampler(sampler_path, sampler))
        if scheduler:
            found_scheduler = self._scheduler_by_key.get(key(scheduler))
            if found_scheduler is None:
                labels = [s.label for s in self.schedulers]
                problems.append(self._unknown(scheduler_path, "scheduler", scheduler, labels))
        return (
            Sampling(found_sampler.name if found_sampler else None, found_scheduler.label if found_scheduler else None),
            problems,
        )

    def effective(self, sampler: str, scheduler: str | None) -> str:
        """Return the label of the scheduler that A1111 will really use."""
        label = scheduler or AUTOMATIC
        if label == AUTOMATIC:
            own = next((s.scheduler for s in self.samplers if s.name == sampler), None)
            match = self._scheduler_by_key.get(key(own)) if own else None
            return match.label if match else AUTOMATIC
        return label

    def _split(self, text: str) -> tuple[Sampler | None, Scheduler | None]:
        whole = key(text)
        if whole in self._sampler_by_key:
            return self._sampler_by_key[whole], None
        # The longest scheduler first, so that "sgm_uniform" is not taken for "uniform".
        for form in sorted(self._scheduler_by_key, key=len, reverse=True):
            rest = whole.removesuffix(form)
            if rest != whole and rest in self._sampler_by_key:
                return self._sampler_by_key[rest], self._scheduler_by_key[form]
        return None, None

    def _unknown_sampler(self, path: str, value: str) -> Problem:
        listed = [s.name for s in self.samplers]
        problem = self._unknown(path, "sampler", value, listed)
        if problem.suggestion is not None:
            return problem
        joined = [f"{sampler} {scheduler.label}" for sampler in listed for scheduler in self.schedulers]
        return Problem(problem.path, problem.message, nearest(value, joined))

    @staticmethod
    def _unknown(path: str, what: str, value: str, known: list[str]) -> Problem:
        shown = value if len(value) <= 80 else value[:77] + "..."  # noqa: PLR2004 - a line's worth
        return Problem(path, f"unknown {what} {shown!r}; known: {', '.join(known)}", nearest(value, known))
