"""What was made, as far as the operator's image check lets it pass."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from worker.errors import ImageRefused
from worker.safety.gate import DONE

if TYPE_CHECKING:
    from worker.safety.gate import Gate
    from worker.stages.generate import Generated


def judged(gate: Gate, result: Generated, *, together: bool = False) -> Generated:
    """Return `result` with its pictures as they may be delivered, perhaps none, and what was seen. Blocking.

    Args:
        gate: Judges them.
        result: What was made.
        together: One picture shows parts of another.

    Raises:
        ImageCheckFailed: the check did not work.
    """
    verdicts = gate.judge(result.pictures, together=together)
    seeds = [*result.seeds, *[None] * (len(verdicts) - len(result.seeds))]
    checks: list[dict[str, Any]] = [
        {"seed": seed, "action": DONE[gate.action], "label": one.label, "score": round(one.score, 4)}
        for one, seed in zip(verdicts, seeds, strict=False)
        if one.label is not None
    ]
    kept = [index for index, one in enumerate(verdicts) if one.picture is not None]
    refused = len(verdicts) - len(kept)
    said = (f"{refused} of {len(verdicts)} pictures were refused by the image check",) if refused else ()
    return replace(
        result,
        pictures=tuple(one.picture for one in verdicts if one.picture is not None),
        seeds=tuple(result.seeds[index] for index in kept if index < len(result.seeds)),
        extras=(),
        checks=tuple(checks),
        warnings=(*result.warnings, *said),
    )


def refuse_nothing(result: Generated) -> None:
    """Raise ImageRefused where the check has left nothing to deliver."""
    if result.checks and not result.pictures:
        which = "every picture" if len(result.checks) > 1 else "the picture"
        raise ImageRefused(f"the endpoint's image check refused {which}", details={"checks": list(result.checks)})
