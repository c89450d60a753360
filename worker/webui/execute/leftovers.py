"""Remains of a request in the WebUI that would show in the pictures of the next one.

A1111 keeps the last prompts encoded, under a key that lacks some of what shapes them (`cached_params` in
`modules/processing.py`, v1.10.1), and with `disable_extra_networks` it leaves the model's layers as the request before
has left them, its LoRAs among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.webui.execute.files_read import FilesRead
from worker.webui.result.probe import made, tiny_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from worker.webui.names.catalog import Catalog
    from worker.webui.process.launch_plan import LaunchPlan
    from worker.webui.request.body import Request

_NOT_IN_THE_KEY = (
    "comma_padding_backtrack",
    "use_old_emphasis_implementation",
    "sdxl_clip_l_skip",
    "sdxl_refiner_low_aesthetic_score",
    "sdxl_refiner_high_aesthetic_score",
)
"""Options that shape encoded prompts."""


class Leftovers:
    """The state that the requests so far have left one WebUI in.

    Args:
        files: The model files that it has read.
    """

    def __init__(self, files: FilesRead) -> None:
        self.files = files
        self._encoded_by: tuple[Any, ...] = (False, *(None for _ in _NOT_IN_THE_KEY))

    @classmethod
    def of_plan(cls, plan: LaunchPlan) -> Self:
        """Return the state of a WebUI that was started, or found, as `plan` says."""
        return cls(FilesRead(plan.embeddings, plan.controlnets, can_restart=not plan.is_external))

    def clear(
        self, request: Request, catalog: Catalog, post: Callable[[str, dict[str, Any]], Any], *, loads: bool
    ) -> None:
        """Have the WebUI forget what `request` would show: files, encoded prompts, LoRAs in the layers. Blocking.

        A small picture of another prompt takes the place of the encoded ones, and LoRAs out of the layers.

        Args:
            request: The request that is about to be sent.
            catalog: What the WebUI lists.
            post: Sends a body to the WebUI.
            loads: The request begins with loading a checkpoint.

        Raises:
            WebUIFailed: it has to be started again.
            WorkerError: as `post` does.
        """
        self.files.read_again(request, catalog, post, loads=loads)
        is_without = bool(request.body.get("disable_extra_networks"))
        overrides = request.body.get("override_settings") or {}
        encoded_by = (is_without, *(overrides.get(name) for name in _NOT_IN_THE_KEY))
        if is_without or encoded_by != self._encoded_by:
            # The prompts of the second pass are kept apart.
            made(tiny_body(request.expect.checkpoint.title, hires=bool(request.body.get("enable_hr"))), post)
        self._encoded_by = encoded_by
