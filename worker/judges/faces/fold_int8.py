"""Folding of quantised models: int8 weights become floats, so that every runtime reads the file.

The int8 files of OpenCV's zoo keep blocks of weights with one scale each (`DequantizeLinear` with `block_size`) in ways
that onnxruntime refuses. The folded model computes the same with plain weights; it needs the package `onnx`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from worker.judges.onnx_session import OnnxUnusable, first_line

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_OPSET = 13


def fold_file(source: Path, target: Path) -> int:
    """Write the model in `source` with plain weights to `target` and return how many weights were folded.

    Raises:
        OnnxUnusable: `onnx` is not installed, or `source` is no model.
        OSError: a file can't be read or written.
    """
    try:
        onnx: Any = importlib.import_module("onnx")  # a tool of people who prepare files, not of the worker
    except ImportError:
        raise OnnxUnusable("folding needs the package onnx: pip install onnx") from None
    try:
        model = onnx.load(str(source))
        count = fold(model, onnx)
        onnx.checker.check_model(model)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - protobuf and onnx raise classes of their own for bad files
        raise OnnxUnusable(f"{source}: is no ONNX model that can be folded: {first_line(error)}") from None
    onnx.save(model, str(target))
    return count


def fold(model: Any, onnx: Any) -> int:
    """Replace the quantised weights of `model`, an `onnx.ModelProto`, in place; return how many there were."""
    graph = model.graph
    stored = {one.name: one for one in graph.initializer}
    values = {name: onnx.numpy_helper.to_array(one) for name, one in stored.items()}
    plain: dict[str, NDArray[np.float32]] = {}
    kept = []
    folded = 0
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and all(name in values for name in node.input):
            options = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
            plain[node.output[0]] = dequantised(
                *(values[name] for name in node.input),
                axis=options.get("axis", 1),
                block=options.get("block_size", 0),
            )
            folded += 1
        elif node.op_type == "Reshape" and node.input[0] in plain and node.input[1] in values:
            plain[node.output[0]] = plain[node.input[0]].reshape(values[node.input[1]])
        else:
            kept.append(node)
    used = {name for node in kept for name in node.input} | {output.name for output in graph.output}
    weights = [one for name, one in stored.items() if name in used]
    weights += [onnx.numpy_helper.from_array(value, name) for name, value in plain.items() if name in used]
    inputs = [one for one in graph.input if one.name in used and one.name not in {weight.name for weight in weights}]
    for field, content in (("node", kept), ("initializer", weights), ("input", inputs)):
        copies = [type(one).FromString(one.SerializeToString()) for one in content]
        graph.ClearField(field)
        getattr(graph, field).extend(copies)
    if not any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.node):
        for opset in model.opset_import:
            if opset.domain == "":
                opset.version = min(opset.version, _OPSET)
    return folded


def dequantised(
    quantised: NDArray[Any],
    scale: NDArray[Any],
    zero: NDArray[Any] | None = None,
    *,
    axis: int,
    block: int,
) -> NDArray[np.float32]:
    """Return ``(quantised - zero) * scale``; with `block`, scale and zero are for blocks of so many along `axis`."""

    def spread(value: NDArray[Any]) -> NDArray[np.float32]:
        wide = value.astype(np.float32)
        if wide.ndim == 0 or (wide.size == 1 and wide.ndim != quantised.ndim):
            return wide.reshape(())
        if block:
            wide = np.repeat(wide, block, axis=axis)
            cut = [slice(None)] * wide.ndim
            cut[axis] = slice(quantised.shape[axis])
            return wide[tuple(cut)]
        if wide.ndim == 1 and quantised.ndim > 1:
            shape = [1] * quantised.ndim
            shape[axis] = wide.size
            return wide.reshape(shape)
        return wide

    offset = spread(zero) if zero is not None else np.float32(0)
    result: NDArray[np.float32] = ((quantised.astype(np.float32) - offset) * spread(scale)).astype(np.float32)
    return result
