"""What the store knows of files that the WebUI lists: remembered while neither the file nor the registry changes."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import TYPE_CHECKING

from worker.contract.types.model_ref import ModelRef
from worker.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from worker.models.local import LocalModel
    from worker.settings import ModelKind

    Find = Callable[[ModelRef, ModelKind], LocalModel | None]


class Listed:
    """See the module's docstring. Every job asks, and a look into the folder takes 0.4 ms, on a volume more.

    Args:
        find: The store's; reads folders.
        registry: Stamp of the registry's state.
    """

    def __init__(self, find: Find, registry: Callable[[], Hashable]) -> None:
        self._find = find
        self._registry = registry
        self._known: dict[tuple[str, ModelKind], tuple[Hashable, str, LocalModel]] = {}

    def model(self, filename: str, kind: ModelKind) -> LocalModel | None:
        """Return what is known of a file by its path in the WebUI's list, None where it is not on the volume.

        Raises:
            ModelDamaged: as `ModelStore.find` does.
        """
        known = self._known.get((filename, kind))
        if known is not None and known[0] == self._stamp(known[1]):
            return known[2]
        name = PurePath(filename).name
        if not name:
            return None
        try:
            found = self._find(ModelRef(name=name), kind)
        except InvalidInput:
            return None
        if found is None or found.path.name != name:
            return None
        path = str(found.path)
        stamp = self._stamp(path)
        if stamp is not None:
            self._known[filename, kind] = (stamp, path, found)
        return found

    def _stamp(self, path: str) -> Hashable:
        """Return what changes when the file or the registry does; None where the file is gone."""
        try:
            facts = os.stat(path)  # noqa: PTH116 - the method of paths takes three times as long
        except OSError:
            return None
        return facts.st_ino, facts.st_size, facts.st_mtime_ns, self._registry()
