"""Model files as the WebUI has read them: it does not notice every file that takes the place of one in use."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from worker.errors import WebUIFailed
from worker.telemetry.logs import get_logger
from worker.webui.result.probe import made, tiny_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from worker.webui.names.catalog import Catalog
    from worker.webui.request.body import Request

_SECOND = 1_000_000_000
_log = get_logger("webui")


class FileState(NamedTuple):
    """The state by which another file of the same name is told."""

    modified_ns: int
    size: int

    def is_of(self, other: FileState) -> bool:
        """Return whether it may be the same file: some file systems tell a time in whole seconds, now and then."""
        coarse = not (self.modified_ns % _SECOND and other.modified_ns % _SECOND)
        return self == other or (
            coarse and self.size == other.size and self.modified_ns // _SECOND == other.modified_ns // _SECOND
        )


class FilesRead:
    """The files that one WebUI's process has read, as they were then. Blocking."""

    def __init__(self) -> None:
        self._read: dict[str, FileState] = {}

    def forget(self) -> None:
        """Start anew, with a process that has read nothing."""
        self._read.clear()

    def replaced(self, paths: Iterable[str]) -> dict[str, bool]:
        """Return which of these files are others than those read before, with whether each is younger.

        What can't be looked at from here, as on another machine, counts as unchanged. What is returned counts as read.
        """
        found: dict[str, bool] = {}
        for path in paths:
            try:
                facts = Path(path).stat()
            except OSError:
                continue
            state = FileState(facts.st_mtime_ns, facts.st_size)
            before = self._read.setdefault(path, state)
            if not state.is_of(before):
                found[path] = state.modified_ns > before.modified_ns
                self._read[path] = state
        return found

    def read_again(
        self, request: Request, catalog: Catalog, post: Callable[[str, dict[str, Any]], Any], *, loads: bool
    ) -> None:
        """Have the WebUI let go of what it has read of files that were replaced: else it uses that on, without a word.

        It lets go of LoRAs for a picture without any, and then reads those whose files are younger.

        Args:
            request: The request that is about to be sent.
            catalog: What the WebUI lists.
            post: Sends a body to the WebUI.
            loads: The request begins with loading a checkpoint, upon which the WebUI lets go of LoRAs as well.

        Raises:
            WebUIFailed: it has to be started again.
            WorkerError: as `post` does.
        """
        checkpoint, vae = request.expect.checkpoint, catalog.vae(request.expect.vae or "")
        rows = [catalog.lora(lora.name) for lora in request.expect.loras]
        others = [checkpoint.filename, *([vae.filename] if vae is not None else [])]
        replaced = self.replaced([*(row.path for row in rows if row is not None), *others])
        if not replaced:
            return
        named = ", ".join(PurePath(path).name for path in replaced)
        _log.warning("model files in use were replaced", files=named)
        if any(path in others or not younger for path, younger in replaced.items()):
            said = f"the WebUI has to be started again: {named} was replaced while it was in use"
            raise WebUIFailed(said, details={"half_loaded": "replaced"})
        if not loads:
            made(tiny_body(checkpoint.title), post)
