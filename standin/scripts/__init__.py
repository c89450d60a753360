"""Scripts and extensions: what is installed, and the moments of a generation at which they act."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from standin.generation import processing
from standin.scripts.adetailer import ADetailer
from standin.scripts.catalog import Catalog, Script
from standin.scripts.controlnet import ControlNet
from standin.scripts.dynamic_prompts import DynamicPrompts
from standin.scripts.extension import Extension, scripts_of
from standin.scripts.tiled_diffusion import TiledDiffusion
from standin.scripts.ultimate_upscale import UltimateUpscale

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from standin.generation.job import Processed, Processing
    from standin.options import Options
    from standin.webui import WebUI

    Run = Callable[[WebUI, Processing, list[Any]], Processed]

KNOWN = ("adetailer", "tiled-diffusion", "dynamic-prompts", "controlnet", "ultimate-sd-upscale")
"""The extensions that the stand-in imitates, in the order in which they act."""


def extension_options(names: tuple[str, ...]) -> dict[str, Any]:
    """The options of scripts and installed extensions, with defaults: settable, but never listed."""
    classes: dict[str, type[Extension]] = {"controlnet": ControlNet, "adetailer": ADetailer}
    own = {key: value for name in names if name in classes for key, value in classes[name].options.items()}
    return {"enable_prompt_comments": True, **own}


class Extensions:
    """The installed extensions, and the catalog of all scripts."""

    def __init__(
        self, names: tuple[str, ...], flags: argparse.Namespace, options: Options, annotators: tuple[str, ...]
    ) -> None:
        unknown = set(names) - set(KNOWN)
        if unknown:
            raise ValueError(f"STANDIN_EXTENSIONS: unknown {sorted(unknown)}; there are {', '.join(KNOWN)}")
        makers: dict[str, Callable[[], Extension]] = {
            "adetailer": lambda: ADetailer(flags, options),
            "tiled-diffusion": TiledDiffusion,
            "dynamic-prompts": lambda: DynamicPrompts(flags),
            "controlnet": lambda: ControlNet(flags, annotators),
            "ultimate-sd-upscale": UltimateUpscale,
        }
        installed = [name for name in KNOWN if name in names]
        self._active = [makers[name]() for name in installed]
        counts = {"controlnet": "control_net_unit_count", "adetailer": "ad_max_models"}
        scripts: list[Script] = []
        for name in installed:
            wanted = int(options.get(counts[name])) if name in counts else None
            scripts += [_sized(script, wanted) if script.alwayson else script for script in scripts_of(name)]
        self.catalog = Catalog(scripts)
        self._runs: dict[str, Run] = {}
        for extension in self._active:
            self._runs.update(extension.runs())

    def listed(self) -> list[dict[str, Any]]:
        """Return the answer of `GET /sdapi/v1/extensions`."""
        return [
            {
                "name": extension.folder,
                "remote": "",
                "branch": "main",
                "commit_hash": "",
                "version": extension.version,
                "commit_date": 0,
                "enabled": True,
            }
            for extension in self._active
        ]

    def gets(self) -> dict[str, Callable[[WebUI, dict[str, str]], Any]]:
        """The extensions' own GET paths."""
        return {path: query for extension in self._active for path, query in extension.gets().items()}

    def posts(self) -> dict[str, Callable[[WebUI, Any], Any]]:
        """The extensions' own POST paths."""
        return {path: handler for extension in self._active for path, handler in extension.posts().items()}

    def run_script(self, webui: WebUI, p: Processing, script: Script) -> Processed:
        """Runs a selectable script in place of a plain generation; one that is not imitated generates plainly."""
        arguments = self.catalog.script_arguments(p.tab, script, p.script_args)
        run = self._runs.get(script.name)
        return run(webui, p, arguments) if run is not None else processing.run(webui, p)

    def before_process(self, webui: WebUI, p: Processing) -> None:
        """Before the overrides are applied."""
        for extension in self._active:
            extension.before_process(webui, p)

    def process(self, webui: WebUI, p: Processing) -> None:
        """Run the extensions' step after prompts and seeds are known."""
        for extension in self._active:
            extension.process(webui, p)

    def postprocess(self, webui: WebUI, p: Processing, processed: Processed) -> None:
        """Run the extensions' step after the pictures are made."""
        for extension in self._active:
            extension.postprocess(webui, p, processed)


def _sized(script: Script, wanted: int | None) -> Script:
    """The script with as many units as the options say: ControlNet's, or ADetailer's behind its two switches."""
    if wanted is None:
        return script
    switches = [argument for argument in script.arguments if isinstance(argument.value, bool)]
    units = [argument for argument in script.arguments if not isinstance(argument.value, bool)]
    units = [*units, *([units[-1]] * max(0, wanted - len(units)))][:wanted]
    return Script(script.name, script.alwayson, script.img2img, (*switches, *units), script.hidden)
