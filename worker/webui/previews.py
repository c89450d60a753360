"""Live previews of an unfinished picture: off unless a job asks for them and the operator allows it.

The WebUI decodes a preview whenever it is asked for its progress and another step is done, on the GPU, beside the
sampling; asked with ``skip_current_image`` it decodes all the same. So the option is on for the asking job alone, as an
override, and that job's progress is looked at less often.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from worker.images.formats.picture import BrokenPicture
from worker.images.inspect import decode_base64, inspect
from worker.images.preview import thumbnail

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.webui.http import WebUIClient
    from worker.webui.request.body import Request

How = Literal["off", "cheap", "full"]
METHODS: dict[How, str] = {"cheap": "Approx cheap", "full": "Full"}
OPTION = "live_previews_enable"
LONGEST_SIDE = 512
TIMEOUT_S = 15.0
"""For a preview by the whole VAE of a large picture."""


def with_previews(request: Request, how: How) -> Request:
    """Return `request` with the WebUI's previews on while it runs."""
    if how == "off":
        return request
    on = {**request.body.get("override_settings", {}), OPTION: True, "show_progress_type": METHODS[how]}
    return replace(request, body={**request.body, "override_settings": on})


def is_watched(request: Request) -> bool:
    """Return whether `request` has the WebUI's previews on."""
    return bool(request.body.get("override_settings", {}).get(OPTION))


def look(client: WebUIClient) -> Mapping[str, Any]:
    """Return the WebUI's progress, its ``current_image`` as base64 of a small JPEG, or None. Blocking.

    Raises what `WebUIClient.get` raises.
    """
    state = client.get("/sdapi/v1/progress", timeout=TIMEOUT_S, tries=1)
    return {**state, "current_image": small(state.get("current_image"))} if isinstance(state, dict) else {}


def small(image: object) -> str | None:
    """Return a picture in base64 as base64 of a JPEG of at most `LONGEST_SIDE`; None where there is none."""
    if not isinstance(image, str):
        return None
    try:
        return thumbnail(inspect(decode_base64(image)), LONGEST_SIDE).base64
    except BrokenPicture:
        return None
