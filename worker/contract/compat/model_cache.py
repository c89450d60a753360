"""The bare body plus models by address: `checkpoint {name, url, hash}`, `loras [{name, url, scale, hash}]`.

These are fields of ours too. The answer adds `cache_info`, what the worker's model folders hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def matches(raw: Mapping[str, Any]) -> bool:
    """Return whether `raw` names a model as an object with an address, as these clients do."""
    models = raw.get("loras")
    named = [raw.get("checkpoint"), *(models[:50] if isinstance(models, list) else [])]
    return any(isinstance(model, dict) and "url" in model and "name" in model for model in named)


def to_answer(answer: Mapping[str, Any], *, checkpoints: int, loras: int, size_bytes: int) -> dict[str, Any]:
    """Return `answer` with what the cache holds.

    Args:
        answer: Ours.
        checkpoints: Checkpoints on the volume.
        loras: LoRAs on the volume.
        size_bytes: Of all model files together.
    """
    if "images" not in answer:
        return dict(answer)
    return {
        **answer,
        "cache_info": {
            "checkpoints_cached": checkpoints,
            "loras_cached": loras,
            "total_cache_size_mb": round(size_bytes / 1_000_000, 1),
        },
    }
