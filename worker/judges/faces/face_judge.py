"""The judge of faces: does a picture show the person of the references?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.judges.faces.enrolment import DEFAULT_THRESHOLD
from worker.judges.judge import JudgeVerdict

if TYPE_CHECKING:
    from PIL import Image

    from worker.judges.faces.embedding import EmbeddedFace, FaceAnalyser
    from worker.judges.faces.enrolment import Against, FaceReferences


@dataclass(frozen=True, slots=True)
class FaceComparison:
    """The face of a picture that is most like the references.

    Attributes:
        similarity: -1 to 1; None: there is no face.
        faces: Faces in the picture.
        best: None: there is no face.
    """

    similarity: float | None
    faces: int
    best: EmbeddedFace | None = None

    def to_json(self) -> dict[str, Any]:
        """Return ``{similarity, faces, box?}``."""
        if self.best is None or self.similarity is None:
            return {"similarity": None, "faces": self.faces}
        box = [round(value) for value in self.best.found.box]
        return {"similarity": round(self.similarity, 4), "faces": self.faces, "box": box}


def compare(
    references: FaceReferences, image: Image.Image, analyser: FaceAnalyser, against: Against = "mean"
) -> FaceComparison:
    """Return how like the references the faces of an upright RGB picture are."""
    faces = analyser.find(image)
    if not faces:
        return FaceComparison(None, 0)
    rated = [(references.similarity(face.vector, against), face) for face in faces]
    similarity, best = max(rated, key=lambda one: one[0])
    return FaceComparison(similarity, len(faces), best)


class FaceJudge:
    """Judge that accepts pictures with a face like the references'.

    Args:
        references: Of the person.
        analyser: The models that made the references.
        threshold: Least similarity; None: the references' own, else `DEFAULT_THRESHOLD`.
        against: The mean of the references, the most or the least similar one.
    """

    name = "face"

    def __init__(
        self,
        references: FaceReferences,
        analyser: FaceAnalyser,
        threshold: float | None = None,
        against: Against = "mean",
    ) -> None:
        own = DEFAULT_THRESHOLD if references.threshold is None else references.threshold
        self._references = references
        self._analyser = analyser
        self._threshold = own if threshold is None else threshold
        self._against: Against = against
        self.model = f"sha256:{analyser.identity.embedder}"

    def look(self, image: Image.Image) -> JudgeVerdict:
        """Return the similarity of the best face as the score; ``{similarity, faces, box?}`` as the details."""
        found = compare(self._references, image, self._analyser, self._against)
        if found.similarity is None:
            return JudgeVerdict(accepted=False, details=found.to_json(), why="no face")
        if found.similarity >= self._threshold:
            return JudgeVerdict(accepted=True, score=found.similarity, details=found.to_json())
        why = f"face {found.similarity:.2f} like {self._references.name}, at least {self._threshold:g} is asked for"
        return JudgeVerdict(accepted=False, score=found.similarity, details=found.to_json(), why=why)
