"""The model store: from what a job names to files that are there."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from worker.errors import InvalidInput, ModelNotFound
from worker.models.catalog import read_catalog
from worker.models.choose import BadReference, Choice, choose
from worker.models.inventory import Inventory
from worker.models.local import LocalModel, describe
from worker.models.names import nearest
from worker.models.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.contract.models import ModelRef
    from worker.models.catalog import Catalog
    from worker.models.progress import ProgressSink
    from worker.settings import ModelKind, Settings

_SOURCE_HINT = (
    "Name a model of the catalog or a file on the volume, or say where it is: a URL, civitai:<version id>, "
    "hf:org/repo/file or s3://bucket/key."
)


class ModelStore:
    """The models of one volume and the ways to get more.

    Args:
        settings: Folders and limits.
        catalog: Models known by name; default: the catalog that ships.
        now: Seconds since the epoch.
    """

    def __init__(
        self, settings: Settings, *, catalog: Catalog | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings
        self.catalog = catalog if catalog is not None else read_catalog()
        self.volume = Volume.of(settings)
        self.inventory = Inventory(self.volume, now=now)

    def find(self, ref: ModelRef, kind: ModelKind, *, path: str = "") -> LocalModel | None:
        """Return the model if it is there already; no network.

        Args:
            ref: As the client wrote it.
            kind: What the field asks for.
            path: The field in the job, for errors.

        Raises:
            InvalidInput: the reference can't name or address anything.
        """
        return self._there(self.choose(ref, kind, path=path))

    async def prepare(
        self, wanted: Sequence[tuple[str, ModelRef, ModelKind]], *, on_progress: ProgressSink | None = None
    ) -> list[LocalModel]:
        """Return every wanted model, in order.

        Args:
            wanted: For each model the field in the job (for errors), the reference and the kind.
            on_progress: Called with the state of what is being fetched.

        Raises:
            InvalidInput: a reference can't name or address anything.
            ModelNotFound: a model is not there.
        """
        del on_progress
        return [await asyncio.to_thread(self._require, path, ref, kind) for path, ref, kind in wanted]

    def _require(self, path: str, ref: ModelRef, kind: ModelKind) -> LocalModel:
        choice = self.choose(ref, kind, path=path)
        model = self._there(choice)
        if model is None:
            raise self.not_found(choice, ref, path=path)
        return model

    def choose(self, ref: ModelRef, kind: ModelKind, *, path: str = "") -> Choice:
        """Return what a reference means on this volume now. Raises InvalidInput like `find`."""
        try:
            return choose(
                ref,
                kind,
                names=self.volume.names(kind),
                entries=self.inventory.entries(),
                catalog=self.catalog,
            )
        except BadReference as error:
            raise InvalidInput.at(path or kind, f"{ref.ref[:200]!r}: {error}") from None

    def not_found(self, choice: Choice, ref: ModelRef, *, path: str = "") -> ModelNotFound:
        """Return the error for a name that nobody knows, with what was probably meant."""
        kind = choice.kind
        known = [entry.name for entry in self.catalog.of_kind(kind)]
        known += [alias for entry in self.catalog.of_kind(kind) for alias in entry.aliases]
        known += [name.rsplit("/", 1)[-1].rsplit(".", 1)[0] for name in self.volume.names(kind)]
        suggestions = nearest(ref.ref, known)
        other = self.catalog.other_kind(ref.ref, kind)
        asked = f" (did you mean {suggestions[0]!r}?)" if suggestions else ""
        if other is not None:
            asked = f"; {other.name!r} is known as a {other.kind}"
        return ModelNotFound(
            f"{f'{path}: ' if path else ''}no {kind} {ref.ref[:200]!r} on the volume or in the catalog{asked}",
            hint=_SOURCE_HINT,
            details={"path": path, "kind": kind, "suggestions": suggestions},
        )

    def _there(self, choice: Choice, *, fetched: bool = False) -> LocalModel | None:
        if choice.file is None:
            return None
        file = self.volume.look(choice.kind, choice.file)
        if file is None:
            return None
        entry = self.inventory.entry(file)
        return describe(
            file.path.absolute(),
            entry,
            choice.catalog,
            words_beside=self.inventory.words_beside(file),
            fetched=fetched,
        )
