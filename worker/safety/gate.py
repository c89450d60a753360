"""What is done about what a check sees: flag, blur, or refuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from PIL import ImageFilter

from worker.errors import ImageCheckFailed
from worker.images.convert import encode, on_white
from worker.images.pixels import decoded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.images.formats.picture import Picture
    from worker.safety.check import ImageCheck

Action = Literal["flag", "blur", "refuse"]
DONE: dict[Action, str] = {"flag": "flagged", "blur": "blurred", "refuse": "refused"}
_CELLS = 8
"""A blurred picture has about so many patches across."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One picture after the check.

    Attributes:
        picture: As it may be delivered; None: not at all.
        label: What was seen; None: nothing.
        score: How surely, 0 to 1.
    """

    picture: Picture | None
    label: str | None = None
    score: float = 0.0


class Gate:
    """Judges pictures. Blocking; to be called from any thread.

    Args:
        check: Looks at them.
        labels: What matters of what it tells.
        threshold: The score from which it does.
        action: What is done then.
    """

    def __init__(self, check: ImageCheck, labels: Sequence[str], threshold: float, action: Action) -> None:
        self._check = check
        self._labels = tuple(labels)
        self._threshold = threshold
        self.action: Action = action

    def judge(self, pictures: Sequence[Picture], *, together: bool = False) -> list[Judged]:
        """Return what becomes of each picture.

        Args:
            pictures: As made.
            together: One shows parts of another (a script's grid): what is done to one is done to all.

        Raises:
            ImageCheckFailed: the check did not work; nothing may be delivered.
        """
        seen = [self._seen(picture) for picture in pictures]
        worst = max(seen, key=lambda one: one[1], default=("", 0.0))
        judged = []
        for picture, (label, score) in zip(pictures, seen, strict=True):
            found, surely = worst if together else (label, score)
            if surely < self._threshold:
                judged.append(Judged(picture))
            else:
                judged.append(Judged(self._treated(picture), found, surely))
        return judged

    def _seen(self, picture: Picture) -> tuple[str, float]:
        """Return the label that matters with the highest score."""
        try:
            scores = self._check.look(on_white(decoded(picture)))
            return max(((label, float(scores[label])) for label in self._labels), key=lambda one: one[1])
        except Exception as error:  # whatever a plug-in raises: a picture that was not judged is never delivered
            raise ImageCheckFailed(
                f"the image check did not work ({type(error).__name__}); nothing is delivered"
            ) from error

    def _treated(self, picture: Picture) -> Picture | None:
        if self.action == "refuse":
            return None
        return picture if self.action == "flag" else blurred(picture)


def blurred(picture: Picture) -> Picture:
    """Return `picture` as patches of colour of which nothing can be recognised or restored; its notes stay."""
    plain = on_white(decoded(picture))
    across = max(1, min(_CELLS, plain.width))
    down = max(1, min(_CELLS, plain.height))
    patches = plain.reduce((max(1, plain.width // across), max(1, plain.height // down)))
    soft = patches.resize(plain.size).filter(ImageFilter.GaussianBlur(max(plain.size) / _CELLS / 2))
    return encode(soft, picture.format, infotext=picture.infotext)
