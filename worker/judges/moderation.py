"""Moderation: what the operator minds in a picture is flagged, blurred or refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from PIL import ImageFilter

from worker.errors import ImageCheckFailed
from worker.images.convert import encode, on_white
from worker.images.pixels import decoded
from worker.judges.judge import JudgeVerdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from worker.images.formats.picture import Picture
    from worker.judges.image_check import ImageCheck
    from worker.judges.judge import Judge

Action = Literal["flag", "blur", "refuse"]
DONE: dict[Action, str] = {"flag": "flagged", "blur": "blurred", "refuse": "refused"}
_CELLS = 8
"""A blurred picture has about so many patches across."""


class ModerationJudge:
    """Judge that rejects pictures by the scores of an image check.

    Args:
        check: Gives the scores.
        labels: Those that the operator minds.
        threshold: Score from which a picture is rejected.
    """

    name = "moderation"

    def __init__(self, check: ImageCheck, labels: Sequence[str], threshold: float) -> None:
        self._check = check
        self._labels = tuple(labels)
        self._threshold = threshold
        self.model = f"{type(check).__module__}:{type(check).__qualname__}"

    def look(self, image: Image.Image) -> JudgeVerdict:
        """Return the worst of the labels that matter, `label` in the details. Raises as the check does."""
        scores = self._check.look(image)
        label, score = max(((label, float(scores[label])) for label in self._labels), key=lambda one: one[1])
        return JudgeVerdict(score < self._threshold, score, {"label": label})


@dataclass(frozen=True, slots=True)
class FilteredPicture:
    """One picture after moderation.

    Attributes:
        picture: As it may be delivered; None: not at all.
        label: The label that the picture was rejected for; None: it was not.
        score: Of that label, 0 to 1.
    """

    picture: Picture | None
    label: str | None = None
    score: float = 0.0


class ModerationFilter:
    """Applies the operator's action to the pictures that a judge rejects. Blocking; to be called from any thread.

    Unlike with other judges, a picture that could not be judged is never delivered.

    Args:
        judge: Rejects pictures; `label` stands in the details of its verdicts.
        action: Applied to a rejected picture.
    """

    def __init__(self, judge: Judge, action: Action) -> None:
        self._judge = judge
        self.action: Action = action

    def apply(self, pictures: Sequence[Picture]) -> list[FilteredPicture]:
        """Return each picture as it may be delivered.

        Args:
            pictures: As made.

        Raises:
            ImageCheckFailed: the check did not work; nothing may be delivered.
        """
        verdicts = [self._verdict(picture) for picture in pictures]
        filtered = []
        for picture, verdict in zip(pictures, verdicts, strict=True):
            if verdict.accepted:
                filtered.append(FilteredPicture(picture))
            else:
                filtered.append(FilteredPicture(self._treated(picture), verdict.details["label"], verdict.score or 0.0))
        return filtered

    def _verdict(self, picture: Picture) -> JudgeVerdict:
        try:
            return self._judge.look(on_white(decoded(picture)))
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
