"""The plug-in point: what looks at a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL import Image


class ImageCheck(Protocol):
    """Looks at pictures; called by several threads at once.

    An operator's own is named by ``IMAGE_CHECK=package.module:factory``; `factory` is called once with the worker's
    settings.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """What it can tell."""

    def look(self, image: Image.Image) -> Mapping[str, float]:
        """Return a score from 0 to 1 for each label. Whatever it raises keeps the picture from being delivered."""
