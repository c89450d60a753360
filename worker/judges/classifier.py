"""Image check by a classifier in an ONNX file, run by onnxruntime on the CPU (the extra ``imagecheck``).

The file is the operator's; nothing is downloaded. Beside it, or one folder up as Hugging Face lays models out, lie the
classifier's own ``config.json`` (its labels) and ``preprocessor_config.json`` (size, mean, spread of its input).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from worker.errors import SettingsInvalid
from worker.judges.onnx_session import OnnxUnusable, first_line, open_session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

THREADS = 2
"""Of one run: the WebUI needs the other cores."""
_DEFAULT_SIDE = 224
_WHOLE = 1e-3


@dataclass(frozen=True, slots=True)
class Preparation:
    """The conversion of a picture into the classifier's input."""

    width: int
    height: int
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    spread: tuple[float, ...] = (0.5, 0.5, 0.5)
    resample: int = int(Image.Resampling.BICUBIC)


class OnnxCheck:
    """Image check by a classifier.

    Args:
        path: The ONNX file.

    Raises:
        SettingsInvalid: onnxruntime is not installed, or the file is no image classifier that can be run.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._session = open_session(path, threads=THREADS, extra="imagecheck")
        except OnnxUnusable as error:
            raise _bad(path, str(error)) from None
        import numpy as np  # noqa: PLC0415 - an extra; it is there where a session could be opened

        self._np = np
        entry = self._session.get_inputs()[0]
        self._input = entry.name
        self._preparation = preparation(_json(path, "preprocessor_config.json"), entry.shape)
        self.labels = _labels(path)
        try:
            self.look(Image.new("RGB", (64, 64), "grey"))
        except Exception as error:  # noqa: BLE001 - onnxruntime raises classes of its own for every kind of bad file
            raise _bad(path, f"does not work as an image classifier: {first_line(error)}") from None

    def look(self, image: Image.Image) -> Mapping[str, float]:
        """Return the score of each label."""
        np, how = self._np, self._preparation
        small = image.convert("RGB").resize((how.width, how.height), Image.Resampling(how.resample))
        pixels = (np.asarray(small, dtype=np.float32) / 255.0 - np.float32(how.mean)) / np.float32(how.spread)
        (found, *_) = self._session.run(None, {self._input: pixels.transpose(2, 0, 1)[np.newaxis]})
        row = np.asarray(found, dtype=np.float64).reshape(-1)
        if row.size != len(self.labels) or not np.isfinite(row).all():
            raise ValueError(f"{row.size} scores for {len(self.labels)} labels, or one that is no number")
        if not (row.min() >= 0 and abs(row.sum() - 1) < _WHOLE):  # logits, as most classifiers give them
            row = np.exp(row - row.max())
            row = row / row.sum()
        return {label: float(score) for label, score in zip(self.labels, row, strict=True)}


def preparation(config: Mapping[str, Any], shape: list[Any]) -> Preparation:
    """Return how pictures are prepared, by the classifier's own notes and the shape of its input (NCHW)."""
    size: Any = config.get("size")
    height: Any
    width: Any
    if isinstance(size, dict):
        side = size.get("shortest_edge", _DEFAULT_SIDE)
        height, width = size.get("height", side), size.get("width", side)
    else:
        height = width = size or _DEFAULT_SIDE
    fixed: list[Any] = [side if isinstance(side, int) else None for side in shape[-2:]]
    plain = config.get("do_normalize") is False
    return Preparation(
        width=int(fixed[1] or width),
        height=int(fixed[0] or height),
        mean=(0.0,) * 3 if plain else tuple(config.get("image_mean") or (0.5,) * 3),
        spread=(1.0,) * 3 if plain else tuple(config.get("image_std") or (0.5,) * 3),
        resample=int(config.get("resample", Image.Resampling.BICUBIC)),
    )


def _labels(path: Path) -> tuple[str, ...]:
    found = _json(path, "config.json").get("id2label")
    if not isinstance(found, dict) or not found:
        raise _bad(path, "has no config.json with id2label beside it or one folder up")
    return tuple(str(found[key]) for key in sorted(found, key=int))


def _json(path: Path, name: str) -> dict[str, Any]:
    for folder in (path.parent, path.parent.parent):
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict):
            return content
    return {}


def _bad(path: Path, why: str) -> SettingsInvalid:
    return SettingsInvalid(f"IMAGE_CHECK_MODEL={str(path)!r}: {why}")
