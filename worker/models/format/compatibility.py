"""Compatibility of an add-on (LoRA, embedding, VAE) with a checkpoint; pure."""

from __future__ import annotations

from typing import Literal

Fit = Literal["ok", "warn", "refuse"]


def family(base_model: str) -> str:
    """Return the architecture of a base model: offspring such as ``SDXL (Pony)`` share their parent's shapes."""
    return base_model.split(" (", maxsplit=1)[0]


def fits(addon_base: str | None, checkpoint_base: str | None) -> Fit:
    """Return whether an add-on made for `addon_base` works with a checkpoint of `checkpoint_base`.

    Other architecture: refuse (the WebUI would silently skip it). Same architecture but grown apart (Pony against
    Illustrious): warn. Unknown on either side: ok, there is nothing to say.
    """
    if addon_base is None or checkpoint_base is None:
        return "ok"
    if family(addon_base) != family(checkpoint_base):
        return "refuse"
    mine, theirs = _branch(addon_base), _branch(checkpoint_base)
    return "ok" if mine is None or mine == theirs else "warn"


def _branch(base_model: str) -> str | None:
    """Return the offspring's name; NoobAI grew from Illustrious and counts as it; plain SDXL has none."""
    if " (" not in base_model:
        return None
    name = base_model.split(" (")[1].rstrip(")")
    return "Illustrious" if name == "NoobAI" else name
