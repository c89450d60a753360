"""Pools of prompt lines and LoRAs from which each picture draws by its seed. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from worker.common.suggestions import nearest
from worker.contract.expand.draw import number_between, scale_between, shuffled
from worker.contract.expand.wildcards import expand_text
from worker.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.contract.types.composed.pool import Pool
    from worker.contract.types.model_ref import LoraRef

_LISTED = 20
"""Names that an error lists at most."""


def with_drawn_lines(
    prompt: str,
    pools: Sequence[Pool],
    seed: int,
    lists: Mapping[str, Sequence[str]],
    *,
    path: Callable[[str], str],
) -> str:
    """Return `prompt` with the lines that `seed` draws from each pool behind it.

    Lines of an operator's list may be templates of wildcards; a client's own lines are taken as they are.

    Args:
        prompt: As the client wrote it.
        pools: Sources and counts.
        seed: Of the picture.
        lists: The operator's lists by name.
        path: Where the client wrote a field, for errors.

    Raises:
        InvalidInput: a list that does not exist, or one with fewer lines than a count asks for.
    """
    parts = [prompt.strip().rstrip(",").rstrip()]
    for index, pool in enumerate(pools):
        place = path(f"pool[{index}]")
        lines = _lines_of(pool, lists, place)
        least, most = pool.counts
        if most > len(lines):
            message = f"asks for up to {most} different lines, but there are {len(lines)}"
            raise InvalidInput.at(f"{place}.count", message, str(len(lines)))
        count = number_between(least, most, seed, "pool", index)
        drawn = shuffled(lines, seed, "pool", index)[:count]
        if isinstance(pool.source, str):
            drawn = [expand_text(line, seed, lists, path=f"{place}.from") for line in drawn]
        parts += [line.strip() for line in drawn]
    return ", ".join(part for part in parts if part)


def _lines_of(pool: Pool, lists: Mapping[str, Sequence[str]], path: str) -> list[str]:
    """Return the different lines of a pool."""
    if not isinstance(pool.source, str):
        return list(dict.fromkeys(pool.source))
    name = pool.source.strip().removeprefix("__").removesuffix("__")
    if name not in lists:
        known = f"there are {', '.join(sorted(lists)[:_LISTED])}" if lists else "none is installed"
        raise InvalidInput.at(f"{path}.from", f"is not a list of this endpoint; {known}", nearest(name, lists))
    return list(dict.fromkeys(lists[name]))


def draw_loras(loras: Sequence[LoraRef], seed: int, files: Sequence[str], *, path: str) -> list[LoraRef]:
    """Return the LoRAs with every choice and every range of scales settled by `seed`; no LoRA is drawn twice.

    Args:
        loras: As the client wrote them.
        seed: Of the picture.
        files: The LoRA files as paths below their folder, for patterns.
        path: The field of the LoRAs, for errors.

    Raises:
        InvalidInput: nothing matches a pattern, or everything that matches was drawn already.
    """
    taken = {_stem(lora.ref) for lora in loras if lora.one_of is None}
    drawn: list[LoraRef] = []
    for index, lora in enumerate(loras):
        settled = lora
        if lora.one_of is not None:
            candidates = _candidates(lora.one_of, files, f"{path}[{index}].one_of")
            free = [name for name in candidates if _stem(name) not in taken]
            if not free:
                message = "leaves none to draw: other entries of the job have all of its LoRAs"
                raise InvalidInput.at(f"{path}[{index}].one_of", message)
            name = shuffled(free, seed, "lora", *lora.one_of)[0]
            taken.add(_stem(name))
            settled = settled.settled(name=name)
        if isinstance(lora.scale, tuple):
            settled = settled.settled(scale=scale_between(*lora.scale, seed, "scale", settled.ref))
        drawn.append(settled)
    return drawn


def _candidates(one_of: Sequence[str], files: Sequence[str], path: str) -> list[str]:
    """Return the LoRAs that the names and patterns of a choice mean, each once."""
    found: list[str] = []
    for name in one_of:
        if not is_pattern(name):
            found.append(name)
            continue
        matching = [file for file in files if matches(file, name)]
        if not matching:
            some = ", ".join(files[:_LISTED]) or "none"
            raise InvalidInput.at(path, f"no LoRA file matches {name!r}; the folder has: {some}")
        found += matching
    return list(dict.fromkeys(found))


def is_pattern(name: str) -> bool:
    """Return whether a name stands for several files."""
    return "*" in name or "?" in name


def matches(file: str, pattern: str) -> bool:
    """Return whether a model file, a path below its folder, matches a pattern; its ending and case do not count.

    ``*`` reaches into sub-folders; a pattern without a folder is compared with the file's own name.
    """
    stem = PurePosixPath(file).with_suffix("").as_posix().casefold()
    if "/" not in pattern:
        stem = stem.rpartition("/")[2]
    wanted = pattern.casefold().replace("[", "[[]")
    return fnmatchcase(stem, wanted) or fnmatchcase(stem + PurePosixPath(file).suffix.casefold(), wanted)


def _stem(name: str) -> str:
    return PurePosixPath(name).stem.casefold()
