"""Scripts and extensions: what is installed, and the moments of a generation at which they act."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import outpaint, runs, xyz
from .catalog import Catalog, Script

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from ..job import Processed, Processing  # noqa: TID252 # one program, two folders
    from ..webui import WebUI  # noqa: TID252 # as above

BUILT_IN: dict[str, Callable[[WebUI, Processing, list[Any]], Processed]] = {
    "prompt matrix": runs.prompt_matrix,
    "prompts from file or textbox": runs.prompts_from_lines,
    "x/y/z plot": xyz.run,
    "img2img alternative test": runs.alternative_test,
    "loopback": runs.loopback,
    "outpainting mk2": outpaint.mk2,
    "poor man's outpainting": outpaint.poor_man,
    "sd upscale": runs.sd_upscale,
}


class Extensions:
    """The installed extensions, in the order in which they act."""

    def __init__(self, names: tuple[str, ...], flags: argparse.Namespace) -> None:
        self.names = names
        self._flags = flags
        self.catalog = Catalog()
        self._runs: dict[str, Callable[[WebUI, Processing, list[Any]], Processed]] = dict(BUILT_IN)

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
        arguments = self.catalog.script_arguments(p.tab, script, p.script_args)
        return self._runs[script.name](webui, p, arguments)

    def before_process(self, webui: WebUI, p: Processing) -> None:
        """Before the overrides are applied."""

    def process(self, webui: WebUI, p: Processing) -> None:
        """When prompts and seeds are known."""

    def postprocess(self, webui: WebUI, p: Processing, processed: Processed) -> None:
        """When the pictures are there."""
