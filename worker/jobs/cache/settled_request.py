"""Identity of a settled request: a digest of everything that its pictures follow from. Blocking: it looks at files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from worker import __version__
from worker.errors import WorkerError
from worker.models.volume.integrity import measure, sha256_of
from worker.telemetry.gpu import Gpus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.jobs.prepare.model_preparation import PreparedModels
    from worker.models.store import ModelStore
    from worker.settings import ModelKind, Settings
    from worker.storage.object_store import StoreTarget
    from worker.webui.backend import Backend
    from worker.webui.request.body import Request

_BY_NAME: tuple[ModelKind, ...] = ("embedding", "vae", "upscaler", "controlnet", "detector", "annotator")
"""Kinds that a request may use without naming a file: one that comes, goes or changes makes another digest."""


class RequestDigest:
    """Digests of requests on one worker.

    Args:
        settings: The worker's.
        backend: The WebUI.
        store: The model files.
    """

    def __init__(self, settings: Settings, backend: Backend, store: ModelStore) -> None:
        self._settings = settings
        self._backend = backend
        self._store = store
        self._measured: dict[tuple[str, int, int], str] = {}
        self._gpus: list[str] | None = None
        self._extensions: tuple[object, Any] = (None, None)

    def of_generation(self, request: Request, models: PreparedModels, target: StoreTarget | None) -> str | None:
        """Return the digest of a generation, None where a model's content can't be known."""
        contents: dict[str, str] = {}
        for name, kind, path in self._files(request, models):
            digest = self._content(path, kind)
            if digest is None:
                return None
            contents[f"{kind}/{name}"] = digest
        body = dict(request.body)
        if not body.get("subseed_strength"):
            body.pop("subseed", None)  # it is drawn anew for each request, and changes nothing
        return self.of_call(request.path, body, target, contents)

    def of_call(
        self, path: str, body: Mapping[str, Any], target: StoreTarget | None, contents: Mapping[str, str] | None = None
    ) -> str:
        """Return the digest of a request to the WebUI.

        Args:
            path: Of its API.
            body: As it is sent, pictures included.
            target: The job's own store: its pictures are no other client's.
            contents: SHA-256 of each file that it names.
        """
        asked = {
            "path": path,
            "body": body,
            "contents": contents or {},
            "client": None if target is None else [target.endpoint, target.bucket, target.access_key],
            "world": self._world(),
        }
        return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def _files(self, request: Request, models: PreparedModels) -> Iterable[tuple[str, ModelKind, Path]]:
        """Yield name, kind and path of every file that the request names."""
        for model in models.models:
            if model.file is not None:
                yield model.file.name, model.kind, model.file.path
        chosen, catalog = models.chosen, self._backend.catalog
        for checkpoint in (chosen.checkpoint, chosen.refiner, chosen.hr_checkpoint):
            if checkpoint is not None:
                yield checkpoint.title, "checkpoint", Path(checkpoint.filename)
        for lora in (*request.expect.loras, *request.expect.pass_loras):
            row = catalog.lora(lora.name)
            yield lora.name, "lora", Path(row.path if row is not None else "")

    def _content(self, path: Path, kind: ModelKind) -> str | None:
        """Return a file's SHA-256, measured once as long as it does not change; None where it can't be read."""
        try:
            facts = path.stat()
            seen = (str(path), facts.st_size, facts.st_mtime_ns)
            if seen not in self._measured:
                self._measured[seen] = self._written(path, kind) or sha256_of(path)
            return self._measured[seen]
        except (OSError, WorkerError):
            return None

    def _written(self, path: Path, kind: ModelKind) -> str | None:
        """Return the SHA-256 of a file of the volume, written down where nobody has measured it."""
        model = self._store.listed.model(str(path), kind)
        if model is None or not model.path.samefile(path):
            return None
        return model.sha256 or measure(self._store.inventory, model)

    def _world(self) -> dict[str, Any]:
        backend, baseline = self._backend, self._backend.baseline
        if self._gpus is None:
            self._gpus = sorted({gpu.name for gpu in Gpus().read()})
        return {
            "worker": __version__,
            "webui": [backend.plan.name, backend.version, self._settings.webui_args],
            "elsewhere": backend.plan.url if backend.plan.is_external else None,
            "options": [baseline.clip_skip, baseline.vae],
            "extensions": self._installed(),
            "gpu": self._gpus,
            "files": [
                [file.key, file.size, file.modified_ns]
                for kind in _BY_NAME
                for file in sorted(self._store.volume.files(kind), key=lambda each: each.file)
            ],
        }

    def _installed(self) -> Any:
        """Return the WebUI's extensions with their versions; asked again when its listings were."""
        catalog = self._backend.catalog
        if self._extensions[0] is not catalog:
            try:
                listed = self._backend.client.get("/sdapi/v1/extensions")
            except WorkerError:
                listed = None
            self._extensions = (catalog, listed)
        return self._extensions[1]
