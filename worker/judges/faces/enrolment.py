"""References of a person: enrolled from pictures, kept in a small JSON file, compared with the faces of others."""

from __future__ import annotations

import base64
import binascii
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.judges.faces.embedding import LENGTH, ModelIdentity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from worker.judges.faces.embedding import EmbeddedFace, FaceAnalyser

Against = Literal["mean", "best", "worst"]
DEFAULT_THRESHOLD = 0.45
"""Least similarity to the mean of the references; SFace's authors' own, for pairs, is 0.363."""
SMALLEST_FACE = 40
"""Pixels; a smaller face says too little about a person."""
VERSION = 1


class ReferencesUnusable(Exception):
    """Pictures can't be enrolled, or a file of references can't be used.

    Args:
        message: Says why.
        mistakes: Name of a picture → what is wrong with it.
    """

    def __init__(self, message: str, mistakes: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.mistakes = dict(mistakes or {})


@dataclass(frozen=True, slots=True)
class FaceReference:
    """One picture of a person.

    Attributes:
        file: Its name.
        sha256: Of the file.
        box: Of the face in it: left, top, width and height, pixels.
        score: Of the detector.
        vector: 128 numbers of length 1.
    """

    file: str
    sha256: str
    box: tuple[float, float, float, float]
    score: float
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FaceReferences:
    """The references of one person.

    Attributes:
        name: The person's, or character's.
        model: The models that made the vectors.
        members: At least one.
        threshold: Least similarity for this person; None: `DEFAULT_THRESHOLD`.
        remarks: For the person who enrols.
    """

    name: str
    model: ModelIdentity
    members: tuple[FaceReference, ...]
    threshold: float | None = None
    remarks: tuple[str, ...] = ()

    def similarity(self, vector: NDArray[np.float32], against: Against = "mean") -> float:
        """Return the cosine of a face's vector and the references, -1 to 1."""
        vectors = np.stack([member.vector for member in self.members])
        if against == "mean":
            return float(normalised(vectors.mean(axis=0)) @ vector)
        each = vectors @ vector
        return float(each.max() if against == "best" else each.min())

    def to_json(self) -> str:
        """Return the content of the references' file."""
        file = _ReferencesFile(
            version=VERSION,
            name=self.name,
            model=_ModelRecord(**asdict(self.model)),
            threshold=self.threshold,
            references=[
                _MemberRecord(
                    file=member.file,
                    sha256=member.sha256,
                    box=member.box,
                    score=round(member.score, 4),
                    vector=base64.b64encode(member.vector.astype("<f4").tobytes()).decode(),
                )
                for member in self.members
            ],
        )
        return file.model_dump_json(indent=1) + "\n"


class _StrictRecord(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _ModelRecord(_StrictRecord):
    detector: str
    embedder: str
    align: str
    colour: str
    length: int


class _MemberRecord(_StrictRecord):
    file: str
    sha256: str
    box: tuple[float, float, float, float]
    score: float
    vector: str


class _ReferencesFile(_StrictRecord):
    version: Literal[1]
    name: str
    model: _ModelRecord
    threshold: float | None = Field(None, ge=0, le=1)
    references: list[_MemberRecord] = Field(min_length=1)


def read_references(text: str | bytes, model: ModelIdentity) -> FaceReferences:
    """Return the references in a file's content.

    Raises:
        ReferencesUnusable: it is no such file, or made with other models than `model`.
    """
    try:
        file = _ReferencesFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ReferencesUnusable(f"is no file of references ({place or 'JSON'}: {first['msg']})") from None
    if ModelIdentity(**file.model.model_dump()) != model:
        raise ReferencesUnusable("was made with other models than this worker has; enrol the pictures again")
    members = tuple(
        FaceReference(one.file, one.sha256, one.box, one.score, _vector(one.vector)) for one in file.references
    )
    return FaceReferences(file.name, model, members, file.threshold)


def _vector(text: str) -> NDArray[np.float32]:
    try:
        vector = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").astype(np.float32)
    except (binascii.Error, ValueError):
        raise ReferencesUnusable("has a vector that is no base64 of numbers") from None
    if vector.size != LENGTH or not np.isfinite(vector).all() or not np.any(vector):
        raise ReferencesUnusable(f"has a vector that is not {LENGTH} numbers")
    return normalised(vector)


def enrol(
    name: str,
    pictures: Sequence[tuple[str, str, Image.Image]],
    analyser: FaceAnalyser,
    *,
    threshold: float | None = None,
) -> FaceReferences:
    """Return the references of a person.

    Args:
        name: The person's.
        pictures: File name, SHA-256 and upright RGB pixels of each; the largest face of each counts.
        analyser: Finds and embeds the faces.
        threshold: Least similarity of a picture to the mean of the others; None: `DEFAULT_THRESHOLD`.

    Raises:
        ReferencesUnusable: a picture has no face, one that is too small, or somebody else's.
    """
    if not pictures:
        raise ReferencesUnusable("there is no picture to enrol")
    mistakes: dict[str, str] = {}
    remarks: list[str] = []
    members: list[FaceReference] = []
    for file, digest, image in pictures:
        faces = sorted(analyser.find(image), key=lambda face: face.found.side, reverse=True)
        if not faces:
            mistakes[file] = "has no face"
        elif faces[0].found.side < SMALLEST_FACE:
            mistakes[file] = f"has a face of {faces[0].found.side:.0f} pixels; at least {SMALLEST_FACE} are needed"
        else:
            if len(faces) > 1:
                remarks.append(f"{file} has {len(faces)} faces; the largest is taken")
            members.append(_member(file, digest, faces[0]))
    mistakes |= strangers(members, DEFAULT_THRESHOLD if threshold is None else threshold)
    if mistakes:
        said = "; ".join(f"{file} {why}" for file, why in mistakes.items())
        raise ReferencesUnusable(f"can't be enrolled: {said}", mistakes)
    return FaceReferences(name, analyser.identity, tuple(members), threshold, tuple(remarks))


def largest_face(file: str, digest: str, image: Image.Image, analyser: FaceAnalyser) -> FaceReference | None:
    """Return the largest face of a picture as a reference; None where there is none that is large enough."""
    face = max(analyser.find(image), key=lambda one: one.found.side, default=None)
    return None if face is None or face.found.side < SMALLEST_FACE else _member(file, digest, face)


def strangers(members: Sequence[FaceReference], threshold: float) -> dict[str, str]:
    """Return the members that are somebody else by the mean of the rest, the farthest first, with the reason."""
    found: dict[str, str] = {}
    left = list(members)
    while len(left) > 1:
        similarities = [
            float(normalised(np.mean([other.vector for other in left if other is not one], axis=0)) @ one.vector)
            for one in left
        ]
        lowest = min(similarities)
        if lowest >= threshold:
            break
        if len(left) == 2:  # noqa: PLR2004 - neither of two can be told to be the right one
            found |= dict.fromkeys(
                (one.file for one in left), f"is not like the other picture: {lowest:.2f}, at least {threshold:g}"
            )
            break
        stranger = left.pop(similarities.index(lowest))
        found[stranger.file] = f"shows somebody else: {lowest:.2f} like the others, at least {threshold:g}"
    return found


def _member(file: str, digest: str, face: EmbeddedFace) -> FaceReference:
    left, top, width, height = (round(value, 1) for value in face.found.box)
    return FaceReference(file, digest, (left, top, width, height), face.found.score, face.vector)


def normalised(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `vector` with length 1."""
    unit: NDArray[np.float32] = (vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32)
    return unit
