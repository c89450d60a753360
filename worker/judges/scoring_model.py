"""The judge of an operator's scoring model, for example of aesthetics: an ONNX file from a picture to one number.

Beside ``model.onnx`` lies ``model.json``, which says how a picture becomes the model's input, for example
``{"width": 224, "height": 224, "mean": [0, 0, 0], "std": [1, 1, 1], "scale": 0.0039215686}``: every colour value, 0 to
255, is multiplied by `scale`, then `mean` is taken off and the rest divided by `std`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from worker.judges.judge import JudgeVerdict
from worker.judges.onnx_session import OnnxUnusable, file_sha256, first_line, open_session

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST_SIDE = 4096


class ScoringInput(BaseModel):
    """Content of the file beside the model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(ge=1, le=_LARGEST_SIDE)
    height: int = Field(ge=1, le=_LARGEST_SIDE)
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    scale: float = 1 / 255


class ScoringModel:
    """Gives pictures a score; several threads may use one.

    Args:
        path: The ONNX file.

    Raises:
        OnnxUnusable: it can't be run, or the file beside it is not right.
    """

    def __init__(self, path: Path) -> None:
        self._input = _read_input(path.with_suffix(".json"))
        self._session = open_session(path, threads=1, extra="faces")
        self._entry = self._session.get_inputs()[0].name
        try:
            self.score(Image.new("RGB", (64, 64), "grey"))
            self.version = f"sha256:{file_sha256(path)}"
        except OnnxUnusable:
            raise
        except Exception as error:  # noqa: BLE001 - onnxruntime raises classes of its own for every kind of bad graph
            raise OnnxUnusable(f"does not run: {first_line(error)}") from None

    def score(self, image: Image.Image) -> float:
        """Return the score of an RGB picture.

        Raises:
            OnnxUnusable: the model gives something else than one number.
        """
        how = self._input
        small = image.resize((how.width, how.height), Image.Resampling.BICUBIC)
        values = np.asarray(small, dtype=np.float32) * np.float32(how.scale)
        pixels = ((values - np.array(how.mean)) / np.array(how.std)).transpose(2, 0, 1)[np.newaxis]
        (found, *_) = self._session.run(None, {self._entry: np.ascontiguousarray(pixels, dtype=np.float32)})
        row = np.asarray(found, dtype=np.float64).reshape(-1)
        if row.size != 1 or not np.isfinite(row[0]):
            raise OnnxUnusable(f"gives {row.size} numbers instead of one, or one that is not finite")
        return float(row[0])


class ScoringJudge:
    """Judge by a scoring model.

    Args:
        name: Of the score.
        model: Gives it.
    """

    def __init__(self, name: str, model: ScoringModel) -> None:
        self.name = name
        self.model = model.version
        self._scores = model

    def look(self, image: Image.Image) -> JudgeVerdict:
        """Return the score; the judge itself rejects nothing."""
        return JudgeVerdict(accepted=None, score=self._scores.score(image))


def _read_input(path: Path) -> ScoringInput:
    try:
        return ScoringInput.model_validate_json(path.read_bytes())
    except OSError:
        raise OnnxUnusable(f"has no {path.name} beside it, which says how pictures become its input") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise OnnxUnusable(f"{path.name} beside it is not right ({place or 'JSON'}: {first['msg']})") from None
