"""An extension: its scripts, options and paths, and the moments of a generation at which it acts."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any

from standin.scripts.catalog import PACKAGE, Script, script_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from standin.generation.job import Processed, Processing
    from standin.webui import WebUI


class Extension:
    """The base of all: does nothing anywhere."""

    name = ""
    folder = ""
    """As `GET /sdapi/v1/extensions` names it."""
    version = ""
    options: dict[str, Any] = {}  # noqa: RUF012 # read, never written
    """Options with their defaults: settable, but never listed."""

    def gets(self) -> dict[str, Callable[[WebUI, dict[str, str]], Any]]:
        """Its own GET paths."""
        return {}

    def posts(self) -> dict[str, Callable[[WebUI, Any], Any]]:
        """Its own POST paths."""
        return {}

    def runs(self) -> dict[str, Callable[[WebUI, Processing, list[Any]], Processed]]:
        """Runners of its selectable scripts."""
        return {}

    def before_process(self, webui: WebUI, p: Processing) -> None:
        """Before the overrides are applied; what raises here is a 500."""

    def process(self, webui: WebUI, p: Processing) -> None:
        """Act when prompts and seeds are known."""

    def postprocess(self, webui: WebUI, p: Processing, processed: Processed) -> None:
        """Act when the pictures are made."""


def scripts_of(extension: str) -> list[Script]:
    """The scripts of an extension, one entry per tab, from the data file."""
    text = resources.files(PACKAGE).joinpath("data/extension_scripts.json").read_text(encoding="utf-8")
    return [
        script_from({**item, "img2img": tab == "img2img"})
        for item in json.loads(text)
        if item["extension"] == extension
        for tab in item["tabs"]
    ]
