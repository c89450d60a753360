"""One job that asks for several things (seeds, prompts, wildcards, pools) as the plain jobs that it means. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.contract.expand.pools import draw_loras, with_drawn_lines
from worker.contract.expand.wildcards import LONGEST, expand_text
from worker.contract.rules import prompt_syntax
from worker.contract.rules.field_rules import largest_size
from worker.contract.rules.prompt_syntax import PROMPTS, uncommented
from worker.contract.rules.sizes import split
from worker.contract.types.job import Txt2Img
from worker.contract.types.kinds import Img2Img
from worker.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from worker.contract.parse.plot_cells import PlotCell
    from worker.contract.types.job import Generation


@dataclass(frozen=True, slots=True)
class Piece:
    """A plain job and where in the client's job it comes from.

    Attributes:
        job: With one prompt and one seed of 0 or more; no `seeds`, `prompts`, `wildcards` or `pool`, nothing to draw.
        path: ``prompts[1]``, ``seeds[0]``, or empty for the job as it was.
        continues: It belongs to the piece before it: pictures that would be made by one request are asked for one
            after the other, to be told as they are made.
        cell: The cell of a plot that it is made for.
    """

    job: Generation
    path: str
    continues: bool = False
    cell: PlotCell | None = None


def expand(
    job: Generation,
    *,
    draw: Callable[[], int],
    lists: Mapping[str, Sequence[str]],
    lora_files: Sequence[str] = (),
    max_pixels: int | None = None,
    split_batches: bool = False,
) -> list[Piece]:
    """Return the plain jobs of `job`, in order.

    Args:
        job: Any generation.
        draw: Returns a random seed; called once per piece that has none.
        lists: Wildcard name → its lines.
        lora_files: Paths below the LoRA folder, for patterns; needed where `draws_loras`.
        max_pixels: Of one batch; larger ones are split, where batches are.
        split_batches: A piece per batch, so that each can be delivered as it is made.

    Raises:
        InvalidInput: a wildcard or a list that does not exist, a template that can't be read, nothing to draw from.
    """
    plain = (Piece(uncommented(piece.job), piece.path) for piece in _pieces(job))
    pieces = [single for piece in plain for single in _singles(_seeded(piece, draw))]
    pieces = [part for piece in pieces for part in _varied(piece, lists, lora_files)]
    if not split_batches:
        return pieces
    return [part for piece in pieces for part in _apart(piece, draw, max_pixels)]


def _pieces(job: Generation) -> Iterator[Piece]:
    plain = {"seeds": None, "prompts": None}
    if job.prompts:
        for index, part in enumerate(job.prompts):
            changes = {name: getattr(part, name) for name in part.model_fields_set}
            moved = {name: f"prompts[{index}].{name}" for name in changes}
            yield Piece(job.changed({**plain, **changes}, moved), f"prompts[{index}]")
    elif job.seeds:
        for index, seed in enumerate(job.seeds):
            once = {**plain, "seed": seed, "batch_size": None, "n_iter": None}
            yield Piece(job.changed(once, {"seed": f"seeds[{index}]"}), f"seeds[{index}]")
    else:
        yield Piece(job, "")


def _singles(piece: Piece) -> Iterator[Piece]:
    """Yield a job per start picture; seeds count on, of variations the subseeds."""
    job = piece.job
    if not isinstance(job, Img2Img) or len(job.init_images) == 1:
        yield piece
        return
    each = (job.batch_size or 1) * (job.n_iter or 1)
    counted, first = ("subseed", job.subseed) if job.subseed_strength else ("seed", job.seed)
    for index, image in enumerate(job.init_images):
        path = job.path(f"init_images[{index}]")
        changes: dict[str, Any] = {"init_images": [image]}
        if first is not None and first >= 0:
            changes[counted] = first + index * each
        yield Piece(job.changed(changes, {"init_images[0]": path}), f"{piece.path}.{path}".lstrip("."))


def _seeded(piece: Piece, draw: Callable[[], int]) -> Piece:
    if piece.job.seed is not None and piece.job.seed >= 0:
        return piece
    return Piece(piece.job.changed({"seed": draw()}), piece.path)


def draws_loras(job: Generation) -> bool:
    """Return whether some picture of `job` draws a LoRA from the folder."""
    every = [*(job.loras or ()), *(lora for part in job.prompts or () for lora in part.loras or ())]
    return any(lora.one_of is not None for lora in every)


def _varied(piece: Piece, lists: Mapping[str, Sequence[str]], lora_files: Sequence[str]) -> Iterator[Piece]:
    """Yield `piece` with everything that seeds draw: one job per picture unless all pictures draw the same."""
    job = piece.job
    if not (job.wildcards or job.pool or any(lora.is_drawn for lora in job.loras or ())):
        yield piece
        return
    count = (job.batch_size or 1) * (job.n_iter or 1)
    first = job.seed or 0
    drawn = [_drawn(job, first + index, lists, lora_files) for index in range(count)]
    settled = {"wildcards": None, "pool": None}
    if all(one == drawn[0] for one in drawn):
        yield Piece(_checked(job.changed({**settled, **drawn[0]})), piece.path)
        return
    varying = next(name for name, value in drawn[0].items() if any(one[name] != value for one in drawn))
    path = piece.path or job.path("pool" if varying == "prompt" and job.pool and not job.wildcards else varying)
    for index, fields in enumerate(drawn):
        once = {**settled, "seed": first + index, "batch_size": None, "n_iter": None, **fields}
        yield Piece(_checked(job.changed(once)), path)


def _checked(job: Generation) -> Generation:
    """Return a job whose prompts were drawn without comments. Raises InvalidInput where they grew too large to read."""
    job = uncommented(job)
    problems = [
        Problem(job.path(name), f"grows over {LONGEST} characters when its words are drawn")
        for name in PROMPTS
        if len(getattr(job, name, None) or "") > LONGEST
    ]
    problems += prompt_syntax.problems_of(job)
    if problems:
        raise InvalidInput(problems)
    return job


def _drawn(job: Generation, seed: int, lists: Mapping[str, Sequence[str]], lora_files: Sequence[str]) -> dict[str, Any]:
    """Return the fields of the picture with this seed that something was drawn for."""
    fields: dict[str, Any] = {name: text for name in PROMPTS if (text := getattr(job, name, None)) is not None}
    if job.wildcards:
        fields = {name: expand_text(text, seed, lists, path=job.path(name)) for name, text in fields.items()}
    if job.pool:
        fields["prompt"] = with_drawn_lines(fields["prompt"], job.pool, seed, lists, path=job.path)
    if any(lora.is_drawn for lora in job.loras or ()):
        fields["loras"] = draw_loras(job.loras or (), seed, lora_files, path=job.path("loras"))
    return fields


def _apart(piece: Piece, draw: Callable[[], int], max_pixels: int | None) -> Iterator[Piece]:
    """Yield a job per batch; a picture's seed is the one that it has in the whole."""
    job = piece.job
    each, count = job.batch_size or 1, job.n_iter or 1
    if isinstance(job, Txt2Img) and max_pixels is not None:
        size = largest_size(job)
        each, count = split(size.width, size.height, each, count, max_pixels)
    if count == 1 or getattr(job, "ultimate_upscale", None) is not None:
        yield piece
        return
    first, varies = job.seed or 0, bool(job.subseed_strength)
    subseed = draw() if job.subseed is None or job.subseed < 0 else job.subseed
    for index in range(count):
        done = index * each
        seeds = {"subseed": subseed + done} if varies else {"seed": first + done}
        changes = {"n_iter": None, "batch_size": each if each > 1 else None, **seeds}
        yield Piece(job.changed(changes), piece.path, continues=index > 0)
