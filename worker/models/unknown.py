"""The error for a model that nobody knows."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from worker.errors import ModelNotFound
from worker.models.names import match_key
from worker.suggestions import closest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.contract.types.model_ref import ModelRef
    from worker.models.catalog import Catalog
    from worker.settings import ModelKind

_HINT = (
    "Name a model of the catalog or a file on the volume, or say where it is: a URL, civitai:<version id>, "
    "hf:org/repo/file or s3://bucket/key."
)


def not_found(ref: ModelRef, kind: ModelKind, *, names: Iterable[str], catalog: Catalog, path: str) -> ModelNotFound:
    """Return the error, with what was probably meant.

    Args:
        ref: As the client wrote it.
        kind: What the field asks for.
        names: The files of that kind on the volume, relative to its folder.
        catalog: Models known by name.
        path: The field in the job; "" where there is none.
    """
    entries = list(catalog.of_kind(kind))
    known = [entry.name for entry in entries] + [alias for entry in entries for alias in entry.aliases]
    suggestions = closest(ref.ref, known + [PurePosixPath(name).stem for name in names], key=match_key)
    other = catalog.other_kind(ref.ref, kind)
    asked = f" (did you mean {suggestions[0]!r}?)" if suggestions else ""
    if other is not None:
        asked = f"; {other.name!r} is known as a {other.kind}"
    return ModelNotFound(
        f"{f'{path}: ' if path else ''}no {kind} {ref.shown!r} on the volume or in the catalog{asked}",
        hint=_HINT,
        details={"path": path, "kind": kind, "suggestions": suggestions},
    )
