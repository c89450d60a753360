"""Face embedding with SFace: an aligned face becomes 128 numbers whose cosine says how alike two faces are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from worker.judges.faces.detection import DetectedFace, FaceDetector
from worker.judges.onnx_session import OnnxUnusable, file_sha256, first_line, open_session

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 112
LENGTH = 128
ALIGNMENT = "arcface112/1"
COLOUR = "rgb255"
TEMPLATE: NDArray[np.float32] = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)],
    dtype=np.float32,
)
"""Places of the five landmarks in an aligned face of 112x112 pixels."""
_MARGIN = 8
"""Pixels of an aligned face that are kept around it for the interpolation."""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """The models and the alignment that a vector belongs to; vectors of different ones can't be compared.

    Attributes:
        detector: SHA-256 of the file.
        embedder: SHA-256 of the file.
        align: Version of the alignment.
        colour: Order and range of the colours that the embedder is given.
        length: Numbers of a vector.
    """

    detector: str
    embedder: str
    align: str = ALIGNMENT
    colour: str = COLOUR
    length: int = LENGTH


@dataclass(frozen=True, slots=True)
class EmbeddedFace:
    """A face that was found, and its vector.

    Attributes:
        found: Where it is.
        vector: 128 numbers of length 1.
        norm: Length of the vector before it was normalised; small for a face that can't be recognised.
    """

    found: DetectedFace
    vector: NDArray[np.float32]
    norm: float


class FaceAnalyser:
    """Finds the faces in a picture and embeds them; several threads may use one.

    Args:
        detector: The file of the detector.
        embedder: The file of the embedder.

    Raises:
        OnnxUnusable: one can't be run; names the setting.
    """

    def __init__(self, detector: Path, embedder: Path) -> None:
        try:
            self._detector = FaceDetector(detector)
        except OnnxUnusable as error:
            raise OnnxUnusable(f"FACE_DETECTOR={str(detector)!r}: {error}") from None
        try:
            self._session = open_session(embedder, threads=1, extra="faces")
            self._input = self._session.get_inputs()[0].name
            self._embedded(Image.new("RGB", (SIDE, SIDE), "grey"))
            self.identity = ModelIdentity(file_sha256(detector), file_sha256(embedder))
        except OnnxUnusable as error:
            raise OnnxUnusable(f"FACE_EMBEDDER={str(embedder)!r}: {error}") from None
        except Exception as error:  # noqa: BLE001 - onnxruntime raises classes of its own for every kind of bad graph
            raise OnnxUnusable(
                f"FACE_EMBEDDER={str(embedder)!r}: does not run ({first_line(error)}); "
                "an int8 file has to be folded with `worker faces fold` first"
            ) from None

    def find(self, image: Image.Image) -> list[EmbeddedFace]:
        """Return the faces in an upright RGB picture, the surest first."""
        faces = []
        for found in self._detector.detect(image):
            raw = self._embedded(aligned(image, found.points))
            norm = float(np.linalg.norm(raw))
            if norm > 0 and np.isfinite(norm):
                faces.append(EmbeddedFace(found, (raw / norm).astype(np.float32), norm))
        return faces

    def _embedded(self, face: Image.Image) -> NDArray[np.float32]:
        pixels = np.asarray(face, dtype=np.float32).transpose(2, 0, 1)[np.newaxis]
        (vector, *_) = self._session.run(None, {self._input: np.ascontiguousarray(pixels)})
        row = np.asarray(vector, dtype=np.float32).reshape(-1)
        if row.size != LENGTH:
            raise OnnxUnusable(f"is no SFace embedder: it gives {row.size} numbers instead of {LENGTH}")
        return row


def aligned(image: Image.Image, points: NDArray[np.float32]) -> Image.Image:
    """Return the face at `points` turned upright, 112x112 pixels."""
    forward = similarity_transform(points, TEMPLATE)
    scale = float(np.sqrt(abs(np.linalg.det(forward[:, :2]))))
    if scale < 1:  # shrunk first with a filter that takes every pixel into account
        image, forward = _shrunk(image, forward, scale)
    whole = np.vstack([forward, (0.0, 0.0, 1.0)])
    back = np.linalg.inv(whole)[:2]
    return image.transform(
        (SIDE, SIDE), Image.Transform.AFFINE, [float(value) for value in back.reshape(-1)], Image.Resampling.BILINEAR
    )


def similarity_transform(source: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the 2x3 matrix of the turn, scale and shift that brings `source` nearest to `target` (Umeyama, 1991)."""
    start, end = source.astype(np.float64), target.astype(np.float64)
    start_mean, end_mean = start.mean(axis=0), end.mean(axis=0)
    start_centred, end_centred = start - start_mean, end - end_mean
    left, sizes, right = np.linalg.svd(end_centred.T @ start_centred / len(start))
    mirror = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right)) or 1.0])
    turn = left @ np.diag(mirror) @ right
    spread = start_centred.var(axis=0).sum()
    scale = float((sizes * mirror).sum() / spread) if spread > 0 else 1.0
    shift = end_mean - scale * turn @ start_mean
    matrix: NDArray[np.float64] = np.column_stack([scale * turn, shift])
    return matrix


def _shrunk(image: Image.Image, forward: NDArray[np.float64], scale: float) -> tuple[Image.Image, NDArray[np.float64]]:
    """Return the part of the picture that the aligned face shows, about as large as that, and the matrix for it."""
    inverse = np.linalg.inv(forward[:, :2])
    edge = np.array([-_MARGIN, SIDE + _MARGIN], dtype=np.float64)
    corners = np.array([inverse @ (np.array([x, y]) - forward[:, 2]) for x in edge for y in edge])
    low = np.clip(np.floor(corners.min(axis=0)), 0, image.size)
    high = np.clip(np.ceil(corners.max(axis=0)), 0, image.size)
    if (high - low).min() < 1:
        return image, forward
    box: Any = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    part = image.crop(box)
    size = (max(1, round(part.width * scale)), max(1, round(part.height * scale)))
    small = part.resize(size, Image.Resampling.LANCZOS)
    # Pillow's coordinates are those of pixel corners, as are the landmarks', so scales need no half pixel.
    grown = np.diag([part.width / size[0], part.height / size[1]])
    linear = forward[:, :2] @ grown
    shift = forward[:, :2] @ low + forward[:, 2]
    return small, np.column_stack([linear, shift])
