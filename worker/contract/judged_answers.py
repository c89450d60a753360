"""Opinions of judges on pictures, as types of the answer."""

from __future__ import annotations

from typing_extensions import NotRequired, TypedDict


class JudgedFace(TypedDict):
    """The face of a picture that is most like the references."""

    similarity: float | None
    """-1 to 1; null: there is no face."""
    faces: int
    box: NotRequired[list[int]]
    """Left, top, width and height, pixels."""


class JudgedQuality(TypedDict):
    """Plain quality of a picture, with the figures that the score comes from."""

    score: float
    """0 to 1."""
    sharpness: float
    clipping: float
    brightness: float
    contrast: float
    entropy: float
    noise: float
    correlation: float


class JudgedAnswer(TypedDict):
    """The judges' opinions on one picture; other judges stand in it by their name, ``{"score": …}``."""

    seed: NotRequired[int]
    """Of a job with `accept`."""
    index: NotRequired[int]
    """Of a job `judge`: its place in `images`."""
    accepted: bool
    face: NotRequired[JudgedFace]
    quality: NotRequired[JudgedQuality]
    duplicate_of: NotRequired[int]
    """Place in `judged` of an accepted picture that this one is a near-duplicate of."""
    why: NotRequired[str]
    """Of a rejected one: the reason."""
    key: NotRequired[str]
    """Of a rejected one that was stored; see `output.rejected`."""
