"""What holds between jobs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Baseline:
    """Option values in force between jobs, which hold where a job says nothing."""

    clip_skip: int = 1
    vae: str = "Automatic"
