"""The bare body plus models by address: `checkpoint {name, url, hash}`, `loras [{name, url, scale, hash}]`.

These are fields of ours too. The answer adds `cache_info`, what the worker's model folders hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.contract.compat.client_form import Form, Translation

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from worker.contract.compat.client_form import Cache

_LOOKED_AT = 50


class ModelCacheForm(Form):
    """Jobs of clients that bring their models' addresses along."""

    name = "cached"
    marks = frozenset({"checkpoint", "loras"})
    reports_cache = True

    def matches(self, raw: Mapping[str, Any]) -> bool:
        """Return whether `raw` names a model as an object with an address, as these clients do."""
        models = raw.get("loras")
        named = [raw.get("checkpoint"), *(models[:_LOOKED_AT] if isinstance(models, list) else [])]
        return any(isinstance(model, dict) and "url" in model and "name" in model for model in named)

    def translate(self, raw: dict[str, Any], presets: Collection[str]) -> Translation:
        """Return `raw` itself."""
        return Translation(raw)

    def answer(self, call: Translation, answer: Mapping[str, Any], cache: Cache) -> dict[str, Any]:
        """Return `answer` with what the cache holds."""
        if "images" not in answer:
            return dict(answer)
        return {
            **answer,
            "cache_info": {
                "checkpoints_cached": cache.checkpoints,
                "loras_cached": cache.loras,
                "total_cache_size_mb": round(cache.size_bytes / 1_000_000, 1),
            },
        }


MODEL_CACHE = ModelCacheForm()
