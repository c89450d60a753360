"""What a job of a chaos run is made of: what its client sends, and the WebUI's own requests for the same pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MODELS = ("Deliberate_v6", "Other_v1")
LORAS = ("add_detail", "style_two")
FETCHED = tuple(f"from_afar_{number}" for number in range(5))
"""LoRAs that no worker has at first; jobs bring the address."""
DEPOT = "http://depot"
"""Stands for the address of the server that has them, which is known when it runs."""
FIRST = "first-job"
"""Stands in the input of a second job for the id of the one before it."""
CONTROL = "control_v11p_sd15_canny"
CONTROL_TITLE = f"{CONTROL} [e3b0c442]"
"""As the WebUI lists it, with a hash of a part that this file is too small to have."""
HARMLESS = {"steps": 6, "width": 64, "height": 64}

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to a WebUI.

    Attributes:
        path: Below ``/sdapi/v1/``.
        body: JSON.
        first, count: Which of the answer's pictures are the job's; after them come maps, before them grids.
        start: The request whose first picture this one begins with.
        judged: The request whose first picture has to be accepted, else this one's pictures are not the job's.
    """

    path: str
    body: Fields
    first: int = 0
    count: int = 1
    start: Ask | None = None
    judged: Ask | None = None


@dataclass(frozen=True, slots=True)
class Draw:
    """What each picture draws by its seed: the answer tells what, and it has to be possible.

    Attributes:
        lines: Of which different ones stand behind the prompt.
        least, most: How many.
        loras: Of which one is drawn.
        scale: The range of its scale.
    """

    lines: tuple[str, ...]
    least: int
    most: int
    loras: tuple[str, ...]
    scale: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Written:
    """A job's input, and what makes its pictures, in order.

    Attributes:
        most: So many of the requests count at most: the first whose pictures are accepted.
        draw: What the pictures draw; it goes into the prompt of each request, one a picture.
        second: Another job that comes with it; `FIRST` in its input stands for the first one's id.
        waits: The second job is offered when the first is over, not beside it.
    """

    input: Fields
    asks: tuple[Ask, ...]
    most: int | None = None
    draw: Draw | None = None
    second: Written | None = None
    waits: bool = True


def webui(base: Fields, **more: Any) -> Fields:
    """Return the WebUI's own fields for a job without anything special."""
    body = {name: value for name, value in base.items() if name != "checkpoint"}
    overrides = {"sd_model_checkpoint": base["checkpoint"], "CLIP_stop_at_last_layers": 1}
    return {**body, "override_settings": overrides, **more}
