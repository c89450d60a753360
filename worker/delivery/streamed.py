"""Pictures that are streamed before their job is done, so that `deliver` need not process them again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.images.formats.picture import Picture


@dataclass(frozen=True, slots=True)
class StreamedPicture:
    """One picture on its way.

    Attributes:
        image: base64 or a URL; None where the client wants no pictures in answers.
        picture: As delivered.
        key: In the store.
        warnings: What the client should know.
    """

    image: str | None = field(repr=False)
    picture: Picture
    key: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class Streamed:
    """The part of a job's delivery that is done while the job still runs.

    Attributes:
        keeps: Whether what is converted is remembered: where the same pictures are delivered again.
        ready: Number → the picture as it is delivered.
        stored: Keys that are in the store.
    """

    keeps: bool = False
    ready: dict[int, Picture] = field(default_factory=dict)
    stored: set[str] = field(default_factory=set)
