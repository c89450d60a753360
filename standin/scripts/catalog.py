"""The scripts that exist: names, arguments, defaults; what `GET /sdapi/v1/scripts` and `script-info` list."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from standin.errors import WebUIError, http_error, type_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PACKAGE = "standin"
LAST = ("refiner", "sampler", "seed")
"""Always-on scripts that stand behind those of extensions."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One control of a script, as `script-info` shows it."""

    label: str | None
    value: Any
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: Any = None

    def listed(self, lists: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """The control as JSON; `lists` are the names behind choices such as `@samplers`."""
        choices = list(lists[self.choices]) if isinstance(self.choices, str) else self.choices
        shown = {"label": self.label, "value": self.value, "minimum": self.minimum, "maximum": self.maximum}
        return {**shown, "step": self.step, "choices": choices}


@dataclass(frozen=True, slots=True)
class Script:
    """A script of one tab; `hidden`: it has no entry in script-info."""

    name: str
    alwayson: bool
    img2img: bool
    arguments: tuple[Argument, ...] = ()
    hidden: bool = False

    def defaults(self) -> list[Any]:
        """The value of every argument."""
        return [argument.value for argument in self.arguments]


def script_from(item: Mapping[str, Any]) -> Script:
    """A script from its entry in a data file."""
    arguments = tuple(Argument(*argument) for argument in item["args"])
    return Script(item["name"], item["alwayson"], item["img2img"], arguments)


class Catalog:
    """Both tabs' scripts in their order: built-in ones, those of extensions, and the last three."""

    def __init__(self, extra: Sequence[Script] = ()) -> None:
        data = json.loads(resources.files(PACKAGE).joinpath("data/scripts.json").read_text(encoding="utf-8"))
        self.lists: dict[str, list[str]] = data["lists"]
        described = [script_from(item) for item in data["scripts"]]
        self._tabs: dict[str, list[Script]] = {}
        for tab in ("txt2img", "img2img"):
            img2img = tab == "img2img"
            own = {script.name: script for script in described if script.img2img == img2img}
            built_in = [
                own.get(name, Script(name, alwayson=True, img2img=img2img, hidden=True)) for name in data["order"][tab]
            ]
            added = [script for script in extra if script.img2img == img2img]
            first = [script for script in built_in if script.name not in LAST]
            self._tabs[tab] = [*first, *added, *(script for script in built_in if script.name in LAST)]

    def names(self) -> dict[str, list[str]]:
        """Return the answer of `GET /sdapi/v1/scripts`."""
        return {tab: [script.name for script in scripts] for tab, scripts in self._tabs.items()}

    def info(self, lists: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
        """Return the answer of `GET /sdapi/v1/script-info`."""
        known = {**self.lists, **lists}
        return [
            {
                "name": script.name,
                "is_alwayson": script.alwayson,
                "is_img2img": script.img2img,
                "args": [argument.listed(known) for argument in script.arguments],
            }
            for scripts in self._tabs.values()
            for script in scripts
            if not script.hidden
        ]

    def selectable(self, tab: str, name: str) -> Script:
        """The script that `script_name` runs; raises 422 where the tab has none of that name."""
        return self._find([script for script in self._tabs[tab] if not script.alwayson], name)

    def script_arguments(self, tab: str, script: Script, given: Sequence[Any]) -> list[Any]:
        """The arguments that the script gets: the given list put in the place of its own.

        A list of the wrong length moves the defaults of every script behind it, so a short one is filled from those.
        """
        before: list[Any] = []
        behind: list[Any] = []
        for other in (entry for entry in self._tabs[tab] if not entry.alwayson):
            if other is script:
                before = [None]
            elif before:
                behind.extend(other.defaults())
        return [*given, *behind][: len(script.arguments)]

    def alwayson(self, tab: str, requested: Mapping[str, Any]) -> dict[str, list[Any]]:
        """The arguments of every always-on script: its defaults with the request's laid over them by position.

        Raises WebUIError (422) for an unknown or selectable name, and as Python would for a value of another shape.
        """
        arguments = {script.name.lower(): script.defaults() for script in self._tabs[tab] if script.alwayson}
        for name, value in requested.items():
            script = self._find(self._tabs[tab], name)
            if not script.alwayson:
                raise http_error(422, "Cannot have a selectable script in the always on scripts params")
            _lay_over(arguments[script.name.lower()], value)
        return arguments

    def _find(self, scripts: Sequence[Script], name: str) -> Script:
        for script in scripts:
            if script.name.lower() == name.lower():
                return script
        raise http_error(422, f"Script '{name}' not found")


def _lay_over(defaults: list[Any], value: Any) -> None:
    if isinstance(value, int | float | bool) or value is None:
        raise type_error(f"argument of type '{type(value).__name__}' is not iterable")
    if "args" not in value:
        return
    if isinstance(value, list):
        raise type_error("list indices must be integers or slices, not str")
    given = value["args"]
    if not isinstance(given, list | str | dict):
        raise type_error(f"object of type '{type(given).__name__}' has no len()")
    for index in range(min(len(defaults), len(given))):
        if isinstance(given, dict):
            raise WebUIError("KeyError", str(index))
        defaults[index] = given[index]
