"""Sealing of an answer before it leaves: strict JSON, within the limit, quiet in logs."""

from __future__ import annotations

from typing import Any

from worker.common.strict_json import encoded_size, find_flaw
from worker.errors import InternalError, OutputTooLarge

_ENVELOPE_BYTES = 64
"""Bytes that the platform's client wraps around an answer: ``{"output": …, "error": …}``."""


class SealedAnswer(dict[str, Any]):
    """An answer that does not print itself.

    RunPod's SDK formats the whole result three times for debug lines that are usually not shown: 20 ms each for 8 MB
    of base64, on the event loop, and in full view when they are shown.
    """

    def __repr__(self) -> str:
        return f"<answer with {', '.join(self) or 'nothing'}>"

    __str__ = __repr__


class SealedItems(list[Any]):
    """An answer that is a list (one of the WebUI's own listings, asked for raw); it does not print itself either."""

    def __repr__(self) -> str:
        return f"<answer with {len(self)} entries>"

    __str__ = __repr__


def seal(answer: object, *, limit_bytes: int) -> SealedAnswer | SealedItems:
    """Return `answer` if the platform will carry it as it is, else the error answer that says why not.

    Args:
        answer: What the service returned.
        limit_bytes: Most bytes of JSON that the platform takes.
    """
    if not isinstance(answer, (dict, list)):
        return SealedAnswer(InternalError(f"the answer is a {type(answer).__name__}, not an object").to_answer())
    flaw = find_flaw(answer)
    if flaw is not None:
        return SealedAnswer(InternalError(f"the answer is not strict JSON: {flaw}").to_answer())
    size = encoded_size(answer) + _ENVELOPE_BYTES
    if size > limit_bytes:
        return SealedAnswer(
            OutputTooLarge(
                f"the answer has {size} bytes of JSON, {limit_bytes} are allowed",
                hint="ask for fewer or smaller pictures, another format, or configure an S3 store",
                details={"bytes": size, "limit": limit_bytes},
            ).to_answer()
        )
    return SealedAnswer(answer) if isinstance(answer, dict) else SealedItems(answer)
