"""Do the add-ons of a job fit its checkpoint? Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.errors import IncompatibleModel
from worker.models.fits import fits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from worker.models.local import LocalModel

_MOST = 20


def check_fit(
    checkpoint: LocalModel | None,
    addons: Sequence[tuple[str, LocalModel]],
    others: Iterable[tuple[str, str | None]] = (),
) -> list[str]:
    """Return warnings about add-ons that fit only half.

    Args:
        checkpoint: The job's; None when the job names none and nobody knows which is loaded.
        addons: For each the field in the job and the model.
        others: Name and base model of every other add-on of that kind, to suggest from.

    Raises:
        IncompatibleModel: one is made for another architecture; the WebUI would leave it out without a word.
    """
    if checkpoint is None:
        return []
    warnings = []
    for path, addon in addons:
        verdict = fits(addon.base_model, checkpoint.base_model)
        told = (
            f"{path}: {addon.title!r} is made for {addon.base_model}, {checkpoint.title!r} is {checkpoint.base_model}"
        )
        if verdict == "refuse":
            fitting = sorted(
                {name for name, base in others if base is not None and fits(base, checkpoint.base_model) == "ok"}
            )[:_MOST]
            raise IncompatibleModel(
                told,
                hint=f"Of the known ones these fit: {', '.join(fitting)}."
                if fitting
                else "None of the known ones fits.",
                details={"path": path, "base_model": addon.base_model, "fitting": fitting},
            )
        if verdict == "warn":
            warnings.append(f"{told}: it may have little effect or a bad one")
    return warnings
