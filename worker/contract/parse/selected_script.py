"""Scripts that clients choose by `script_name` (or `script`), as the jobs of ours that do the same. Pure.

None of the WebUI's own looping scripts is run: what they make in one request is asked for in plain requests, each of
which is proven. Arguments are those of A1111 v1.10.1, in order or by their labels on its screen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticCustomError

from worker.common.suggestions import nearest, plain
from worker.contract.base.json_guard import shown, word
from worker.contract.expand.loopback import MOST_LOOPS, Loops
from worker.contract.parse.xyz_axes import read_xyz_plot
from worker.contract.types.fields import Number, Whole, mistake
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.contract.parse.normalise import Normal
    from worker.contract.parse.unknown_fields import UnknownFields

_MATRIX, _LINES, _XYZ = "prompt matrix", "prompts from file or textbox", "x/y/z plot"
_SD_UPSCALE, _LOOPBACK = "sd upscale", "loopback"
_ULTIMATE = "ultimate sd upscale"
_NOT_OFFERED = {
    "outpainting mk2": "send inpaint with outpaint: {left, right, top, bottom}",
    "poor man's outpainting": "send inpaint with outpaint: {left, right, top, bottom}",
    "img2img alternative test": "no job does the same; img2img with a low denoising_strength is nearest",
    "controlnet m2m": "films are not made here",
}
"""Script → the job that does what it does."""
_FIELD_OF = {
    "controlnet": "controlnet",
    "adetailer": "adetailer",
    "refiner": "refiner_checkpoint and refiner_switch_at",
    "multidiffusion": "tiled_diffusion (or ultimate_upscale)",
    "tiled diffusion": "tiled_diffusion (or ultimate_upscale)",
    "tiled vae": "tiled_vae",
    "soft inpainting": "soft_inpainting",
}
"""Script that is added to a job, not chosen → the field for it."""
_LABELS: Mapping[str, tuple[str, ...]] = {
    _MATRIX: (
        "Put variable parts at start of prompt",
        "Use different seed for each picture",
        "Select prompt",
        "Select joining char",
        "Grid margins (px)",
    ),
    _LINES: (
        "Iterate seed every line",
        "Use same random seed for all lines",
        "Insert prompts at the",
        "List of prompt inputs",
    ),
    _SD_UPSCALE: ("", "Tile overlap", "Upscaler", "Scale Factor"),
    _LOOPBACK: (
        "Loops",
        "Final denoising strength",
        "Denoising strength curve",
        "Append interrogated prompt at each iteration",
    ),
    _XYZ: (
        "X type",
        "X values",
        "X values list",
        "Y type",
        "Y values",
        "Y values list",
        "Z type",
        "Z values",
        "Z values list",
        "Draw legend",
        "Include Sub Images",
        "Include Sub Grids",
        "Keep -1 for seeds",
        "Vary seeds for X",
        "Vary seeds for Y",
        "Vary seeds for Z",
        "Grid margins (px)",
        "Use text inputs instead of dropdowns",
    ),
}
"""Script → the labels of its arguments, in order."""
_MOST_PARTS = 6
_UPSCALERS = ("None", "Lanczos", "Nearest")
"""The WebUI's first upscalers, which are the same everywhere."""
_DEFAULT_SIDE = 512


def read_selected(normal: Normal, ultimate: Callable[[Normal, object], None], unknown: UnknownFields) -> None:
    """Turn `script_name` and `script_args`, or `script`, into the fields of ours that do the same.

    Args:
        normal: The job in one spelling.
        ultimate: Reads the arguments of Ultimate SD upscale, which has a field of its own.
        unknown: What becomes of arguments that nobody reads.
    """
    chosen = _chosen(normal, unknown)
    if chosen is None:
        return
    name, given, name_path, path = chosen
    script = word(name)
    if script == _ULTIMATE and name_path == "script_name":
        ultimate(normal, given)
        return
    readers: Mapping[str, Callable[[Normal, dict[str, Any], str], None]] = {
        _MATRIX: _matrix,
        _LINES: _lines,
        _XYZ: read_xyz_plot,
        _SD_UPSCALE: _sd_upscale,
        _LOOPBACK: _loopback,
    }
    own = _FIELD_OF.get(script) or ("wildcards" if script.startswith("dynamic prompts") else None)
    if script == _ULTIMATE:
        normal.problems.append(Problem(name_path, "has a field of its own: ultimate_upscale"))
    elif own is not None:
        normal.problems.append(Problem(name_path, f"is not a selectable script; send {own}"))
    elif script in _NOT_OFFERED:
        normal.problems.append(Problem(name_path, f"is not run: {_NOT_OFFERED[script]}"))
    elif script not in readers:
        message = f"must be one of {', '.join([*readers, _ULTIMATE])}, not {shown(name)}"
        normal.problems.append(Problem(name_path, message, nearest(script, [*readers, _ULTIMATE])))
    else:
        arguments = _arguments(normal, script, given, path)
        if arguments is not None:
            readers[script](normal, arguments, path)


def _chosen(normal: Normal, unknown: UnknownFields) -> tuple[str, object, str, str] | None:
    """Return name, arguments and the paths of both, of the script that the job chooses; None where it chooses none."""
    script = normal.fields.pop("script", None)
    name, given = normal.fields.pop("script_name", None), normal.fields.pop("script_args", None)
    if script is not None:
        if not isinstance(script, dict) or not isinstance(script.get("name"), str):
            normal.problems.append(Problem("script", "must be an object with a name"))
            return None
        if name is not None:
            normal.problems.append(Problem("script_name", "says something else than script; send one of them"))
            return None
        return script["name"], script.get("args"), "script.name", "script.args"
    if name is None:
        if given and unknown == "warn":
            normal.warnings.append("script_args is ignored: it has no effect without script_name")
        elif given:
            normal.problems.append(Problem("script_args", "has no effect without script_name"))
        return None
    if not isinstance(name, str):
        normal.problems.append(Problem("script_name", f"must be text, not {shown(name)}"))
        return None
    return name, given, "script_name", "script_args"


def _arguments(normal: Normal, script: str, given: object, path: str) -> dict[str, Any] | None:
    """Return the arguments of a script by their labels, None where they can't be read."""
    labels = _LABELS[script]
    if isinstance(given, list):
        if len(given) > len(labels):
            normal.problems.append(Problem(path, f"has {len(given)} arguments; the script takes {len(labels)}"))
            return None
        return {label: value for label, value in zip(labels, given, strict=False) if label and value is not None}
    if given is not None and not isinstance(given, dict):
        normal.problems.append(Problem(path, f"must be a list, or an object by label, not {shown(given)}"))
        return None
    known = {plain(label): label for label in labels if label}
    found: dict[str, Any] = {}
    for label, value in (given or {}).items():
        name = known.get(plain(label))
        if name is None:
            message = "is not an argument of this script"
            normal.problems.append(Problem(f"{path}.{label}", message, nearest(label, known.values())))
        elif isinstance(value, list) and f"{name} list" in labels:
            found[f"{name} list"] = value
        else:
            found[name] = value
    return None if normal.problems else found


def _matrix(normal: Normal, args: dict[str, Any], path: str) -> None:
    field = "negative_prompt" if word(args.get("Select prompt")) == "negative" else "prompt"
    text = normal.fields.get(field)
    if not isinstance(text, str) or "|" not in text:
        normal.problems.append(Problem(field, "has no parts between |, of which a prompt matrix is made"))
        return
    between = " " if word(args.get("Select joining char")) == "space" else ", "
    first, *parts = text.split("|")
    if len(parts) > _MOST_PARTS:
        normal.problems.append(Problem(field, f"has {len(parts)} parts between |; at most {_MOST_PARTS} are combined"))
        return
    prompts = []
    for number in range(2 ** len(parts)):
        chosen = [part.strip().strip(",") for place, part in enumerate(parts) if number & (1 << place)]
        at_start = args.get("Put variable parts at start of prompt") is True
        prompts.append(between.join([*chosen, first] if at_start else [first, *chosen]))
    different = args.get("Use different seed for each picture") is True
    _several(normal, field, prompts, path, same_seed=not different, counted=different)


def _lines(normal: Normal, args: dict[str, Any], path: str) -> None:
    text = args.get("List of prompt inputs")
    lines = [line.strip() for line in text.splitlines() if line.strip()] if isinstance(text, str) else []
    if not lines:
        normal.problems.append(Problem(path, "has no lines; send prompts: [...]"))
        return
    if any("--" in line for line in lines):
        normal.problems.append(Problem(path, "must not contain options (--…); send prompts: [...] with overrides"))
        return
    shared = normal.fields.get("prompt") or ""
    at_end = word(args.get("Insert prompts at the")) == "end"
    prompts = [line if not shared else f"{shared} {line}" if at_end else f"{line} {shared}" for line in lines]
    _several(
        normal,
        "prompt",
        prompts,
        path,
        same_seed=args.get("Use same random seed for all lines") is True,
        counted=args.get("Iterate seed every line") is True,
    )


def _several(normal: Normal, field: str, texts: Sequence[str], path: str, *, same_seed: bool, counted: bool) -> None:
    """Ask for one picture per text: of one seed as a plot, which draws it once, else as prompts."""
    seed = normal.fields.get("seed")
    fixed = type(seed) is int and seed >= 0
    if same_seed and not fixed:
        normal.put("plot", {"x": {"field": field, "values": list(dict.fromkeys(texts))}}, path)
        return
    each = 1
    for name in ("batch_size", "n_iter"):
        count = normal.fields.get(name)
        each *= count if type(count) is int else 1
    shared = normal.fields.pop("prompt", "")
    parts: list[dict[str, Any]] = []
    for index, text in enumerate(texts):
        part: dict[str, Any] = {"prompt": shared, field: text}
        if counted and fixed:
            part["seed"] = seed + index * each  # type: ignore[operator]  # a whole number where it is fixed
        parts.append(part)
    normal.put("prompts", parts, path)


def _sd_upscale(normal: Normal, args: dict[str, Any], path: str) -> None:
    fields = normal.fields
    images = fields.get("init_images")
    if not isinstance(images, list) or len(images) != 1:
        normal.problems.append(Problem("init_images", "must be one picture for SD upscale"))
        return
    if fields.pop("n_iter", 1) not in (1, "1"):
        normal.problems.append(Problem("n_iter", "must be 1 for SD upscale; send a job for each seed"))
        return
    side, other = (fields.pop(name, _DEFAULT_SIDE) for name in ("width", "height"))
    if side != other:
        message = f"makes tiles of {side}x{other}; send upscale with tiles: {{size, overlap}}, which are square"
        normal.problems.append(Problem("width", message))
        return
    upscaler = args.get("Upscaler", "None")
    if type(upscaler) is int:
        if not 0 <= upscaler < len(_UPSCALERS):
            normal.problems.append(Problem(path, "names the upscaler by a number that differs between workers"))
            return
        upscaler = _UPSCALERS[upscaler]
    tiles = {"size": side, "overlap": args.get("Tile overlap", 64)}
    if "denoising_strength" in fields:
        tiles["denoising_strength"] = fields.pop("denoising_strength")
    if fields.get("batch_size") is not None:
        tiles["batch_size"] = fields.pop("batch_size")
    written = {f"tiles.{name}": path for name in ("overlap",)}
    if upscaler == "None":
        normal.put("tiles", tiles, path)
    else:
        normal.fields = {**fields, "type": "upscale", "image": images[0], "tiles": tiles}
        del normal.fields["init_images"]
        normal.fields |= {"upscaler_1": upscaler, "upscaling_resize": args.get("Scale Factor", 2.0)}
        written |= {"image": "init_images[0]", "upscaler_1": path, "upscaling_resize": path, "tiles": path}
    normal.written |= {**written, "tiles.size": "width"}


def _loopback(normal: Normal, args: dict[str, Any], path: str) -> None:
    readers: dict[str, tuple[Callable[[object], Any], object]] = {
        "Loops": (Whole(1, MOST_LOOPS).read, 4),
        "Final denoising strength": (Number(0, 1).read, 0.5),
        "Denoising strength curve": (_curve, "Linear"),
        "Append interrogated prompt at each iteration": (_no_interrogation, "None"),
    }
    found: list[Any] = []
    for label, (read, default) in readers.items():
        try:
            found.append(read(args.get(label, default)))
        except PydanticCustomError as error:
            normal.problems.append(Problem(path, f"{label}: {error.message()}"))
    if not normal.fields.get("init_images"):
        normal.problems.append(Problem("init_images", "is needed for Loopback: the picture to start from"))
    elif len(found) == len(readers):
        normal.loops = Loops(found[0], found[1], found[2], path)


def _curve(value: object) -> str:
    curve = word(value)
    if curve not in ("aggressive", "linear", "lazy"):
        raise mistake(f"must be Aggressive, Linear or Lazy, not {shown(value)}")
    return curve


def _no_interrogation(value: object) -> str:
    if word(value) not in ("none", ""):
        raise mistake("must be None: send interrogate, and its prompt in the job that goes on with the picture")
    return ""
