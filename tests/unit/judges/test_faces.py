"""Faces without photographs: alignment, detection's arithmetic, references and their file, folding, calibration."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, save
from onnx.reference import ReferenceEvaluator
from PIL import Image, ImageDraw

from tests.support.judge_models import detector, embedder
from tests.support.pictures import noise
from worker.judges.faces.calibration import measure_thresholds
from worker.judges.faces.detection import INPUT_SIDE, decode_faces, overlap, without_overlaps
from worker.judges.faces.embedding import TEMPLATE, FaceAnalyser, ModelIdentity, aligned, similarity_transform
from worker.judges.faces.enrolment import (
    FaceReference,
    FaceReferences,
    ReferencesUnusable,
    enrol,
    normalised,
    read_references,
    strangers,
)
from worker.judges.faces.face_judge import FaceJudge
from worker.judges.faces.fold_int8 import fold_file
from worker.judges.onnx_session import OnnxUnusable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MODEL = ModelIdentity("a" * 64, "b" * 64)


# Alignment


@given(
    turn=st.floats(-math.pi, math.pi),
    scale=st.floats(0.1, 10),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
)
def test_any_turn_scale_and_shift_is_recovered(turn: float, scale: float, shift: tuple[float, float]) -> None:
    matrix = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    moved = (TEMPLATE.astype(np.float64) @ matrix.T + np.array(shift)).astype(np.float32)
    found = similarity_transform(moved, TEMPLATE)
    back = moved.astype(np.float64) @ found[:, :2].T + found[:, 2]
    assert np.abs(back - TEMPLATE).max() < 0.05


@settings(max_examples=20)
@given(turn=st.floats(-0.5, 0.5), scale=st.floats(1, 8))
def test_the_landmarks_come_to_lie_on_the_template_whatever_the_faces_size(turn: float, scale: float) -> None:
    matrix = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    centre = TEMPLATE.mean(axis=0)
    points = ((TEMPLATE - centre) @ matrix.T + np.array((600, 500))).astype(np.float32)
    image = Image.new("RGB", (1200, 1000), "black")
    radius = 5 * scale
    x, y = points[2]
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill="white")
    bright = np.asarray(aligned(image, points).convert("L"), dtype=np.float64)
    rows, columns = np.indices(bright.shape)
    middle = np.array([(columns * bright).sum(), (rows * bright).sum()]) / bright.sum() + 0.5
    assert np.abs(middle - TEMPLATE[2]).max() < 1.0


# Detection


def outputs(faces: list[tuple[int, int, int, float]]) -> dict[str, NDArray[np.float32]]:
    """Return YuNet's outputs with faces of `(stride, row, column, score)`, each two cells large."""
    found: dict[str, NDArray[np.float32]] = {}
    for stride in (8, 16, 32):
        cells = (INPUT_SIDE // stride) ** 2
        for name, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            found[f"{name}_{stride}"] = np.zeros((1, cells, width), dtype=np.float32)
    for stride, row, column, score in faces:
        index = row * (INPUT_SIDE // stride) + column
        found[f"cls_{stride}"][0, index] = found[f"obj_{stride}"][0, index] = score
        found[f"bbox_{stride}"][0, index] = (0.5, 0.5, math.log(2), math.log(2))
    return found


def test_boxes_and_points_are_in_pixels_of_the_picture() -> None:
    (face,) = decode_faces(outputs([(16, 10, 20, 0.9), (32, 3, 3, 0.5)]), scale=0.5)
    assert face.score == pytest.approx(0.9)
    assert face.box == pytest.approx(((20.5 * 16 - 16) * 2, (10.5 * 16 - 16) * 2, 64, 64))
    assert face.points.tolist() == [[640.0, 320.0]] * 5


def test_of_faces_that_overlap_the_surest_stays() -> None:
    found = decode_faces(outputs([(16, 10, 20, 0.8), (16, 10, 21, 0.95), (16, 30, 5, 0.7)]), scale=1)
    assert [round(face.score, 2) for face in without_overlaps(found)] == [0.95, 0.7]
    assert overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (20, 20, 5, 5)) == 0


def test_files_that_are_no_face_models_are_told_by_their_setting(tmp_path: Path) -> None:
    right, other = detector(tmp_path / "d.onnx"), embedder(tmp_path / "e.onnx")
    with pytest.raises(OnnxUnusable, match=r"FACE_DETECTOR=.*no YuNet"):
        FaceAnalyser(other, other)
    with pytest.raises(OnnxUnusable, match=r"FACE_EMBEDDER=.*"):
        FaceAnalyser(right, right)
    with pytest.raises(OnnxUnusable, match=r"FACE_DETECTOR=.*can't be loaded"):
        FaceAnalyser(tmp_path / "nowhere.onnx", other)


# References


def member(file: str, *values: float) -> FaceReference:
    vector = np.zeros(128, dtype=np.float32)
    vector[: len(values)] = values
    return FaceReference(file, "c" * 64, (1.0, 2.0, 50.0, 60.0), 0.9, normalised(vector))


def test_a_stranger_among_the_references_is_told_and_the_others_are_not() -> None:
    same = [member("a.png", 1, 0.2), member("b.png", 1, -0.1), member("c.png", 1, 0, 0.2)]
    assert strangers(same, 0.45) == {}
    assert list(strangers([*same[:2], member("eve.png", 0, 0, 0, 1), same[2]], 0.45)) == ["eve.png"]
    assert list(strangers([same[0], member("eve.png", 0, 0, 1)], 0.45)) == ["a.png", "eve.png"]
    assert strangers(same[:1], 0.45) == {}


def test_references_survive_their_file() -> None:
    references = FaceReferences("luca", MODEL, (member("a.png", 1, 2, 3), member("b.png", 1, 2, 2)), 0.5)
    read = read_references(references.to_json(), MODEL)
    assert (read.name, read.threshold, len(read.members)) == ("luca", 0.5, 2)
    for before, after in zip(references.members, read.members, strict=True):
        assert np.allclose(before.vector, after.vector)
    probe = normalised(np.arange(128, dtype=np.float32))
    for against in ("mean", "best", "worst"):
        assert read.similarity(probe, against) == pytest.approx(references.similarity(probe, against), abs=1e-6)


def damaged(**changes: Any) -> str:
    content = json.loads(FaceReferences("luca", MODEL, (member("a.png", 1),)).to_json())
    return json.dumps({**content, **changes})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no file of references"),
        (damaged(version=2), "version"),
        (damaged(references=[]), "references"),
        (damaged(extra=1), "extra"),
        (damaged(model={"detector": "x", "embedder": "y", "align": "z", "colour": "w", "length": 1}), "enrol .* again"),
        (damaged().replace("a.png", "a.png").replace('"vector": "', '"vector": "AAAA'), "not 128 numbers|no base64"),
    ],
)
def test_a_file_that_can_not_be_used_says_why(text: str, said: str) -> None:
    with pytest.raises(ReferencesUnusable, match=said):
        read_references(text, MODEL)


@pytest.fixture(scope="module")
def analyser(tmp_path_factory: pytest.TempPathFactory) -> FaceAnalyser:
    folder = tmp_path_factory.mktemp("models")
    return FaceAnalyser(detector(folder / "d.onnx"), embedder(folder / "e.onnx"))


def face(seed: int, side: int = 256) -> Image.Image:
    return noise(12, 12, seed=seed).resize((side, side), Image.Resampling.BICUBIC)


def test_pictures_without_a_face_with_a_small_one_or_of_somebody_else_are_not_enrolled(analyser: FaceAnalyser) -> None:
    pictures = [("a", "", face(1)), ("dark", "", Image.new("RGB", (99, 99))), ("small", "", face(1, side=64))]
    with pytest.raises(ReferencesUnusable) as raised:
        enrol("luca", pictures, analyser)
    assert raised.value.mistakes["dark"] == "has no face"
    assert "at least 40 are needed" in raised.value.mistakes["small"]
    assert "a" not in raised.value.mistakes
    with pytest.raises(ReferencesUnusable) as raised:
        enrol("luca", [("a", "", face(1)), ("b", "", face(1)), ("eve", "", face(2))], analyser)
    assert list(raised.value.mistakes) == ["eve"]


def test_the_judge_accepts_the_same_face_and_no_other_and_says_why(analyser: FaceAnalyser) -> None:
    judge = FaceJudge(enrol("luca", [("a", "", face(1))], analyser), analyser)
    same, other, none = (judge.look(one) for one in (face(1, 300), face(2), Image.new("RGB", (99, 99))))
    assert same.accepted
    assert same.score == pytest.approx(1, abs=0.05)
    assert (other.accepted, "like luca, at least 0.45" in str(other.why)) == (False, True)
    assert (none.accepted, none.score, none.details, none.why) == (
        False,
        None,
        {"similarity": None, "faces": 0},
        "no face",
    )


# Calibration


def test_the_proposed_threshold_lies_in_the_gap_between_same_and_different_persons() -> None:
    persons = {
        "a": [member("1", 1, 0.3), member("2", 1, -0.3)],
        "b": [member("3", 0, 0, 1), member("4", 0.2, 0, 1)],
    }
    found = measure_thresholds(persons)
    assert found is not None
    assert max(found.different) < found.proposed < min(found.same)
    assert all((row.refused, row.accepted) == (0, 0) for row in found.rows() if row.threshold == found.proposed)
    assert measure_thresholds({"a": persons["a"]}) is None


# Folding


def test_a_folded_model_computes_what_the_quantised_one_did(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    blocks = chance.integers(-128, 127, (8, 70), dtype=np.int8)
    scales, zeros = chance.random((8, 2)).astype(np.float32), chance.integers(-5, 5, (8, 2), dtype=np.int8)
    bias = chance.integers(-128, 127, 8, dtype=np.int8)
    weights = {
        "w": blocks, "ws": scales, "wz": zeros, "shape": np.array([8, 70]),
        "b": bias, "bs": np.float32(0.1), "bz": np.int8(3),
    }  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wide"], axis=1, block_size=64),
        helper.make_node("Reshape", ["wide", "shape"], ["weight"]),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["bias"]),
        helper.make_node("Gemm", ["x", "weight", "bias"], ["y"], transB=1),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 70])]
    stale = helper.make_tensor_value_info("long_gone", TensorProto.FLOAT, [1])
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    result = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])]
    opset = [helper.make_opsetid("", 21)]
    quantised = helper.make_model(helper.make_graph(nodes, "q", inputs, result, stored), opset_imports=opset)
    x = chance.random((1, 70)).astype(np.float32)
    (expected,) = ReferenceEvaluator(quantised).run(None, {"x": x})
    quantised.graph.input.append(stale)
    save(quantised, str(tmp_path / "int8.onnx"))
    assert fold_file(tmp_path / "int8.onnx", tmp_path / "float.onnx") == 2
    session = onnxruntime.InferenceSession(str(tmp_path / "float.onnx"), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["x"]
    (found,) = session.run(None, {"x": x})
    assert np.allclose(found, expected, rtol=1e-5)


def test_what_is_no_model_can_not_be_folded(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(OnnxUnusable, match="is no ONNX model"):
        fold_file(tmp_path / "text.onnx", tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()
