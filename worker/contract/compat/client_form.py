"""A form in which other programs send jobs: its marks, its translation into a job of ours, its answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from worker.contract.base.paths import as_written

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from worker.errors import Problem


@dataclass(frozen=True, slots=True)
class Cache:
    """The contents of the model folders, for the form that reports them: numbers of files, and bytes of all."""

    checkpoints: int = 0
    loras: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class Translation:
    """A request of another program in our terms.

    Attributes:
        fields: The job, as a client of ours would send it.
        listing: A path of the WebUI, where the request asks for what is listed there and for no job.
        root: The field of the input that has the job's fields; empty: they stand in the input itself.
        written: Field of ours → the place below `root` where the client wrote it.
        problems: Mistakes in fields that only the other program has, in our terms.
        warnings: What the client should know although the request is accepted.
        request: The part of the request that the answer depends on.
        empty: Names of fields that said nothing and are left out of `fields`.
        unknown: Fields that this form does not read and that are left out of `fields`: ignored or refused, as others.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    listing: str | None = None
    root: str = ""
    written: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    request: Any = None
    empty: tuple[str, ...] = ()
    unknown: list[Problem] = field(default_factory=list)

    def placed(self, problems: Iterable[Problem]) -> list[Problem]:
        """Return `problems` with their paths as the client wrote them, each mistake once."""
        moved = [problem.moved(self._place(problem.path)) for problem in problems]
        return list(dict.fromkeys(moved))

    def _place(self, path: str) -> str:
        own = as_written(path, self.written)
        return f"{self.root}.{own}".rstrip(".") if self.root else own


class Form(Protocol):
    """A form in which other programs send jobs.

    Attributes:
        name: Its name.
        marks: Fields of the input of which it has at least one; the others' inputs are not looked at.
        unknown_fields: The treatment of a field that nobody reads, unless the operator says otherwise.
        lenient: Whether a value that has no effect is a warning and no mistake, as for the program itself.
        reports_cache: Whether its answers tell what the model folders hold.
    """

    name: str
    marks: frozenset[str]
    unknown_fields: Literal["refuse", "warn"] = "refuse"
    lenient: bool = False
    reports_cache: bool = False

    def matches(self, raw: Mapping[str, Any]) -> bool:
        """Return whether `raw`, which has one of the marks, has this form."""
        return True

    def translate(self, raw: dict[str, Any], presets: Collection[str]) -> Translation:
        """Return `raw` in our terms; `presets` are the names of the operator's presets.

        Raises:
            InvalidInput: it can't be translated; the paths are the client's.
        """
        ...

    def answer(self, call: Translation, answer: Mapping[str, Any], cache: Cache) -> Any:
        """Return our `answer`, which is no error, as the other program expects it."""
        return dict(answer)


class NativeForm(Form):
    """Our own form."""

    name = "native"
    marks = frozenset()

    def translate(self, raw: dict[str, Any], presets: Collection[str]) -> Translation:
        """Return `raw` itself."""
        return Translation(raw)


NATIVE = NativeForm()
