"""One spelling for every job: what the WebUI's API says in two ways or keeps from old times becomes one field.

What says nothing is left out (the WebUI's own echo of a request is full of nulls), `sampler_index` is an old
`sampler_name`, the override settings that have a field of their own move there, `hires` and `refiner` become the
WebUI's flat fields, and what came through `alwayson_scripts` becomes the typed units.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.contract.base.json_guard import shown, word
from worker.contract.base.neutral import without_empty
from worker.contract.parse.switched_off import without_false
from worker.contract.types.overrides import MOVED, read_overrides
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.contract.expand.loopback import Loops

_SAME_AS_UNSET: dict[str, frozenset[str]] = {
    "refiner_checkpoint": frozenset({"none"}),
    "scheduler": frozenset({"n/a", "none"}),
    "hr_checkpoint_name": frozenset({"use same checkpoint"}),
    "hr_sampler_name": frozenset({"use same sampler"}),
    "hr_scheduler": frozenset({"use same scheduler"}),
    "script_name": frozenset({"none"}),
    "upscaler_2": frozenset({"none"}),
}
"""Words, in any case, with which the WebUI does what it does without the field."""

_WITHOUT_EFFECT: dict[str, tuple[tuple[object, ...], str]] = {
    "save_images": ((False,), "the worker keeps no pictures on its disk"),
    "do_not_save_samples": ((False, True), ""),
    "do_not_save_grid": ((False, True), ""),
    "send_images": ((True,), "pictures are always in the answer"),
    "include_init_images": ((False,), "the answer does not repeat the job's own pictures"),
    "show_extras_results": ((True,), "pictures are always in the answer"),
    "override_settings_restore_afterwards": ((True,), "no job changes the options of another"),
    "comments": ((), "they are the WebUI's own notes"),
    "force_task_id": ((), "jobs are known by the id that the platform gives them"),
}
"""Fields of the WebUI's API that mean nothing to a worker: values that pass silently, and the warning for others."""

_ECHOED_SAMPLER = "Euler"
"""The value of `sampler_index` in the WebUI's own echo, whatever the job's sampler was."""

_LEGACY: dict[str, tuple[tuple[object, ...], str]] = {
    "firstphase_width": ((0,), "is read by the WebUI otherwise than it was; set width and hr_resize_x"),
    "firstphase_height": ((0,), "is read by the WebUI otherwise than it was; set height and hr_resize_y"),
    "firstpass_image": ((), "is internal to the WebUI and can't be sent"),
    "latent_mask": ((), "is internal to the WebUI and can't be sent; send mask"),
    "infotext": ((), "is not read; send its values as fields"),
}
"""Fields of the WebUI's API that are accepted only with the value they have in its own echo."""

_SWITCHED = frozenset({"soft_inpainting", "tiled_diffusion", "tiled_vae", "ultimate_upscale"})
"""Units that work with nothing but defaults, so that an empty one may be a wish."""
SPELLINGS = frozenset(
    {
        "action",
        "alwayson_scripts",
        "compat",
        "dynamic_prompts",
        "return",
        "sampler_index",
        "script_args",
        "script_name",
        *_WITHOUT_EFFECT,
        *_LEGACY,
    }
)
"""Names that are read although no kind of job has a field of that name."""
_NAMED = 5
"""Options that one warning names."""

_NESTED: dict[str, dict[str, str]] = {
    "hires": {
        "enabled": "enable_hr",
        "scale": "hr_scale",
        "width": "hr_resize_x",
        "height": "hr_resize_y",
        "upscaler": "hr_upscaler",
        "steps": "hr_second_pass_steps",
        "denoising_strength": "denoising_strength",
        "checkpoint": "hr_checkpoint_name",
        "sampler": "hr_sampler_name",
        "scheduler": "hr_scheduler",
        "prompt": "hr_prompt",
        "negative_prompt": "hr_negative_prompt",
    },
    "refiner": {"checkpoint": "refiner_checkpoint", "switch_at": "refiner_switch_at"},
}
"""Object of ours → its fields as the WebUI's flat ones."""
FLAT = {f"{name}.{key}": flat for name, fields in _NESTED.items() for key, flat in fields.items()}
"""Path in an object of ours → the WebUI's flat field."""


@dataclass(slots=True)
class Normal:
    """A job in one spelling.

    Attributes:
        fields: What is left to be read by the job's type.
        written: Field → where the client wrote it, when that is elsewhere.
        problems: Mistakes found on the way; their paths are as the client wrote them.
        warnings: What was ignored and why.
        empty: Names of the fields that say nothing.
        loops: Of the script Loopback, where the job chooses it.
    """

    fields: dict[str, Any]
    written: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    empty: tuple[str, ...] = ()
    loops: Loops | None = None

    def put(self, target: str, value: object, written: str) -> None:
        """Set `target` (``output.format``) to `value`, found at `written`; two values for one thing are a mistake."""
        parent, _, leaf = target.rpartition(".")
        place = self.fields
        if parent:
            inner = self.fields.get(parent, {})
            if not isinstance(inner, dict):
                return
            place = self.fields[parent] = dict(inner)
        if place.get(leaf) is None:
            place[leaf] = value
            self.written[target] = written
        elif place[leaf] != value:
            self.problems.append(Problem(written, f"says something else than {target}; send one of them"))


def normalise(raw: Mapping[str, Any]) -> Normal:
    """Return what `raw` says, in one spelling; `raw` is left as it is."""
    cleaned = without_empty(raw)
    normal = in_one_spelling(without_false(cleaned.fields))
    normal.written = {**cleaned.written, **normal.written}
    normal.empty = cleaned.empty
    for name in cleaned.empty:
        if name in _SWITCHED and isinstance(raw[name], dict):
            normal.warnings.append(f'{name} is empty, which counts as not sent; {{"enabled": true}} turns it on')
    return normal


def in_one_spelling(fields: Mapping[str, Any]) -> Normal:
    """Return `fields`, of which each says something, in one spelling."""
    normal = Normal({})
    for name, value in fields.items():
        if name in _SAME_AS_UNSET and word(value) in _SAME_AS_UNSET[name]:
            continue
        if name in _WITHOUT_EFFECT:
            silent, why = _WITHOUT_EFFECT[name]
            if why and value not in silent:
                normal.warnings.append(f"{name} is ignored: {why}")
        elif name in _LEGACY:
            silent, why = _LEGACY[name]
            if value not in silent:
                normal.problems.append(Problem(name, why))
        else:
            normal.fields[name] = value
    _sampler_index(normal)
    _overrides(normal)
    for name, targets in _NESTED.items():
        _flatten(normal, name, targets)
    _shorthands(normal)
    return normal


def _sampler_index(normal: Normal) -> None:
    old = normal.fields.pop("sampler_index", None)
    if not old:
        return
    if "sampler_name" not in normal.fields:
        normal.put("sampler_name", old, "sampler_index")
    elif old not in (normal.fields["sampler_name"], _ECHOED_SAMPLER):
        normal.warnings.append("sampler_index is ignored: sampler_name says which sampler")


def _overrides(normal: Normal) -> None:
    given = normal.fields.pop("override_settings", None)
    if given is None:
        return
    if not isinstance(given, dict):
        normal.problems.append(Problem("override_settings", f"must be an object, not {shown(given)}"))
        return
    read = read_overrides(given)
    normal.problems.extend(read.problems)
    if read.ignored:
        names, verb = ", ".join(read.ignored[:_NAMED]), "is" if len(read.ignored) == 1 else "are"
        more = f" and {len(read.ignored) - _NAMED} more" if len(read.ignored) > _NAMED else ""
        normal.warnings.append(f"{names}{more} {verb} ignored: a job changes nothing of how the WebUI saves and shows")
    if read.kept:
        normal.fields["override_settings"] = read.kept
    for option, target in MOVED.items():
        if given.get(option) is not None and given[option] != "":
            normal.put(target, given[option], f"override_settings.{option}")


def _flatten(normal: Normal, name: str, targets: Mapping[str, str]) -> None:
    """Move the known fields of an object to the flat ones; what is unknown stays to be reported by its type."""
    given = normal.fields.get(name)
    if not isinstance(given, dict):
        return
    rest = {key: value for key, value in given.items() if key not in targets and value is not None}
    if rest:
        normal.fields[name] = rest
    else:
        del normal.fields[name]
    if name == "hires" and given.get("enabled") is None:
        normal.put("enable_hr", value=True, written=name)
    for key, target in targets.items():
        if given.get(key) is not None:
            normal.put(target, given[key], f"{name}.{key}")
        elif target not in normal.fields:
            normal.written[target] = f"{name}.{key}"  # where it is missing, if it is


def _prompt(part: object) -> object:
    """Return one of several prompts as an object without nulls, which would take the job's own values away."""
    if isinstance(part, dict):
        given = {name: value for name, value in part.items() if value is not None}
        return {**given, "pool": [given["pool"]]} if isinstance(given.get("pool"), dict) else given
    return {"prompt": part} if isinstance(part, str) else part


def _single_units(normal: Normal) -> None:
    """Read one unit without a list around it; what is no unit is told at its own place."""
    for name in ("controlnet", "adetailer"):
        if isinstance(normal.fields.get(name), dict):
            normal.fields[name] = [normal.fields[name]]
    if isinstance(normal.fields.get("adetailer"), (str, bool)):
        normal.fields["adetailer"] = [normal.fields["adetailer"]]
        normal.written["adetailer[0]"] = "adetailer"


def _shorthands(normal: Normal) -> None:
    """Read the short forms: a list of seeds, prompts as texts, one unit without a list, `return`."""
    fields = normal.fields
    if isinstance(fields.get("seed"), list):
        normal.put("seeds", fields.pop("seed"), "seed")
    if "dynamic_prompts" in fields:
        normal.put("wildcards", fields.pop("dynamic_prompts"), "dynamic_prompts")
    for name, kind in (("preset", str), ("pool", dict)):
        if isinstance(fields.get(name), kind):
            fields[name] = [fields[name]]
            normal.written[f"{name}[0]"] = name
    if isinstance(fields.get("prompts"), list):
        fields["prompts"] = [_prompt(part) for part in fields["prompts"]]
    _single_units(normal)
    _output(normal)


def _output(normal: Normal) -> None:
    """Read the short forms of how pictures come back."""
    fields = normal.fields
    output = fields.get("output")
    if isinstance(output, dict):
        fields["output"] = {key: value for key, value in output.items() if value is not None and key != "return"}
        if output.get("return") is not None:
            normal.put("output.delivery", output["return"], "output.return")
    if "return" in fields:
        normal.put("output.delivery", fields.pop("return"), "return")
