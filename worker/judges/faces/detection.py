"""Face detection with YuNet: boxes and five landmarks, by onnxruntime, numpy and Pillow.

A picture is looked at in two sizes, because the model was trained for faces of 10 to 300 pixels and overlooks one that
fills a large picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from worker.judges.onnx_session import OnnxUnusable, first_line, open_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

INPUT_SIDE = 640
SIDES = (640, 256)
"""Longest sides in which a picture is looked at, pixels."""
LEAST_SCORE = 0.6
MOST_OVERLAP = 0.3
"""Intersection over union from which two boxes are the same face."""
_STRIDES = (8, 16, 32)
_OUTPUTS = tuple(f"{part}_{stride}" for part in ("cls", "obj", "bbox", "kps") for stride in _STRIDES)
_POINTS = 5


@dataclass(frozen=True, slots=True)
class DetectedFace:
    """A face in a picture; pixels of that picture.

    Attributes:
        box: Left, top, width and height.
        points: Right eye, left eye, nose, right and left corner of the mouth (the person's right), [5, 2].
        score: 0 to 1.
    """

    box: tuple[float, float, float, float]
    points: NDArray[np.float32]
    score: float

    @property
    def side(self) -> float:
        """The shorter side of the box, pixels."""
        return min(self.box[2:])


class FaceDetector:
    """Finds faces; several threads may use one.

    Args:
        path: YuNet as an ONNX file with an input of 1x3x640x640.

    Raises:
        OnnxUnusable: it can't be run, or is another kind of model.
    """

    def __init__(self, path: Path) -> None:
        self._session = open_session(path, threads=1, extra="faces")
        missing = sorted(set(_OUTPUTS) - {output.name for output in self._session.get_outputs()})
        if missing:
            raise OnnxUnusable(f"is no YuNet face detector: it has no output {', '.join(missing[:3])}")
        self._input = self._session.get_inputs()[0].name
        try:
            self.detect(Image.new("RGB", (64, 64), "grey"))
        except Exception as error:  # noqa: BLE001 - onnxruntime raises classes of its own for every kind of bad graph
            raise OnnxUnusable(
                f"does not run ({first_line(error)}); an int8 file has to be folded with `worker faces fold` first"
            ) from None

    def detect(self, image: Image.Image) -> list[DetectedFace]:
        """Return the faces in an RGB picture, the surest first."""
        found = [face for side in SIDES for face in self._detect_at(image, side)]
        return without_overlaps(found)

    def _detect_at(self, image: Image.Image, side: int) -> list[DetectedFace]:
        scale = side / max(image.size)
        small = image.resize(
            (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BILINEAR
        )
        canvas = Image.new("RGB", (INPUT_SIDE, INPUT_SIDE))
        canvas.paste(small, (0, 0))
        pixels = np.asarray(canvas, dtype=np.float32)[:, :, ::-1].transpose(2, 0, 1)[np.newaxis]
        outputs = self._session.run(_OUTPUTS, {self._input: np.ascontiguousarray(pixels)})
        return decode_faces(dict(zip(_OUTPUTS, outputs, strict=True)), scale)


def decode_faces(outputs: Mapping[str, NDArray[np.float32]], scale: float) -> list[DetectedFace]:
    """Return the faces in YuNet's outputs, in pixels of the picture that was scaled by `scale`."""
    faces: list[DetectedFace] = []
    for stride in _STRIDES:
        columns = INPUT_SIDE // stride
        sureness: Any = np.clip(outputs[f"cls_{stride}"], 0, 1) * np.clip(outputs[f"obj_{stride}"], 0, 1)
        scores = np.sqrt(sureness.reshape(-1))
        for index in np.flatnonzero(scores >= LEAST_SCORE):
            row, column = divmod(int(index), columns)
            dx, dy, width, height = (float(value) for value in outputs[f"bbox_{stride}"][0, index])
            wide, high = np.exp(width) * stride, np.exp(height) * stride
            left, top = (column + dx) * stride - wide / 2, (row + dy) * stride - high / 2
            shifts = outputs[f"kps_{stride}"][0, index].reshape(_POINTS, 2)
            points = (shifts + np.array((column, row), dtype=np.float32)) * np.float32(stride / scale)
            box = (float(left / scale), float(top / scale), float(wide / scale), float(high / scale))
            faces.append(DetectedFace(box, points.astype(np.float32), float(scores[index])))
    return faces


def without_overlaps(faces: Sequence[DetectedFace]) -> list[DetectedFace]:
    """Return the surest of the faces that overlap each other, the surest first."""
    kept: list[DetectedFace] = []
    for face in sorted(faces, key=lambda one: one.score, reverse=True):
        if all(overlap(face.box, other.box) < MOST_OVERLAP for other in kept):
            kept.append(face)
    return kept


def overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    """Return the intersection of two boxes over their union."""
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if wide <= 0 or high <= 0:
        return 0.0
    both = wide * high
    return both / (one[2] * one[3] + other[2] * other[3] - both)
