"""One model to bring, and with what: the words that those who fetch pass to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.contract.types.model_ref import ModelRef
    from worker.models.choose import Choice
    from worker.models.flight import Flight
    from worker.models.inventory import Inventory
    from worker.models.lease import Lease
    from worker.models.marks import Marks
    from worker.models.pace import Pace
    from worker.models.sources import Sources
    from worker.models.space import Space


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be fetched, and how hard is tried.

    Attributes:
        allow_pickle: Formats that can run code are allowed.
        max_bytes: The longest file.
        pace: Connections and retries.
        jitter: A factor for waits, about 1.
    """

    allow_pickle: bool
    max_bytes: int
    pace: Pace
    jitter: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Means:
    """With what models are brought onto one volume.

    Attributes:
        inventory: What is there.
        marks: Keeps what has just come from being removed.
        space: Makes room.
        sources: Where models come from.
        rules: What may be fetched.
        owner: This process, in the names of its partial files.
    """

    inventory: Inventory
    marks: Marks
    space: Space
    sources: Sources
    rules: Rules
    owner: str


@dataclass(frozen=True, slots=True)
class Order:
    """One model to bring.

    Attributes:
        choice: What is wanted and where it is.
        ref: As the client wrote it: its hash and token count.
        path: The field in the job, for errors.
        flight: Told how far it is; can stop it.
        lease: The right to fetch it; None where there are no leases.
    """

    choice: Choice
    ref: ModelRef
    path: str
    flight: Flight
    lease: Lease | None

    @property
    def at(self) -> str:
        """How an error's message begins."""
        return f"{self.path}: " if self.path else ""
