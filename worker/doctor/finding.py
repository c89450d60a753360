"""One line of the doctor's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Grade = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding: its subject, its state, the observation, and the remedy if there is a problem."""

    what: str
    state: Grade
    seen: str
    fix: str = ""
