"""Scripts and extensions: what is installed, and the moments of a generation at which they act."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import WebUIError  # noqa: TID252 # one program, two folders
from .catalog import Catalog, Script

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from ..processing import Processed, Processing  # noqa: TID252 # one program, two folders
    from ..webui import WebUI  # noqa: TID252 # as above


class Extensions:
    """The installed extensions, in the order in which they act."""

    def __init__(self, names: tuple[str, ...], flags: argparse.Namespace) -> None:
        self.names = names
        self._flags = flags
        self.catalog = Catalog()

    def options(self) -> dict[str, Any]:
        """The options that extensions add, with defaults; settable, but never listed."""
        return {}

    def listed(self) -> list[dict[str, Any]]:
        """What `GET /sdapi/v1/extensions` answers."""
        return []

    def gets(self) -> dict[str, Callable[[WebUI, dict[str, str]], Any]]:
        """The extensions' own GET paths."""
        return {}

    def posts(self) -> dict[str, Callable[[WebUI, Any], Any]]:
        """The extensions' own POST paths."""
        return {}

    def run_script(self, webui: WebUI, p: Processing, script: Script) -> Processed:
        """Runs a selectable script in place of a plain generation."""
        del webui, p
        raise WebUIError("NotImplementedError", f"the stand-in does not run {script.name}")

    def before_process(self, webui: WebUI, p: Processing) -> None:
        """Before the overrides are applied."""

    def process(self, webui: WebUI, p: Processing) -> None:
        """When prompts and seeds are known."""

    def postprocess(self, webui: WebUI, p: Processing, processed: Processed) -> None:
        """When the pictures are there."""
