"""ONNX models of the operator's, run by onnxruntime on the CPU."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_QUIET = 3
_BLOCK = 1 << 20


class OnnxUnusable(Exception):
    """A model file can't be run; the message says why."""


def open_session(path: Path, *, threads: int, extra: str) -> Any:
    """Return an onnxruntime session for the model in `path`; several threads may use it at once.

    Args:
        path: The ONNX file.
        threads: Used by one run.
        extra: The optional dependencies of this project that contain onnxruntime, for the error.

    Raises:
        OnnxUnusable: onnxruntime or numpy is not installed, or the file can't be loaded.
    """
    try:
        import numpy as np  # noqa: F401, PLC0415 - an extra; nobody needs it who has no such model
        import onnxruntime  # noqa: PLC0415 - as above
    except ImportError as error:
        raise OnnxUnusable(f"{error.name} is not installed; it comes with the extra {extra}") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _QUIET
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - onnxruntime raises classes of its own for every kind of bad file
        raise OnnxUnusable(f"can't be loaded: {first_line(error)}") from None


def first_line(error: Exception) -> str:
    """Return the beginning of an error's words."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def file_sha256(path: Path) -> str:
    """Return the hash of a file in hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
