"""Image checks for tests: a small real classifier in an ONNX file, and a plug-in as an operator would write it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from PIL import Image

    from worker.settings import Settings

LABELS = ("normal", "red")
SIDE = 16


def red_classifier(folder: Path) -> Path:
    """Write a classifier that tells how much redder than green and blue a picture is on average; return its file.

    It lies one folder below its notes, as Hugging Face's exports do.
    """
    weights = np.array([[-20, 20], [10, -10], [10, -10]], dtype=np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixels"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "redness",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([4, -4], dtype=np.float32), "bias"),
        ],
    )
    (folder / "onnx").mkdir(parents=True)
    path = folder / "onnx" / "model.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    (folder / "config.json").write_text(json.dumps({"id2label": dict(enumerate(LABELS))}), encoding="utf-8")
    notes = {"size": {"height": SIDE, "width": SIDE}, "image_mean": [0, 0, 0], "image_std": [1, 1, 1], "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(notes), encoding="utf-8")
    return path


class Plugin:
    """Minds pictures that are mostly green, and fails on those that are mostly blue."""

    labels = ("green",)

    def look(self, image: Image.Image) -> Mapping[str, float]:
        red, green, blue = image.resize((1, 1)).tobytes()
        if blue > red + green:
            raise RuntimeError("out of order")
        return {"green": float(green > red + blue)}


def plugin(settings: Settings) -> Plugin:
    assert settings.image_check.endswith(":plugin")
    return Plugin()
