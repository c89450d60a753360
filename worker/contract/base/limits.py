"""Limits on jobs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that the operator sets (the first two) and bounds that keep reading a job cheap.

    Attributes:
        max_pixels: Width x height x batch_size of one batch on the GPU, pixels.
        max_images: Pictures of one job, batch_size x n_iter.
        max_text: Characters of one prompt.
        max_depth: Levels of nesting of the job's JSON.
        max_values: Values in the job's JSON, all levels together.
        max_items: Values in one list or object.
        max_problems: Mistakes that one error lists.
    """

    max_pixels: int = 4 * 1024 * 1024
    max_images: int = 16
    max_text: int = 20_000
    max_depth: int = 16
    max_values: int = 5_000
    max_items: int = 2_000
    max_problems: int = 30
