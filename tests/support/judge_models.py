"""Small ONNX models with the inputs and outputs of the real ones, and a judge as an operator would write it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from worker.judges.judge import JudgeVerdict

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from worker.settings import Settings

CELL = (9, 9)
"""Row and column of the only cell of stride 32 in which the detector finds a face, by its left top corner."""
_STRIDES = {8: 6400, 16: 1600, 32: 400}
_EYES_NOSE_MOUTH = [(-0.6, -0.5), (0.6, -0.5), (0.0, 0.1), (-0.5, 0.7), (0.5, 0.7)]


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: dict[str, Any], path: Path) -> Path:
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "test", inputs, outputs, stored)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


def detector(path: Path) -> Path:
    """Write a YuNet that finds one face, in the middle of every picture that is not dark."""
    index = CELL[0] * 20 + CELL[1]
    weights: dict[str, Any] = {"gain": np.float32(3.5 / 255), "zero": np.float32(0), "one": np.float32(1)}
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "gain"], ["bright"]),
        helper.make_node("Clip", ["bright", "zero", "one"], ["sure"]),
        helper.make_node("Mul", ["sure", "mask"], ["cls_32"]),
        helper.make_node("Identity", ["cls_32"], ["obj_32"]),
    ]
    mask = np.zeros((1, 400, 1), dtype=np.float32)
    mask[0, index] = 1
    boxes = np.zeros((1, 400, 4), dtype=np.float32)
    boxes[0, index] = (1, 1, np.log(8), np.log(8))
    points = np.zeros((1, 400, 10), dtype=np.float32)
    points[0, index] = np.array([(1 + 4 * x, 1 + 4 * y) for x, y in _EYES_NOSE_MOUTH]).reshape(-1)
    weights |= {"mask": mask, "boxes": boxes, "points": points}
    nodes += [
        helper.make_node("Identity", ["boxes"], ["bbox_32"]),
        helper.make_node("Identity", ["points"], ["kps_32"]),
    ]
    for stride in (8, 16):
        for name, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            weights[f"none_{name}_{stride}"] = np.zeros((1, _STRIDES[stride], width), dtype=np.float32)
            nodes.append(helper.make_node("Identity", [f"none_{name}_{stride}"], [f"{name}_{stride}"]))
    outputs = [
        helper.make_tensor_value_info(f"{name}_{stride}", TensorProto.FLOAT, [1, count, width])
        for stride, count in _STRIDES.items()
        for name, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
    ]
    return _model(
        nodes, [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 640, 640])], outputs, weights, path
    )


def embedder(path: Path) -> Path:
    """Write an SFace whose vector is the aligned face in 8 x 16 cells, without its mean."""
    nodes = [
        helper.make_node("ReduceMean", ["data"], ["grey"], axes=[1], keepdims=1),
        helper.make_node("AveragePool", ["grey"], ["cells"], kernel_shape=[14, 7], strides=[14, 7]),
        helper.make_node("ReduceMean", ["cells"], ["level"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Sub", ["cells", "level"], ["centred"]),
        helper.make_node("Flatten", ["centred"], ["fc1"]),
    ]
    return _model(
        nodes,
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 128])],
        {},
        path,
    )


def face_settings(folder: Path) -> dict[str, str]:
    """Write both models and return the settings that name them."""
    return {
        "FACE_DETECTOR": str(detector(folder / "detector.onnx")),
        "FACE_EMBEDDER": str(embedder(folder / "embedder.onnx")),
        "FACES_DIR": str(folder / "faces"),
    }


def brightness_model(path: Path) -> Path:
    """Write a scoring model that gives a picture's mean brightness, 0 to 1."""
    notes = {"width": 8, "height": 8}
    path.with_suffix(".json").write_text(json.dumps(notes), encoding="utf-8")
    return _model(
        [helper.make_node("ReduceMean", ["pixels"], ["score"], axes=[1, 2, 3], keepdims=0)],
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [1])],
        {},
        path,
    )


class Brighter:
    """Accepts pictures that are brighter at the left than at the right; fails on black ones."""

    name = "lit_from_left"
    model = "test/1"

    def look(self, image: Image.Image) -> JudgeVerdict:
        left, right = image.convert("L").resize((2, 1)).tobytes()
        if left == right == 0:
            raise RuntimeError("out of order")
        return JudgeVerdict(left >= right, float(left - right), why=None if left >= right else "lit from the right")


def plugin(settings: Settings) -> Brighter:
    assert settings.judges
    return Brighter()


class Misnamed(Brighter):
    """A judge whose name is taken."""

    name = "quality"


def misnamed(settings: Settings) -> Misnamed:
    assert settings.judges
    return Misnamed()
