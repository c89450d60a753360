"""Model files as the WebUI has read them: it does not notice every file that takes the place of one in use."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from worker.errors import WebUIFailed
from worker.telemetry.logs import get_logger
from worker.webui.names.prompt_checks import names_in
from worker.webui.result.probe import made, tiny_body

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from worker.webui.names.catalog import Catalog
    from worker.webui.request.body import Request

_SECOND = 1_000_000_000
_RESTART_IT = (
    "Restart the WebUI, then this worker, which can't do it with WEBUI_URL; or give the new file another name."
)
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
    """The files that one WebUI's process has read, as they were then. Blocking.

    Args:
        embeddings: The folder of embeddings, all of which it reads when it starts; None: unknown.
        controlnets: The folder of ControlNet models.
        can_restart: Whether the process is ours to start again, which alone has it let go of ControlNet models.
    """

    def __init__(self, embeddings: Path | None, controlnets: Path | None, *, can_restart: bool = True) -> None:
        self._embeddings = embeddings
        self._controlnets = controlnets
        self._can_restart = can_restart
        self._read: dict[str, FileState] = {}
        self._kept: set[str] = set()
        """ControlNet models that were replaced, and that a WebUI of somebody else has in memory as they were."""

    def start_anew(self, checkpoint: Path | None) -> None:
        """Take note of what a new process is about to read: the embeddings, and the checkpoint that it starts with."""
        if self._read and not self._can_restart:
            return  # it may be the same process, with all that it has read
        self._read.clear()
        self.replaced(_files(self._embeddings))
        self.replaced([str(checkpoint)] if checkpoint is not None else [])

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

        It reads embeddings again when it is told to. It lets go of LoRAs for a picture without any, and then reads
        those whose files are younger. Such a picture also takes the place of prompts that it keeps encoded, with the
        old file. Checkpoints, VAEs and ControlNet models stay as they are until it is started again; one of somebody
        else at least loads checkpoints anew.

        Args:
            request: The request that is about to be sent.
            catalog: What the WebUI lists.
            post: Sends a body to the WebUI.
            loads: The request begins with loading a checkpoint, upon which the WebUI lets go of LoRAs as well.

        Raises:
            WebUIFailed: it has to be started again.
            WorkerError: as `post` does.
        """
        used = (*request.expect.loras, *request.expect.pass_loras)
        loras = [row.path for lora in used if (row := catalog.lora(lora.name)) is not None]
        controls = self._used(self._controlnets, _control_models(request))
        lasting = [*_loaded(request, catalog), *controls]
        embeddings = self._used(self._embeddings, names_in(_prompts(request, catalog), catalog.embeddings))
        replaced = self.replaced([*loras, *lasting, *embeddings])
        self._kept |= set() if self._can_restart else replaced.keys() & set(controls)
        if kept := sorted(PurePath(path).name for path in self._kept & set(controls)):
            said = f"the WebUI keeps a ControlNet model in memory whose file was replaced: {', '.join(kept)}"
            raise WebUIFailed(said, hint=_RESTART_IT, details={"final": True})
        if not replaced:
            return
        hires = bool(request.body.get("enable_hr"))  # whose prompts it keeps apart, whatever is loaded in between
        named = ", ".join(PurePath(path).name for path in replaced)
        _log.warning("model files in use were replaced", files=named)
        if any(path in lasting or (path in loras and not younger) for path, younger in replaced.items()):
            if hires and not self._can_restart:
                made(tiny_body(request.expect.checkpoint.title, hires=True), post)
            said = f"the WebUI has to be started again: {named} was replaced while it was in use"
            raise WebUIFailed(said, details={"half_loaded": "replaced"})
        if any(path in embeddings for path in replaced):
            post("/sdapi/v1/refresh-embeddings", {})
        if hires or not loads:
            made(tiny_body(request.expect.checkpoint.title, hires=hires), post)

    def _used(self, folder: Path | None, names: Collection[str]) -> list[str]:
        """Return the files of these names in a folder; where none is named the folder is not looked at."""
        return [path for path in _files(folder) if PurePath(path).stem in names] if names else []


def _loaded(request: Request, catalog: Catalog) -> list[str]:
    """Return the checkpoints and the VAE of a request."""
    body, vae = request.body, catalog.vae(request.expect.vae or "")
    named = [str(body[name]) for name in ("refiner_checkpoint", "hr_checkpoint_name") if body.get(name)]
    others = [row.filename for name in named if (row := catalog.checkpoint(name)) is not None]
    return [request.expect.checkpoint.filename, *others, *([vae.filename] if vae is not None else [])]


def _units(request: Request) -> Iterator[dict[str, Any]]:
    for script in request.body.get("alwayson_scripts", {}).values():
        yield from (unit for unit in script.get("args", ()) if isinstance(unit, dict))


def _control_models(request: Request) -> set[str]:
    """Return the names of the files of ControlNet models in a request, which names them with a part of their hash."""
    titles = [str(unit.get(name) or "") for unit in _units(request) for name in ("model", "ad_controlnet_model")]
    return {title.rpartition(" [")[0] or title for title in titles if title not in {"", "None"}}


def _prompts(request: Request, catalog: Catalog) -> list[str]:
    """Return every text of a request that may name embeddings."""
    places: list[dict[str, Any]] = [request.body, *_units(request)]
    texts = [value for each in places for name, value in each.items() if name.endswith("prompt")]
    return [*(text for text in texts if isinstance(text, str)), *catalog.texts_of(request.body.get("styles") or ())]


def _files(folder: Path | None) -> list[str]:
    """Return the files in a folder and below; none where it can't be read."""
    if folder is None:
        return []
    return [str(PurePath(place, name)) for place, _, names in os.walk(folder, followlinks=True) for name in names]
