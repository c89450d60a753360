"""One job that asks for several things (seeds, prompts, wildcards) as the plain jobs that it means. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.contract.expand.wildcards import expand_text
from worker.contract.rules.comments import FIELDS, uncommented
from worker.contract.rules.field_rules import largest_size
from worker.contract.rules.sizes import split
from worker.contract.types.job import Txt2Img
from worker.contract.types.kinds import Img2Img

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from worker.contract.parse.plot_cells import PlotCell
    from worker.contract.types.job import Generation


@dataclass(frozen=True, slots=True)
class Piece:
    """A plain job and where in the client's job it comes from.

    Attributes:
        job: With one prompt and one seed of 0 or more; no `seeds`, `prompts` or `wildcards`.
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
    job: Generation, *, draw: Callable[[], int], lists: Mapping[str, Sequence[str]], max_pixels: int | None = None
) -> list[Piece]:
    """Return the plain jobs of `job`, in order.

    Args:
        job: Any generation.
        draw: Returns a random seed; called once per piece that has none.
        lists: Wildcard name → its lines.
        max_pixels: Of one batch: of a job that streams, batches that would be split are asked for one by one.

    Raises:
        InvalidInput: a wildcard that does not exist, a template that can't be read.
    """
    plain = (Piece(uncommented(piece.job), piece.path) for piece in _pieces(job))
    pieces = [single for piece in plain for single in _singles(_seeded(piece, draw))]
    if job.wildcards:
        pieces = [part for piece in pieces for part in _varied(piece, lists)]
    if not job.stream:
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
    """Yield a job per start picture; seeds count on."""
    job = piece.job
    if not isinstance(job, Img2Img) or len(job.init_images) == 1:
        yield piece
        return
    each = (job.batch_size or 1) * (job.n_iter or 1)
    for index, image in enumerate(job.init_images):
        path = job.path(f"init_images[{index}]")
        changes = {"init_images": [image], "seed": (job.seed or 0) + index * each}
        yield Piece(job.changed(changes, {"init_images[0]": path}), f"{piece.path}.{path}".lstrip("."))


def _seeded(piece: Piece, draw: Callable[[], int]) -> Piece:
    if piece.job.seed is not None and piece.job.seed >= 0:
        return piece
    return Piece(piece.job.changed({"seed": draw()}), piece.path)


def _varied(piece: Piece, lists: Mapping[str, Sequence[str]]) -> Iterator[Piece]:
    """Yield `piece` with its templates filled in: one job per picture unless all pictures get the same text."""
    job = piece.job
    count = (job.batch_size or 1) * (job.n_iter or 1)
    first = job.seed or 0
    texts = {name: getattr(job, name, None) for name in FIELDS}
    filled = [
        {
            name: expand_text(text, first + index, lists, path=job.path(name))
            for name, text in texts.items()
            if text is not None
        }
        for index in range(count)
    ]
    if all(one == filled[0] for one in filled):
        yield Piece(job.changed({"wildcards": None, **filled[0]}), piece.path)
        return
    varying = next(name for name, text in filled[0].items() if any(one[name] != text for one in filled))
    path = piece.path or job.path(varying)
    for index, text in enumerate(filled):
        once = {"wildcards": None, "seed": first + index, "batch_size": None, "n_iter": None, **text}
        yield Piece(job.changed(once), path)


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
